"""Layers that let a net look at binned pixels: one halves what it reads, one doubles its scores; neither learns.

Every Caffe has them, so that such a net predicts images of full size wherever the others do. ::

    trains     data -- bin ------------------ ... -- enlarge -- loss
    predicts   data -- bin_smoothly / share - ... -- enlarge / share -- softmax

What predicts divides by the share of a square, or of a kernel, that lies within the images: at their edges Caffe takes
zeros for what is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdeep3m.errors import NetError
from cdeep3m.nets.spec import BILINEAR, Blob, layer
from cdeep3m.proto.caffe_pb2 import (
    ConvolutionParameter,
    EltwiseParameter,
    FillerParameter,
    LayerParameter,
    NetParameter,
    ParamSpec,
    PowerParameter,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BIN, BIN_SMOOTHLY, ENLARGE = "bin", "bin_smoothly", "enlarge"
BIN_EVENLY, ENLARGE_EVENLY = "bin_evenly", "enlarge_evenly"
FIXED = (ParamSpec(lr_mult=0, decay_mult=0),)


def binned(data: Blob, binning: int, *, predicts: bool = False) -> Blob:
    """Append the layers that average squares of pixels; planes stay apart.

    Parameters
    ----------
    data : Blob
        Axes (n, 1, x, y, z).
    binning : int
        Pixels from one square to the next: 1 or an even number; 1 appends nothing.
    predicts : bool
        Squares overlap: each is twice as wide. A net that predicts smoother images than it learned from takes less
        noise for what it seeks (docs/learning.md).
    """
    if binning == 1:
        return data
    if not predicts:
        return _averaging(data, BIN, binning, side=binning, pad=0)

    def averaging(blob: Blob, name: str) -> Blob:
        return _averaging(blob, name, binning, side=2 * binning, pad=binning // 2)

    return _evenly(data, averaging, BIN_SMOOTHLY, BIN_EVENLY)


def enlarged(scores: Blob, binning: int, *, classes: int, predicts: bool = False) -> Blob:
    """Append the layers that enlarge the scores of each class, bilinearly.

    Parameters
    ----------
    scores : Blob
        Axes (n, classes, x, y).
    binning : int
        How many times: 1 or an even number.
    classes : int
    predicts : bool
        See the module.
    """
    if binning == 1:
        return scores

    def enlarging(blob: Blob, name: str) -> Blob:
        parameters = ConvolutionParameter(
            num_output=classes,
            group=classes,
            bias_term=False,
            kernel_size=(2 * binning,),
            stride=(binning,),
            pad=(binning // 2,),
            weight_filler=BILINEAR,
        )
        return layer("Deconvolution", name, [blob], param=FIXED, convolution_param=parameters)

    return _evenly(scores, enlarging, ENLARGE, ENLARGE_EVENLY) if predicts else enlarging(scores, ENLARGE)


def learning_layers(predicting: Iterable[LayerParameter]) -> list[LayerParameter]:
    """Return the layers of a net that predicts as those of the net that trains: bins apart, edges as they come."""
    made = list(predicting)
    left_out = {f"{name}_{part}" for name in (BIN_SMOOTHLY, ENLARGE) for part in ("ones", "share", "inverse")}
    renamed = {ENLARGE_EVENLY: ENLARGE, BIN_EVENLY: BIN}
    learning = []
    for each in made:
        if each.name in left_out or each.name in renamed:
            continue
        changed = LayerParameter()
        changed.CopyFrom(each)
        changed.bottom[:] = [renamed.get(name, name) for name in each.bottom]
        if each.name == BIN_SMOOTHLY:
            source = Blob(NetParameter(), each.bottom[0])
            binned(source, each.convolution_param.stride[0])
            changed = source.net.layer[0]
        learning.append(changed)
    return learning


def demand_same_binning(net: Iterable[str], weights: Iterable[str]) -> None:
    """Raise NetError where one of a net and its weights bins pixels and the other does not, by the names of layers.

    What bins has no weights that learn: they would fit, and show the net a world of another size.
    """
    bins, binned_too = (bool({BIN, BIN_SMOOTHLY} & set(names)) for names in (net, weights))
    if bins != binned_too:
        these, other = ("binned pixels", "whole ones") if binned_too else ("whole pixels", "binned ones")
        raise NetError(
            f"the weights learned from {these}, the net looks at {other}; expected those of a training with the same "
            "--binning, and the .prototxt files beside them"
        )


def _averaging(blob: Blob, name: str, step: int, *, side: int, pad: int) -> Blob:
    parameters = ConvolutionParameter(
        num_output=1,
        bias_term=False,
        kernel_size=(side, side, 1),
        stride=(step, step, 1),
        pad=(pad, pad, 0) if pad else (),
        weight_filler=FillerParameter(type="constant", value=1 / side**2),
    )
    return layer("Convolution", name, [blob], param=FIXED, convolution_param=parameters)


def _evenly(blob: Blob, made_by: Callable[[Blob, str], Blob], name: str, evenly: str) -> Blob:
    """Append a layer, and a division by what it makes of ones."""
    found = made_by(blob, name)
    ones = layer("Power", f"{name}_ones", [blob], power_param=PowerParameter(scale=0, shift=1))
    share = made_by(ones, f"{name}_share")
    inverse = layer("Power", f"{name}_inverse", [share], power_param=PowerParameter(power=-1))
    product = EltwiseParameter(operation=EltwiseParameter.PROD)
    return layer("Eltwise", evenly, [found, inverse], eltwise_param=product)
