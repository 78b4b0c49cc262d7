"""Layers that run as one step in training: fewer passes over memory, and fewer copies kept.

BatchNorm, Scale and ReLU of one blob, on a GPU with the convolution before them; and deconvolutions of one blob that
are only summed, five for each scale.
"""

from __future__ import annotations

from collections import Counter
from functools import reduce
from typing import TYPE_CHECKING

import torch

from cdeep3m.engines.embedded.net import normalising
from cdeep3m.engines.embedded.net.layers.base import Layer
from cdeep3m.engines.embedded.net.layers.batch_norm import BatchNorm
from cdeep3m.engines.embedded.net.layers.convolution import Convolution
from cdeep3m.engines.embedded.net.layers.deconvolution import Deconvolution
from cdeep3m.engines.embedded.net.layers.eltwise import Eltwise
from cdeep3m.engines.embedded.net.layers.relu import ReLU
from cdeep3m.engines.embedded.net.layers.scale import Scale
from cdeep3m.engines.embedded.net.primitives import FEW_OUTPUTS, convolve, deconvolve_sum
from cdeep3m.proto import caffe_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence


class NormaliseScale:
    """A BatchNorm, the Scale after it and perhaps a ReLU, all in place on one blob.

    Attributes
    ----------
    type : str
        What stands for the layers' types.
    bottoms, tops : tuple of str
        The blob.
    rectified : bool
        Whether there is a ReLU.
    """

    type = "BatchNorm, Scale"

    def __init__(self, normalise: BatchNorm, scale: Scale) -> None:
        self.normalise, self.scale, self.rectified = normalise, scale, False
        self.bottoms, self.tops = normalise.bottoms, scale.tops

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return what the layers would, one after the other."""
        return (self.run(bottoms[0]),)

    def run(self, bottom: torch.Tensor, shift: torch.Tensor | None = None) -> torch.Tensor:
        """Return the top; `shift` is what each channel of the bottom lacks, which the running means are told alone."""
        normalise, (factor, *bias) = self.normalise, self.scale.blobs
        offset = bias[0] if bias else None
        if normalise.batch_statistics and normalising.in_one_pass(bottom.device):
            return normalising.normalise(
                bottom,
                factor,
                offset,
                shift,
                normalising.Sums(*normalise.blobs),
                fraction=normalise.fraction,
                eps=normalise.eps,
                rectified=self.rectified,
            )
        top = normalise.normalise(bottom, factor, offset)
        if shift is not None:
            with torch.no_grad():
                normalise.blobs[0].add_(shift)
        return top.relu_() if self.rectified else top


class NormalisedConvolution:
    """A convolution, and what is done in place on its top: BatchNorm, Scale and perhaps a ReLU.

    BatchNorm takes the mean of each channel away, and with it the convolution's bias: that is not added, only told to
    the running means, and its gradient is 0 (Caffe sums up rounding errors there).

    Attributes
    ----------
    type : str
        What stands for the layers' types.
    bottoms, tops : tuple of str
        The convolution's.
    """

    type = "Convolution, BatchNorm, Scale"

    def __init__(self, convolution: Convolution, after: NormaliseScale) -> None:
        self.convolution, self.after = convolution, after
        self.bottoms, self.tops = convolution.bottoms, convolution.tops

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return what the layers would, one after the other."""
        layer = self.convolution
        bias = None if layer.bias is None else layer.bias.detach()
        top = convolve(bottoms[0], layer.blobs[0], None, layer.kernel, groups=layer.groups)
        return (self.after.run(top, bias),)


