"""What a convolution's kernel is, apart from its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Kernel:
    """Size, stride, padding and dilation of a kernel along each spatial axis, in the blob's order (x, y, z)."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def taps(self) -> int:
        """Weights of the kernel for one input and one output."""
        return math.prod(self.size)

    @property
    def extent(self) -> tuple[int, ...]:
        """Voxels from the first tap to the last one."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.size, self.dilation, strict=True))

    def along(self, axes: int) -> Kernel:
        """Return the kernel along the first `axes` axes."""
        return Kernel(self.size[:axes], self.stride[:axes], self.pad[:axes], self.dilation[:axes])

    def convolved(self, sides: Sequence[int]) -> tuple[int, ...]:
        """Return the sides of a convolution's top."""
        return tuple(
            (side + 2 * p - e) // s + 1 for side, p, e, s in zip(sides, self.pad, self.extent, self.stride, strict=True)
        )

    def deconvolved(self, sides: Sequence[int]) -> tuple[int, ...]:
        """Return the sides of a deconvolution's top."""
        return tuple(
            s * (side - 1) + e - 2 * p for side, p, e, s in zip(sides, self.pad, self.extent, self.stride, strict=True)
        )
