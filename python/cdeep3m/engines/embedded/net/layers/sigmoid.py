"""Sigmoid."""

from __future__ import annotations

import torch

from cdeep3m.engines.embedded.net.layers.base import SameShape


class Sigmoid(SameShape):
    """Caffe's Sigmoid: 1 / (1 + exp(-x))."""

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Apply it to every value."""
        return (torch.sigmoid(bottoms[0]),)
