"""Reshape: other axes for the same values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cdeep3m.engines.embedded.net.layers.base import Layer, Shape
from cdeep3m.nets.shapes import shape_text

if TYPE_CHECKING:
    import torch


class Reshape(Layer):
    """Caffe's Reshape: dim 0 keeps the bottom's axis, one -1 takes what remains.

    The nets of CDeep3M drop the last of five axes with it, which by then has one plane:
    `shape { dim: 0 dim: 0 dim: 0 dim: 0 }`.
    """

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the new shape; it must hold as many values."""
        shape, param = shapes[0], self.message.reshape_param
        begin = param.axis if param.axis >= 0 else len(shape) + param.axis + 1
        end = len(shape) if param.num_axes == -1 else begin + param.num_axes
        dims = list(param.shape.dim)
        if not 0 <= begin <= end <= len(shape) or any(d == 0 and begin + i >= len(shape) for i, d in enumerate(dims)):
            raise self.error(f"axis, num_axes and dims do not fit {self.describe(shapes)}")
        top = [*shape[:begin], *(d or shape[begin + i] for i, d in enumerate(dims)), *shape[end:]]
        if top.count(-1) == 1:
            top[top.index(-1)] = math.prod(shape) // max(1, math.prod(d for d in top if d != -1))
        if math.prod(top) != math.prod(shape) or min(top, default=0) < 0:
            raise self.error(f"a blob of shape {shape_text(shape)} cannot become {shape_text(tuple(top))}")
        return (tuple(top),)

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the same values with other axes."""
        return (bottoms[0].reshape(self.top_shapes(tuple(bottoms[0].shape))[0]),)
