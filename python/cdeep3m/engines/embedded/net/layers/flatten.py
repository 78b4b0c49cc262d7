"""Flatten: make several axes one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cdeep3m.engines.embedded.net.layers.base import Layer, Shape

if TYPE_CHECKING:
    import torch


class Flatten(Layer):
    """Caffe's Flatten: the axes from `axis` (1 by default) to `end_axis` (the last) become one."""

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the bottom's shape with several axes as one."""
        shape, param = shapes[0], self.message.flatten_param
        begin, end = param.axis % len(shape), param.end_axis % len(shape)
        if begin > end:
            raise self.error(f"axis {param.axis} lies behind end_axis {param.end_axis} in {self.describe(shapes)}")
        return ((*shape[:begin], math.prod(shape[begin : end + 1]), *shape[end + 1 :]),)

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the same values with several axes as one."""
        return (bottoms[0].reshape(self.top_shapes(tuple(bottoms[0].shape))[0]),)