class DeconvolutionSum:
    """Deconvolutions of one bottom and the Eltwise that sums them; their own tops are never made.

    Attributes
    ----------
    type : str
        What stands for the layers' types.
    bottoms, tops : tuple of str
        The deconvolutions' bottom; the sum.
    """

    type = "Deconvolution, Eltwise"

    def __init__(self, parts: Sequence[Deconvolution], total: Eltwise) -> None:
        self.parts, self.total = parts, total
        self.bottoms, self.tops = parts[0].bottoms, total.tops

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the sum of the deconvolutions."""
        terms = list(zip(self.parts, self.total.coefficients, strict=True))
        weights = [part.blobs[0] if factor == 1 else part.blobs[0] * factor for part, factor in terms]
        biases = [part.bias * factor for part, factor in terms if part.bias is not None]
        bias = reduce(torch.add, biases) if biases else None
        return (deconvolve_sum(bottoms[0], weights, bias, [part.kernel for part in self.parts]),)


MergedStep = Layer | NormaliseScale | NormalisedConvolution | DeconvolutionSum


def merged(layers: Sequence[Layer], *, convolutions: bool | None = None) -> list[MergedStep]:
    """Replace layers that can run as one step; leave others.

    Parameters
    ----------
    layers : sequence of Layer
        The layers of a net, in order.
    convolutions : bool, optional
        Join convolutions and what normalises their tops; default: on a GPU.

    Returns
    -------
    list of Layer, NormaliseScale, NormalisedConvolution or DeconvolutionSum
        What gives the same blobs when it is run in order, but for terms of sums, which are not made.
    """
    steps: list[MergedStep] = []
    uses = Counter(name for layer in layers for name in layer.bottoms)
    for layer in layers:
        last = steps[-1] if steps else None
        if isinstance(layer, Scale) and isinstance(last, BatchNorm) and _scales(layer, last):
            steps[-1] = NormaliseScale(last, layer)
        elif isinstance(layer, ReLU) and isinstance(last, NormaliseScale) and _rectifies(layer, last):
            last.rectified = True
        elif isinstance(layer, Eltwise) and (parts := _summed(layer, steps, uses)):
            steps = [step for step in steps if step not in parts]
            steps.append(DeconvolutionSum(parts, layer))
        else:
            steps.append(layer)
    if convolutions is None:
        convolutions = bool(layers) and layers[0].context.device.type == "cuda"
    return _joined(steps) if convolutions else steps


def _joined(steps: Sequence[MergedStep]) -> list[MergedStep]:
    """Join convolutions and the steps after them that normalise their tops by a batch's statistics."""
    joined: list[MergedStep] = []
    for step in steps:
        last = joined[-1] if joined else None
        if isinstance(last, Convolution) and isinstance(step, NormaliseScale) and _normalises(step, last):
            joined[-1] = NormalisedConvolution(last, step)
        else:
            joined.append(step)
    return joined


def _normalises(step: NormaliseScale, layer: Convolution) -> bool:
    return step.bottoms == layer.tops != layer.bottoms and len(layer.tops) == 1 and step.normalise.batch_statistics


def _scales(layer: Scale, normalise: BatchNorm) -> bool:
    in_place = normalise.bottoms == normalise.tops == layer.bottoms == layer.tops
    return in_place and (layer.axis, layer.shape) == (1, (normalise.channels,))


def _rectifies(layer: ReLU, step: NormaliseScale) -> bool:
    in_place = step.tops == layer.bottoms == layer.tops
    return in_place and not step.rectified and not layer.message.relu_param.negative_slope


def _summed(total: Eltwise, steps: Sequence[MergedStep], uses: Counter[str]) -> list[Deconvolution]:
    """Return the thin deconvolutions of one bottom whose tops are used for this sum alone; none where others are."""
    made = {step.tops: i for i, step in enumerate(steps) if isinstance(step, Deconvolution) and _is_thin(step)}
    places = [made.get((name,)) for name in total.bottoms]
    known = [place for place in places if place is not None]
    parts = [step for step in (steps[place] for place in known) if isinstance(step, Deconvolution)]
    alone = all(uses[name] == 1 for name in total.bottoms)
    if total.operation != caffe_pb2.EltwiseParameter.SUM or len(parts) < len(places) or not alone:
        return []
    changed = {name for step in steps[min(known) :] for name in step.tops}
    return parts if len({part.bottoms for part in parts}) == 1 and parts[0].bottoms[0] not in changed else []


def _is_thin(layer: Deconvolution) -> bool:
    outputs, alone = layer.message.convolution_param.num_output, len(layer.bottoms) == 1
    return (layer.axes, layer.groups) == (2, 1) and alone and outputs <= FEW_OUTPUTS and not layer.message.loss_weight
