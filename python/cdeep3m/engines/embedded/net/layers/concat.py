"""Concat: join blobs along one axis."""

from __future__ import annotations

import torch

from cdeep3m.engines.embedded.net.layers.base import MULTIPLES_OF_16, Layer, Shape


class Concat(Layer):
    """Caffe's Concat, along `axis` (1, the channels, by default)."""

    def setup(self, shapes: tuple[Shape, ...]) -> None:
        """Read along which axis the bottoms are joined."""
        param = self.message.concat_param
        self.axis = (param.concat_dim if param.HasField("concat_dim") else param.axis) % len(shapes[0])

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the joint shape; the bottoms must agree on every other axis."""
        others = {shape[: self.axis] + shape[self.axis + 1 :] for shape in shapes}
        if len(others) > 1:
            raise self.error(
                f"expected bottoms that differ on axis {self.axis} only, found {self.describe(shapes)}{MULTIPLES_OF_16}"
            )
        total = sum(shape[self.axis] for shape in shapes)
        return ((*shapes[0][: self.axis], total, *shapes[0][self.axis + 1 :]),)

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the bottoms one behind the other along the axis."""
        return (torch.cat(bottoms, dim=self.axis),)
