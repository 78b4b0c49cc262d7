"""What a net rewritten for prediction consists of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from cdeep3m.engines.embedded.net import products
from cdeep3m.engines.embedded.net.layers.batch_norm import BatchNorm
from cdeep3m.engines.embedded.net.layers.relu import ReLU
from cdeep3m.engines.embedded.net.layers.scale import Scale
from cdeep3m.engines.embedded.net.primitives import FEW_CHANNELS
from cdeep3m.engines.embedded.net.taps import Scratch, deconvolve_for_prediction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.engines.embedded.net.kernel import Kernel
    from cdeep3m.engines.embedded.net.layers.base import Layer


@dataclass(kw_only=True)
class Step:
    """Makes the blob `top` from `bottoms`; a number names one value of one blob."""

    bottoms: tuple[int, ...]
    top: int

    def absorb(self, layer: Layer) -> bool:
        """Take `layer`, the only user of the top, into this step and return True; return False where that cannot be."""
        del layer
        return False

    def place(self, device: torch.device, number: torch.dtype) -> None:
        """Make what runs on `device` with numbers of type `number`, once all is absorbed."""

    def run(self, *bottoms: torch.Tensor) -> torch.Tensor:
        """Return the top; the bottoms stay as they are."""
        raise NotImplementedError


@dataclass(kw_only=True)
class PlainStep(Step):
    """A layer as it is: its top number `index`."""

    layer: Layer
    index: int = 0

    def run(self, *bottoms: torch.Tensor) -> torch.Tensor:
        """Return the layer's own tops."""
        return self.layer.forward(*bottoms)[self.index]


@dataclass(kw_only=True)
class LinearStep(Step):
    """Something linear with a bias for each output channel, and perhaps a ReLU after it.

    Attributes
    ----------
    weights : list of torch.Tensor of float64
        What is multiplied; `outputs_axis` is their axis of output channels.
    bias : torch.Tensor of float64, shape (outputs,)
        What is added.
    rectified : bool
        Whether negative values become 0.
    planes : int
        Planes that are channels: as many neighbouring output channels have one BatchNorm and one Scale.
    """

    outputs_axis = 0

    weights: list[torch.Tensor]
    bias: torch.Tensor
    rectified: bool = False
    planes: int = 1

    def absorb(self, layer: Layer) -> bool:
        """Take BatchNorm, Scale and ReLU."""
        if self.rectified:
            return False
        self.rectified = is_plain_relu(layer)
        affine = affine_of(layer)
        if affine is not None:
            factor, offset = (values.repeat_interleave(self.planes) for values in affine)
            self.multiply(factor)
            self.bias = self.bias + offset
        return self.rectified or affine is not None

    def multiply(self, factor: torch.Tensor) -> None:
        """Multiply the result by one factor, or by one for each output channel.

        Parameters
        ----------
        factor : torch.Tensor, shape () or (outputs,)
        """
        factor = factor.to(self.bias.device)
        shape = [1] * self.weights[0].dim()
        shape[self.outputs_axis] = -1
        self.weights = [weight * factor.reshape(shape) for weight in self.weights]
        self.bias = self.bias * factor

    def finish(self, top: torch.Tensor) -> torch.Tensor:
        """Apply the ReLU in place.

        Parameters
        ----------
        top : torch.Tensor, shape (n, outputs, x, y)

        Returns
        -------
        torch.Tensor, that shape
        """
        return top.relu_() if self.rectified else top


@dataclass(kw_only=True)
class ConvolutionStep(LinearStep):
    """A 2-D convolution with the channels innermost in memory."""

    kernel: Kernel
    groups: int = 1

    def place(self, device: torch.device, number: torch.dtype) -> None:
        """Lay the weights out with the channels innermost; a convolution to few channels stays in float32."""
        number = torch.float32 if len(self.bias) <= FEW_CHANNELS else number
        (weight,) = self.weights
        self.weights = [weight.to(device, number).contiguous(memory_format=torch.channels_last)]
        self.bias = self.bias.to(device, number)

    def run(self, *bottoms: torch.Tensor) -> torch.Tensor:
        """Return the convolution, with bias and ReLU."""
        kernel, weight = self.kernel, self.weights[0]
        bottom = bottoms[0].to(weight.dtype).contiguous(memory_format=torch.channels_last)
        if products.suit(bottom, kernel, self.groups):
            convolve = products.convolve_and_rectify if self.rectified else products.convolve
            return convolve(bottom, weight, self.bias, kernel)
        settings = (kernel.stride, kernel.pad, kernel.dilation, self.groups)
        if self.rectified and has_rectified_convolution(bottom):
            return torch.cudnn_convolution_relu(bottom, weight, self.bias, *settings)
        return self.finish(functional.conv2d(bottom, weight, self.bias, *settings))


