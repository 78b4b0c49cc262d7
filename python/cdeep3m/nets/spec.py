"""Nets as functions from blobs to blobs; what they build is Caffe's own NetParameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdeep3m.proto.caffe_pb2 import (
    BlobShape,
    ConvolutionParameter,
    EltwiseParameter,
    FillerParameter,
    NetParameter,
    ParamSpec,
    PoolingParameter,
    ReshapeParameter,
    ScaleParameter,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Blob:
    """A blob of a net under construction; a function of it appends its layers to `net` and returns their top.

    Attributes
    ----------
    net : NetParameter
        The net so far.
    name : str
        The blob's name.

    Examples
    --------
    >>> data = input_blob(NetParameter(), "data", (1, 1, 32, 32))
    >>> relu(scale(data, "scaled"), "positive").net.layer[1].bottom
    ['data']
    """

    net: NetParameter
    name: str


@dataclass(frozen=True)
class KernelSpec:
    """Size, padding and stride of a convolution, as the prototxt spells them (None and the empty tuple: not at all).

    Attributes
    ----------
    size, pad, stride, dilation : tuple of int
        One number for all axes, or one for each of (x, y[, z]).
    """

    size: tuple[int, ...]
    pad: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()

    def parameters(self) -> ConvolutionParameter:
        """Return the fields that describe this kernel; two sizes that differ are kernel_h (x) and kernel_w (y)."""
        common = ConvolutionParameter(stride=self.stride, dilation=self.dilation)
        if len(self.size) != 2:
            common.kernel_size.extend(self.size)
            common.pad.extend(self.pad)
            return common
        common.kernel_h, common.kernel_w = self.size
        common.pad_h, common.pad_w = self.pad
        return common


WEIGHT_AND_BIAS = (ParamSpec(lr_mult=1), ParamSpec(lr_mult=2))
"""Biases learn twice as fast as weights."""

XAVIER = FillerParameter(type="xavier")
BILINEAR = FillerParameter(type="bilinear")
ZERO = FillerParameter(type="constant", value=0)


def gaussian(std: float) -> FillerParameter:
    """Return a filler that draws from a normal distribution around 0."""
    return FillerParameter(type="gaussian", std=std)


def layer(kind: str, name: str, bottoms: Sequence[Blob], top: str | None = None, **parameters: Any) -> Blob:
    """Append a layer with one top.

    Parameters
    ----------
    kind, name : str
        The layer's type and name.
    bottoms : sequence of Blob
        What it reads, all of one net.
    top : str, optional
        What it writes; default: `name`.
    **parameters
        Further fields of LayerParameter.

    Returns
    -------
    Blob
    """
    net = bottoms[0].net
    top = top or name
    net.layer.add(type=kind, name=name, bottom=[bottom.name for bottom in bottoms], top=[top], **parameters)
    return Blob(net, top)


def in_place(kind: str, name: str, blob: Blob, **parameters: Any) -> Blob:
    """Append a layer that overwrites `blob`."""
    return layer(kind, name, [blob], blob.name, **parameters)


def input_blob(net: NetParameter, name: str, shape: Sequence[int]) -> Blob:
    """Declare an input of `net` with axes (n, c, x, y[, z])."""
    net.input.append(name)
    net.input_shape.append(BlobShape(dim=shape))
    return Blob(net, name)


def convolution(
    bottom: Blob,
    name: str,
    num_output: int,
    kernel: KernelSpec,
    *,
    weights: FillerParameter = XAVIER,
    bias: FillerParameter | None = ZERO,
    top: str | None = None,
    param: Sequence[ParamSpec] = WEIGHT_AND_BIAS,
    kind: str = "Convolution",
) -> Blob:
    """Append a convolution (or, by `kind`, a Deconvolution)."""
    parameters = kernel.parameters()
    parameters.num_output = num_output
    parameters.weight_filler.CopyFrom(weights)
    if bias is not None:
        parameters.bias_filler.CopyFrom(bias)
    return layer(kind, name, [bottom], top, param=param, convolution_param=parameters)


def batch_norm(blob: Blob, name: str) -> Blob:
    """Append a BatchNorm in place."""
    return in_place("BatchNorm", name, blob)


def scale(blob: Blob, name: str) -> Blob:
    """Append a Scale with a bias, in place."""
    return in_place("Scale", name, blob, scale_param=ScaleParameter(bias_term=True))


def relu(blob: Blob, name: str) -> Blob:
    """Append a ReLU in place."""
    return in_place("ReLU", name, blob)


def drop_last_axis(blob: Blob, name: str) -> Blob:
    """Append a Reshape that turns a blob of axes (n, c, x, y, 1) into (n, c, x, y), in place."""
    return in_place("Reshape", name, blob, reshape_param=ReshapeParameter(shape=BlobShape(dim=[0, 0, 0, 0])))


def max_pool(bottom: Blob, name: str, *, kernel_size: int, stride: int) -> Blob:
    """Append a MAX pooling."""
    parameters = PoolingParameter(pool=PoolingParameter.MAX, kernel_size=kernel_size, stride=stride)
    return layer("Pooling", name, [bottom], pooling_param=parameters)


def concat(bottoms: Sequence[Blob], name: str) -> Blob:
    """Append a concatenation along the channels."""
    return layer("Concat", name, bottoms)


def total(bottoms: Sequence[Blob], name: str, *, top: str | None = None, coeff: Sequence[float] = ()) -> Blob:
    """Append a sum, weighted by `coeff`."""
    parameters = EltwiseParameter(operation=EltwiseParameter.SUM, coeff=coeff)
    return layer("Eltwise", name, bottoms, top, eltwise_param=parameters)
