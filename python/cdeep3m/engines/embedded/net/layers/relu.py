"""ReLU, leaky or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

from cdeep3m.engines.embedded.net.layers.base import SameShape

if TYPE_CHECKING:
    import torch


class ReLU(SameShape):
    """Caffe's ReLU: negative values are multiplied by `negative_slope`, 0 by default."""

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the bottom with negative values times `negative_slope`."""
        slope = self.message.relu_param.negative_slope
        return (functional.leaky_relu(bottoms[0], slope) if slope else functional.relu(bottoms[0]),)
