"""Deconvolution, 1-D to 3-D, with dilation and groups."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cdeep3m.engines.embedded.net.layers.convolution import Kernelled
from cdeep3m.engines.embedded.net.primitives import deconvolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from cdeep3m.engines.embedded.net.layers.base import Shape


class Deconvolution(Kernelled):
    """Caffe's Deconvolution: weights (in, out / groups, spatial...)."""

    def weight_shape(self, channels: int, outputs: int) -> Shape:
        """Return the shape of the weights."""
        return (channels, outputs // self.groups, *self.kernel.size)

    @property
    def channels(self) -> int:
        """Channels of the bottoms."""
        return self.blobs[0].shape[0]

    def sides(self, sides: Sequence[int]) -> tuple[int, ...]:
        """Return the top's sides."""
        return self.kernel.deconvolved(sides)

    def operations(self, shape: Shape) -> int:
        """Return the floating-point operations, two for each product and sum, for one bottom of `shape`."""
        return 2 * self.blobs[0].numel() * shape[0] * math.prod(shape[2:])

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Deconvolve each bottom."""
        return tuple(
            deconvolve(bottom, self.blobs[0], self.bias, self.kernel, groups=self.groups) for bottom in bottoms
        )
