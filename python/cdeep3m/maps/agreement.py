"""How far two predictions of the same planes agree, and how far they should."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.tiling.stitching import to_png16, to_probability_map

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST_DIFFERENCE = 1e-4
SMALLEST_EQUAL_SHARE = 0.999
LARGEST_STEP = 1
"""What two independent float32 implementations of Caffe's layers agree to, with the same weights: the largest
difference of a probability, the share of equal 8-bit values, and how many steps of 255 the others may be off by."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Two predictions of the same voxels, compared.

    Attributes
    ----------
    planes, voxels : int
        How many were compared.
    largest, mean : float
        Of the absolute differences of the foreground probabilities; NaN where a prediction holds NaN.
    equal_share : float
        Share of voxels with equal values in 8-bit maps.
    largest_step : int
        Largest difference of 8-bit values.
    """

    planes: int
    voxels: int
    largest: float
    mean: float
    equal_share: float
    largest_step: int

    @property
    def within_tolerance(self) -> bool:
        """Whether this is no more than the noise of float32."""
        return (
            self.largest <= LARGEST_DIFFERENCE
            and self.equal_share >= SMALLEST_EQUAL_SHARE
            and self.largest_step <= LARGEST_STEP
        )


def agreement_of(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> Agreement:
    """Compare two predictions plane by plane.

    Parameters
    ----------
    pairs : iterable of (ndarray, ndarray) of a floating-point type, shape (y, x)
        Foreground probabilities of the same plane; at least one pair.

    Returns
    -------
    Agreement

    Examples
    --------
    >>> found = agreement_of([(np.array([[0.5, 0.25]]), np.array([[0.5, 0.75]]))])
    >>> found.largest, found.mean, found.equal_share, found.largest_step, found.within_tolerance
    (0.5, 0.25, 0.5, 127, False)
    """
    rows = np.array([_differences(*pair) for pair in pairs])
    if not rows.size:
        raise ValueError("no planes to compare")
    voxels, largest, total, equal, step = rows.T
    return Agreement(
        planes=len(rows),
        voxels=int(voxels.sum()),
        largest=float(largest.max()),
        mean=float(total.sum() / voxels.sum()),
        equal_share=float(equal.sum() / voxels.sum()),
        largest_step=int(step.max()),
    )


def _differences(one: np.ndarray, other: np.ndarray) -> tuple[float, ...]:
    """Return a plane's voxels, the largest and the sum of their differences, and the same of 8-bit values."""
    if one.shape != other.shape:
        raise ValueError(f"planes of {one.shape} and {other.shape}")
    difference = np.abs(one.astype(np.float64) - other)
    steps = np.abs(_eight_bits(one).astype(int) - _eight_bits(other))
    return (
        one.size,
        float(difference.max()),
        float(difference.sum()),
        int(np.count_nonzero(steps == 0)),
        int(steps.max()),
    )


def _eight_bits(probability: np.ndarray) -> np.ndarray:
    return to_probability_map(to_png16(probability.astype(np.float64)))
