"""BatchNorm, Scale and ReLU of one blob as one step: in training fewer passes over memory, and fewer copies kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdeep3m.engines.embedded.layers.batch_norm import BatchNorm
from cdeep3m.engines.embedded.layers.relu import ReLU
from cdeep3m.engines.embedded.layers.scale import Scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from cdeep3m.engines.embedded.layers.base import Layer


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
        factor, *bias = self.scale.blobs
        top = self.normalise.normalise(bottoms[0], factor, bias[0] if bias else None)
        return (top.relu_() if self.rectified else top,)


def merged(layers: Sequence[Layer]) -> list[Layer | NormaliseScale]:
    """Replace every BatchNorm, Scale (and ReLU) that follow each other in place by one step; leave other layers.

    Parameters
    ----------
    layers : sequence of Layer
        The layers of a net, in order.

    Returns
    -------
    list of Layer or NormaliseScale
        What gives the same blobs when it is run in order.
    """
    steps: list[Layer | NormaliseScale] = []
    for layer in layers:
        last = steps[-1] if steps else None
        if isinstance(layer, Scale) and isinstance(last, BatchNorm) and _scales(layer, last):
            steps[-1] = NormaliseScale(last, layer)
        elif isinstance(layer, ReLU) and isinstance(last, NormaliseScale) and _rectifies(layer, last):
            last.rectified = True
        else:
            steps.append(layer)
    return steps


def _scales(layer: Scale, normalise: BatchNorm) -> bool:
    in_place = normalise.bottoms == normalise.tops == layer.bottoms == layer.tops
    return in_place and (layer.axis, layer.shape) == (1, (normalise.channels,))


def _rectifies(layer: ReLU, step: NormaliseScale) -> bool:
    in_place = step.tops == layer.bottoms == layer.tops
    return in_place and not step.rectified and not layer.message.relu_param.negative_slope
