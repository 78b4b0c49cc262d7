"""Layers that let a net look at binned pixels: one halves what it reads, one doubles its scores; neither learns.

Every Caffe has them, so that such a net predicts images of full size wherever the others do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdeep3m.nets.spec import BILINEAR, Blob, layer
from cdeep3m.proto.caffe_pb2 import ConvolutionParameter, FillerParameter, ParamSpec

if TYPE_CHECKING:
    from cdeep3m.proto.caffe_pb2 import LayerParameter

BIN, BIN_SMOOTHLY, ENLARGE = "bin", "bin_smoothly", "enlarge"
FIXED = (ParamSpec(lr_mult=0, decay_mult=0),)


def binned(data: Blob, binning: int, *, smoothly: bool = False) -> Blob:
    """Append the layer that averages squares of pixels; planes stay apart.

    Parameters
    ----------
    data : Blob
        Axes (n, 1, x, y, z).
    binning : int
        Pixels from one square to the next: 1 or an even number; 1 appends nothing.
    smoothly : bool
        Squares overlap: each is twice as wide. Nets that predict smoother images than they learned from take less
        noise for what they seek (docs/learning.md).
    """
    if binning == 1:
        return data
    side, pad = (2 * binning, binning // 2) if smoothly else (binning, 0)
    parameters = ConvolutionParameter(
        num_output=1,
        bias_term=False,
        kernel_size=(side, side, 1),
        stride=(binning, binning, 1),
        pad=(pad, pad, 0) if pad else (),
        weight_filler=FillerParameter(type="constant", value=1 / side**2),
    )
    name = BIN_SMOOTHLY if smoothly else BIN
    return layer("Convolution", name, [data], BIN, param=FIXED, convolution_param=parameters)


def binning_of(made: LayerParameter) -> int:
    """Return by how much a layer bins smoothly; 1 for any other layer."""
    return made.convolution_param.stride[0] if made.name == BIN_SMOOTHLY else 1


def enlarged(scores: Blob, binning: int, *, classes: int) -> Blob:
    """Append the layer that enlarges the scores of each class, bilinearly.

    Parameters
    ----------
    scores : Blob
        Axes (n, classes, x, y).
    binning : int
        How many times: 1 or an even number.
    classes : int
    """
    if binning == 1:
        return scores
    parameters = ConvolutionParameter(
        num_output=classes,
        group=classes,
        bias_term=False,
        kernel_size=(2 * binning,),
        stride=(binning,),
        pad=(binning // 2,),
        weight_filler=BILINEAR,
    )
    return layer("Deconvolution", ENLARGE, [scores], param=FIXED, convolution_param=parameters)
