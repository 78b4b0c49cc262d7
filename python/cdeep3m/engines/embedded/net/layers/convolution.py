"""Convolution, 1-D to 3-D, with dilation and groups."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cdeep3m.engines.embedded.net.kernel import Kernel
from cdeep3m.engines.embedded.net.layers.base import Layer, Shape
from cdeep3m.engines.embedded.net.primitives import convolve
from cdeep3m.errors import NetError
from cdeep3m.nets.shapes import shape_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from cdeep3m.proto import caffe_pb2


def read_kernel(param: caffe_pb2.ConvolutionParameter, axes: int) -> Kernel:
    """Read a kernel for `axes` spatial axes; `kernel_h` is the first of two (image x), `kernel_w` the second (image y).

    Raises
    ------
    NetError
        When a number of values fits neither one nor `axes`, or the kernel has no size.
    """
    kernel = Kernel(
        size=per_axis("kernel_size", param.kernel_size, axis_pair(param, "kernel_h", "kernel_w", 0), 0, axes),
        stride=per_axis("stride", param.stride, axis_pair(param, "stride_h", "stride_w", 1), 1, axes),
        pad=per_axis("pad", param.pad, axis_pair(param, "pad_h", "pad_w", 0), 0, axes),
        dilation=per_axis("dilation", param.dilation, None, 1, axes),
    )
    if min(kernel.size) < 1 or min(kernel.stride) < 1 or min(kernel.dilation) < 1:
        raise NetError("kernel_size, stride and dilation must be at least 1")
    return kernel


def axis_pair(
    param: caffe_pb2.ConvolutionParameter | caffe_pb2.PoolingParameter, first: str, second: str, default: int
) -> tuple[int, int] | None:
    """Return a pair of the spelling `kernel_h`, `kernel_w` (axis 2, axis 3), or None where neither is set."""
    if not (param.HasField(first) or param.HasField(second)):
        return None
    one, other = (getattr(param, name) if param.HasField(name) else default for name in (first, second))
    return one, other


def per_axis(
    name: str, values: Sequence[int], pair: tuple[int, int] | None, default: int, axes: int
) -> tuple[int, ...]:
    """Return one value for each axis from a repeated field, from a pair, or from the default."""
    values = pair or tuple(values) or (default,)
    if len(values) not in (1, axes):
        raise NetError(f"{name} has {len(values)} values, expected one or {axes} (the spatial axes)")
    return tuple(values) * (axes if len(values) == 1 else 1)


class Kernelled(Layer):
    """What convolution and deconvolution share: kernel, weights, bias."""

    def setup(self, shapes: tuple[Shape, ...]) -> None:
        """Read the kernel; make weights and bias."""
        param = self.message.convolution_param
        channels, self.axes = shapes[0][1], len(shapes[0]) - 2
        self.groups = param.group
        if len(self.bottoms) != len(self.tops):
            raise self.error(f"{len(self.bottoms)} bottoms and {len(self.tops)} tops, expected as many of each")
        if param.axis != 1 or not 1 <= self.axes <= 3:
            raise self.error(f"expected channels on axis 1 and 1 to 3 spatial axes, found {self.describe(shapes)}")
        if param.num_output < 1 or channels % self.groups or param.num_output % self.groups:
            raise self.error(f"{channels} channels to {param.num_output} outputs do not make {self.groups} groups")
        try:
            self.kernel = read_kernel(param, self.axes)
        except NetError as error:
            raise self.error(str(error)) from None
        self.add_blob(self.weight_shape(channels, param.num_output), param.weight_filler)
        if param.bias_term:
            self.add_blob((param.num_output,), param.bias_filler)

    def weight_shape(self, channels: int, outputs: int) -> Shape:
        """Return the shape of the weights."""
        return (outputs, channels // self.groups, *self.kernel.size)

    @property
    def bias(self) -> torch.Tensor | None:
        """The bias, where there is one.

        Returns
        -------
        torch.Tensor, shape (outputs,); or None
        """
        return self.blobs[1] if len(self.blobs) > 1 else None

    def sides(self, sides: Sequence[int]) -> tuple[int, ...]:
        """Return the top's sides."""
        return self.kernel.convolved(sides)

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the tops' shapes; bottoms must have the channels that the weights were made for."""
        return tuple(self._top_shape(shape) for shape in shapes)

    def _top_shape(self, shape: Shape) -> Shape:
        if len(shape) != self.axes + 2 or shape[1] != self.channels:
            raise self.error(
                f"expected {self.channels} channels and {self.axes} spatial axes, found {shape_text(shape)}"
            )
        sides = self.sides(shape[2:])
        if min(sides) < 1:
            kernel = shape_text(self.kernel.extent)
            raise self.error(f"a bottom of {shape_text(shape)} is too small for a kernel of {kernel}")
        return (shape[0], self.message.convolution_param.num_output, *sides)

    @property
    def channels(self) -> int:
        """Channels of the bottoms."""
        return self.blobs[0].shape[1] * self.groups

    def operations(self, shape: Shape) -> int:
        """Return the floating-point operations, two for each product and sum, for one bottom of `shape`."""
        return 2 * self.blobs[0].numel() * shape[0] * math.prod(self._top_shape(shape)[2:])


class Convolution(Kernelled):
    """Caffe's Convolution: weights (out, in / groups, spatial...)."""

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Convolve each bottom."""
        return tuple(convolve(bottom, self.blobs[0], self.bias, self.kernel, groups=self.groups) for bottom in bottoms)
