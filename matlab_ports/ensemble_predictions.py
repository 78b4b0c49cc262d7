"""The mean of several nets' 8-bit maps (EnsemblePredictions.m).

Deviation: planes are averaged as they are; the original first makes them the class of the first net's plane (defect 6,
`imageimporter.take_class_of_first`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

WHITE = 255


def octave_uint8(values: np.ndarray) -> np.ndarray:
    """Round halves away from zero and saturate, as Octave's uint8().

    Parameters
    ----------
    values : ndarray of float64, any shape

    Returns
    -------
    ndarray of uint8, that shape

    Examples
    --------
    >>> octave_uint8(np.array([-1.0, 0.5, 1.5, 2.4, 300.0])).tolist()
    [0, 1, 2, 2, 255]
    """
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def ensemble(planes: Sequence[np.ndarray]) -> np.ndarray:
    """Average in double and round to 8 bits.

    Parameters
    ----------
    planes : sequence of ndarray of uint8, uint16 or bool, shape (y, x)
        The same plane from every net; at least one.

    Returns
    -------
    ndarray of uint8, shape (y, x)
        16-bit input saturates at 255.

    Examples
    --------
    >>> ensemble([np.array([[1, 2]], np.uint8), np.array([[2, 2]], np.uint8)]).tolist()
    [[2, 2]]
    """
    if all(plane.dtype == np.uint8 for plane in planes):
        return _ensemble_of_8_bits(planes)
    total = planes[0].astype(np.float64)
    for plane in planes[1:]:
        total += plane
    total /= len(planes)
    return octave_uint8(total)


def _ensemble_of_8_bits(planes: Sequence[np.ndarray]) -> np.ndarray:
    """Average in whole numbers: (2 sum + n) / 2n, rounded down, is the mean with halves rounded up."""
    count = len(planes)
    number = np.uint16 if (2 * WHITE + 1) * count <= np.iinfo(np.uint16).max else np.uint32
    total = planes[0].astype(number)
    for plane in planes[1:]:
        total += plane
    total *= number(2)
    total += number(count)
    total //= number(2 * count)
    return total.astype(np.uint8)
