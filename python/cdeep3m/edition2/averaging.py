"""The mean of the variations' predictions as an 8-bit plane (StartPostprocessing.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

WHITE = 255


def mean_of_variations(planes: Sequence[np.ndarray]) -> np.ndarray:
    """Average in single precision, in the order given (ascending variations of CDeep3M2).

    Parameters
    ----------
    planes : sequence of ndarray of float32, shape (y, x)
        Predictions of one plane, de-augmented; at least one.

    Returns
    -------
    ndarray of float32, shape (y, x)
    """
    total = np.zeros(planes[0].shape, np.float32)
    for plane in planes:
        total += plane
    return total / np.float32(len(planes))


def to_8_bits(probability: np.ndarray) -> np.ndarray:
    """Return probabilities as 8-bit values, halves to even.

    Parameters
    ----------
    probability : ndarray of float32, any shape
        In [-1, 1]; negative ones wrap.

    Examples
    --------
    >>> to_8_bits(np.float32([0, 0.5, 1])).tolist()
    [0, 128, 255]
    """
    if not (np.abs(probability) <= 1).all():
        raise ValueError("CDeep3M2 takes probabilities from -1 to 1 only")
    return np.rint(probability * np.float32(WHITE)).astype(np.int64).astype(np.uint8)
