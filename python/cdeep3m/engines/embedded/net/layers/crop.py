"""Crop: cut one blob to the size of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdeep3m.engines.embedded.net.layers.base import Layer, Shape

if TYPE_CHECKING:
    import torch


class Crop(Layer):
    """Caffe's Crop: from `axis` (2 by default) on, the first bottom is cut at `offset` to the sides of the second."""

    def offsets(self, shape: Shape) -> tuple[int, ...]:
        """Return the first voxel kept on every axis of a bottom of `shape`."""
        axis = self.message.crop_param.axis % len(shape)
        given = tuple(self.message.crop_param.offset) or (0,)
        if len(given) not in (1, len(shape) - axis):
            raise self.error(f"{len(given)} offsets, expected one or {len(shape) - axis}")
        return (0,) * axis + (given if len(given) > 1 else given * (len(shape) - axis))

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the first bottom's shape with the second one's sides; the cut must lie inside."""
        if len(shapes) != 2 or len(shapes[0]) != len(shapes[1]):
            raise self.error(f"expected two bottoms with as many axes, found {self.describe(shapes)}")
        axis = self.message.crop_param.axis % len(shapes[0])
        top = shapes[0][:axis] + shapes[1][axis:]
        if any(o + t > s for o, t, s in zip(self.offsets(shapes[0]), top, shapes[0], strict=True)):
            raise self.error(f"the cut reaches outside: {self.describe(shapes)}")
        return (top,)

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the part of the first bottom that has the sides of the second one, as a view."""
        shape = tuple(bottoms[0].shape)
        (top,) = self.top_shapes(shape, tuple(bottoms[1].shape))
        return (bottoms[0][tuple(slice(o, o + t) for o, t in zip(self.offsets(shape), top, strict=True))],)
