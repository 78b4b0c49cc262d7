"""Slice: part a blob along one axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdeep3m.engines.embedded.net.layers.base import Layer, Shape
from cdeep3m.nets.shapes import shape_text

if TYPE_CHECKING:
    import torch


class Slice(Layer):
    """Caffe's Slice: at `slice_point` along `axis` (1 by default), or into equal parts."""

    def _axis(self, shape: Shape) -> int:
        param = self.message.slice_param
        return (param.slice_dim if param.HasField("slice_dim") else param.axis) % len(shape)

    def sizes(self, shape: Shape) -> tuple[int, ...]:
        """Return the size of each top along the axis."""
        total, points = shape[self._axis(shape)], list(self.message.slice_param.slice_point)
        if not points:
            points = [total * i // len(self.tops) for i in range(1, len(self.tops))]
        edges = [0, *points, total]
        sizes = tuple(b - a for a, b in zip(edges, edges[1:], strict=False))
        equal = bool(self.message.slice_param.slice_point) or total % len(self.tops) == 0
        if len(sizes) != len(self.tops) or min(sizes) < 1 or not equal:
            raise self.error(f"{len(self.tops)} tops cannot be cut from {shape_text(shape)} at {points}")
        return sizes

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the shapes of the tops, one for each part."""
        shape, axis = shapes[0], self._axis(shapes[0])
        return tuple((*shape[:axis], size, *shape[axis + 1 :]) for size in self.sizes(shape))

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the parts of the bottom, as views."""
        shape = tuple(bottoms[0].shape)
        return tuple(bottoms[0].split(self.sizes(shape), dim=self._axis(shape)))
