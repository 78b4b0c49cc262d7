"""TanH."""

from __future__ import annotations

import torch

from cdeep3m.engines.embedded.net.layers.base import SameShape


class TanH(SameShape):
    """Caffe's TanH: the hyperbolic tangent."""

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Apply it to every value."""
        return (torch.tanh(bottoms[0]),)
