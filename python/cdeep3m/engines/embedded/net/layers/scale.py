"""Scale: multiply by learnt factors, and add a learnt bias."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from cdeep3m.engines.embedded.net.layers.base import SameShape, Shape
from cdeep3m.nets.shapes import shape_text
from cdeep3m.proto import caffe_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence


class Scale(SameShape):
    """Caffe's Scale: factors for `num_axes` axes from `axis` on, learnt or given by a second bottom."""

    def setup(self, shapes: tuple[Shape, ...]) -> None:
        """Make the factors (1 by default) and the bias (0 by default)."""
        param = self.message.scale_param
        self.axis = param.axis % max(1, len(shapes[0]))
        if len(shapes) > 1:
            self.shape = shapes[1]
        else:
            last = len(shapes[0]) if param.num_axes == -1 else self.axis + param.num_axes
            self.shape = shapes[0][self.axis : last]
            one = caffe_pb2.FillerParameter(type="constant", value=1)
            self.add_blob(self.shape, param.filler if param.HasField("filler") else one)
        if param.bias_term:
            self.add_blob(self.shape, param.bias_filler)

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the bottom's shape; the factors must fit it."""
        if shapes[0][self.axis : self.axis + len(self.shape)] != self.shape:
            raise self.error(f"factors of shape {shape_text(self.shape)} do not fit {self.describe(shapes)}")
        return (shapes[0],)

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Scale the first bottom."""
        factors: Sequence[torch.Tensor] = [*bottoms[1:], *self.blobs]
        after = bottoms[0].dim() - self.axis - len(self.shape)
        factor, *bias = (blob.reshape(*blob.shape, *(1,) * after) for blob in factors)
        if bias:
            return (torch.addcmul(bias[0], bottoms[0], factor),)
        return (bottoms[0] * factor,)
