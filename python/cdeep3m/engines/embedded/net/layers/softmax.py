"""Softmax: probabilities from scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

from cdeep3m.engines.embedded.net.layers.base import SameShape, Shape

if TYPE_CHECKING:
    import torch


class Softmax(SameShape):
    """Caffe's Softmax along `axis` (1, the channels, by default)."""

    def setup(self, shapes: tuple[Shape, ...]) -> None:
        """Read along which axis probabilities sum to 1."""
        self.axis = self.message.softmax_param.axis % len(shapes[0])

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return probabilities that sum to 1 along the axis."""
        return (functional.softmax(bottoms[0], dim=self.axis),)
