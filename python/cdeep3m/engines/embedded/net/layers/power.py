"""Power."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdeep3m.engines.embedded.net.layers.base import SameShape

if TYPE_CHECKING:
    import torch


class Power(SameShape):
    """Caffe's Power: (shift + scale * x) ** power."""

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Apply it to every value."""
        param = self.message.power_param
        linear = bottoms[0] * param.scale + param.shift
        return (linear if param.power == 1 else linear**param.power,)