@dataclass(kw_only=True)
class DeconvolutionStep(LinearStep):
    """A sum of 2-D deconvolutions of one bottom, with few outputs and one stride."""

    outputs_axis = 1

    kernels: list[Kernel]
    scratch: Scratch

    def join(self, other: DeconvolutionStep) -> None:
        """Add another one to the sum."""
        self.weights = self.weights + other.weights
        self.kernels = self.kernels + other.kernels
        self.bias = self.bias + other.bias

    def place(self, device: torch.device, number: torch.dtype) -> None:
        """Make one matrix of all kernels."""
        matrix = torch.cat([weight.flatten(1).t() for weight in self.weights])
        self.weights = [matrix.contiguous().to(device, number)]
        self.bias = self.bias.to(device, torch.float32)

    def run(self, *bottoms: torch.Tensor) -> torch.Tensor:
        """Return the sum of the deconvolutions, as float32."""
        bottom = bottoms[0].to(self.weights[0].dtype)
        top = deconvolve_for_prediction(bottom, self.weights[0], self.kernels, self.scratch)
        return self.finish(top.add_(self.bias[:, None, None]))


@dataclass(kw_only=True)
class SumStep(Step):
    """A sum of two or more blobs, each times a coefficient, and perhaps a ReLU after it."""

    coefficients: Sequence[float]
    rectified: bool = field(default=False)

    def absorb(self, layer: Layer) -> bool:
        """Take over a ReLU that follows."""
        if self.rectified or not is_plain_relu(layer):
            return False
        self.rectified = True
        return True

    def run(self, *bottoms: torch.Tensor) -> torch.Tensor:
        """Add the bottoms, first to last."""
        first = bottoms[0] if self.coefficients[0] == 1 else bottoms[0] * self.coefficients[0]
        top = torch.add(first, bottoms[1], alpha=self.coefficients[1])
        for bottom, coefficient in zip(bottoms[2:], self.coefficients[2:], strict=True):
            top.add_(bottom, alpha=coefficient)
        return top.relu_() if self.rectified else top


@dataclass(kw_only=True)
class UnrollStep(Step):
    """Make planes channels: (n, c, x, y, z) to (n, c * z, x, y)."""

    def run(self, *bottoms: torch.Tensor) -> torch.Tensor:
        """Return a blob with the channels innermost in memory."""
        return bottoms[0].permute(0, 1, 4, 2, 3).flatten(1, 2).contiguous(memory_format=torch.channels_last)


@dataclass(kw_only=True)
class RollStep(Step):
    """Make channels planes again: (n, c * z, x, y) to (n, c, x, y, z)."""

    planes: int

    def run(self, *bottoms: torch.Tensor) -> torch.Tensor:
        """Return the blob with an axis of planes."""
        return bottoms[0].unflatten(1, (-1, self.planes)).permute(0, 1, 3, 4, 2)


def has_rectified_convolution(bottom: torch.Tensor) -> bool:
    """Return whether convolution, bias and ReLU of `bottom` can be one kernel: cuDNN's, for short numbers.

    Parameters
    ----------
    bottom : torch.Tensor, shape (n, channels, x, y)
    """
    return bottom.is_cuda and torch.version.cuda is not None and bottom.dtype in (torch.float16, torch.bfloat16)


def is_plain_relu(layer: Layer) -> bool:
    """Return whether `layer` turns negative values into 0 and nothing else."""
    return isinstance(layer, ReLU) and not layer.message.relu_param.negative_slope


def affine_of(layer: Layer) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return what `layer` multiplies each channel with and then adds, in float64; None when it does something else.

    Returns
    -------
    two torch.Tensor of float64, shape (channels,); or None
    """
    if isinstance(layer, BatchNorm) and not layer.batch_statistics:
        mean, variance = (values.double() for values in layer.statistics())
        factor = (variance + layer.eps).rsqrt()
        return factor, -mean * factor
    if isinstance(layer, Scale) and layer.axis == 1 and len(layer.shape) == 1 and len(layer.bottoms) == 1:
        factor, *bias = (blob.detach().double() for blob in layer.blobs)
        return factor, bias[0] if bias else torch.zeros_like(factor)
    return None


def unroll(weight: torch.Tensor, kernel: Kernel, planes: int) -> torch.Tensor:
    """Return the 2-D weights that do to planes as channels what 3-D weights do to planes.

    Parameters
    ----------
    weight : torch.Tensor, shape (out, in, x, y, z)
        Weights of a 3-D convolution.
    kernel : Kernel
        Its kernel.
    planes : int
        Planes of the bottom.

    Returns
    -------
    torch.Tensor, shape (out * planes of the top, in * planes, x, y)
        Zeros where an output plane does not see an input plane.
    """
    outputs, inputs, *sides, taps = weight.shape
    tops = (planes + 2 * kernel.pad[2] - kernel.extent[2]) // kernel.stride[2] + 1
    wide = weight.new_zeros(outputs, tops, inputs, planes, *sides)
    for top in range(tops):
        for tap in range(taps):
            plane = top * kernel.stride[2] - kernel.pad[2] + tap * kernel.dilation[2]
            if 0 <= plane < planes:
                wide[:, top, :, plane] = weight[..., tap]
    return wide.flatten(2, 3).flatten(0, 1)
