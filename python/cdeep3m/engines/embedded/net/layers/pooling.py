"""Pooling, MAX and AVE, 1-D to 3-D, with Caffe's sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

from cdeep3m.engines.embedded.net.layers.base import Layer, Shape
from cdeep3m.engines.embedded.net.layers.convolution import axis_pair, per_axis
from cdeep3m.engines.embedded.net.primitives import max_pool
from cdeep3m.errors import NetError
from cdeep3m.nets.shapes import shape_text
from cdeep3m.proto import caffe_pb2

if TYPE_CHECKING:
    import torch

MAXIMUM = {1: functional.max_pool1d, 3: functional.max_pool3d}
AVERAGE = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


class Pooling(Layer):
    """Caffe's Pooling: a last, partial step makes one more output; AVE divides by the padded area under a kernel."""

    def setup(self, shapes: tuple[Shape, ...]) -> None:
        """Read kernel, stride and padding."""
        param = self.message.pooling_param
        self.axes = len(shapes[0]) - 2
        if param.pool == caffe_pb2.PoolingParameter.STOCHASTIC or len(self.tops) != 1 or not 1 <= self.axes <= 3:
            raise self.error("expected MAX or AVE with one top and 1 to 3 spatial axes")
        try:
            self.size = self._read("kernel_size", "kernel_shape", ("kernel_h", "kernel_w"), 0)
            self.stride = self._read("stride", "stride_shape", ("stride_h", "stride_w"), 1)
            self.pad = self._read("pad", "pad_shape", ("pad_h", "pad_w"), 0)
        except NetError as error:
            raise self.error(str(error)) from None
        if param.global_pooling:
            self.size, self.stride, self.pad = shapes[0][2:], (1,) * self.axes, (0,) * self.axes
        if (
            min(self.size) < 1
            or min(self.stride) < 1
            or any(2 * p > k for p, k in zip(self.pad, self.size, strict=True))
        ):
            raise self.error("kernel and stride of at least 1, and no more padding than half the kernel, expected")

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the top's shape: sides round up."""
        sides = tuple(map(pooled_side, self._sides(shapes[0]), self.size, self.stride, self.pad))
        if min(sides) < 1:
            kernel = shape_text(self.size)
            raise self.error(f"a bottom of {shape_text(shapes[0])} is too small for a kernel of {kernel}")
        return ((*shapes[0][:2], *sides),)

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the maxima or means under the kernel."""
        param = self.message.pooling_param
        size = bottoms[0].shape[2:] if param.global_pooling else self.size
        if self.axes == 2 and param.pool == caffe_pb2.PoolingParameter.MAX:
            return (max_pool(bottoms[0], size, self.stride, self.pad),)
        pool = AVERAGE if param.pool == caffe_pb2.PoolingParameter.AVE else MAXIMUM
        return (pool[self.axes](bottoms[0], size, self.stride, self.pad, ceil_mode=True),)

    def _sides(self, shape: Shape) -> Shape:
        if self.message.pooling_param.global_pooling:
            self.size = shape[2:]
        return shape[2:]

    def _read(self, name: str, nd_name: str, pair: tuple[str, str], default: int) -> tuple[int, ...]:
        param = self.message.pooling_param
        values = tuple(getattr(param, nd_name)) or ((getattr(param, name),) if param.HasField(name) else ())
        return per_axis(name, values, axis_pair(param, *pair, default), default, self.axes)


def pooled_side(side: int, kernel: int, stride: int, pad: int) -> int:
    """Return how many outputs pooling makes of `side` voxels.

    A partial last step counts, one that starts outside does not.

    >>> pooled_side(512, 3, 2, 0), pooled_side(511, 3, 2, 0), pooled_side(4, 2, 2, 1)
    (256, 255, 3)
    """
    outputs = -((side + 2 * pad - kernel) // -stride) + 1
    return outputs - 1 if (outputs - 1) * stride >= side + pad else outputs
