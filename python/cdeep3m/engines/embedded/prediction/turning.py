"""Variants, their mean and its rounding where the net runs; NumPy's way is in `tiling`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdeep3m.tiling.variants import Variant

LARGEST = float(2**32 - 1)
TO_16_BITS = 65537.0
"""2**32 - 1 = 65535 * 65537: probabilities are rounded to 32 bits before they become 16."""

PROBE = np.arange(6).reshape(1, 2, 3)
"""A plane whose voxels are their own addresses."""


class Turn(NamedTuple):
    """What brings a plane into an orientation: perhaps a swap of its axes, then reversals of them."""

    swapped: bool
    reversed: tuple[int, ...]

    def __call__(self, stack: torch.Tensor) -> torch.Tensor:
        """Turn the last two axes (y, x) of a stack."""
        stack = stack.transpose(-1, -2) if self.swapped else stack
        return stack.flip(self.reversed) if self.reversed else stack


def apply(variant: Variant, stack: torch.Tensor) -> torch.Tensor:
    """Return a stack (z, y, x) as `variant` shows it to the net; see `Variant.apply`."""
    turned = _applying(variant)(stack)
    return turned.flip(0) if variant.reverses_planes else turned


def swaps(variant: Variant) -> bool:
    """Return whether `variant` swaps x and y."""
    return _applying(variant).swapped


def undo(variant: Variant, plane: torch.Tensor) -> torch.Tensor:
    """Return a predicted plane (y, x) in the volume's own orientation; see `Variant.undo`."""
    return _undoing(variant)(plane)


def to_png16(mean: torch.Tensor) -> torch.Tensor:
    """Turn averaged probabilities into 16-bit values, in the very steps of `merge_16_probs.to_uint16`.

    Parameters
    ----------
    mean : torch.Tensor of float64, shape (y, x)

    Returns
    -------
    torch.Tensor of int16, shape (y, x)
        The bits of unsigned numbers.
    """
    scaled = mean * LARGEST
    scaled = torch.where(torch.isnan(scaled), torch.zeros_like(scaled), scaled).clamp_(0.0, LARGEST)
    scaled = scaled.add_(0.5).floor_().clamp_(max=LARGEST).div_(TO_16_BITS)
    return scaled.round_().to(torch.int32).to(torch.int16)


@cache
def _applying(variant: Variant) -> Turn:
    return _turn_of(variant.turn)


@cache
def _undoing(variant: Variant) -> Turn:
    return _turn_of(lambda stack: variant.undo(stack))


def _turn_of(move: Callable[[np.ndarray], np.ndarray]) -> Turn:
    """Find out what `move` does to a plane."""
    moved = move(PROBE)[0]
    swapped = moved.shape != PROBE[0].shape
    whole = PROBE[0].T if swapped else PROBE[0]
    ways: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
    return Turn(swapped, next(axes for axes in ways if np.array_equal(np.flip(whole, axes), moved)))
