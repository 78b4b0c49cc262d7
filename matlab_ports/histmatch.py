"""Planes that take the histogram of a reference (Histmatch.m).

Deviation: the original and its reader crash (defect 19); this is what they were written for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable


def mean_plane(planes: Iterable[np.ndarray]) -> np.ndarray:
    """Average planes in double; round halves up.

    Parameters
    ----------
    planes : iterable of ndarray of uint8 or uint16, shape (y, x)
        At least one, all of one size and type.

    Returns
    -------
    ndarray of that type, shape (y, x)

    Examples
    --------
    >>> mean_plane([np.uint8([[0, 255]]), np.uint8([[3, 255]])]).tolist()
    [[2, 255]]
    """
    count, total, dtype = 0, np.zeros(()), np.dtype(np.uint8)
    for plane in planes:
        count, total, dtype = count + 1, total + plane, plane.dtype
    return np.floor(total / count + 0.5).astype(dtype)


def histogram(plane: np.ndarray) -> np.ndarray:
    """Count every value that the type of a plane can hold.

    Parameters
    ----------
    plane : ndarray of uint8 or uint16, any shape

    Returns
    -------
    ndarray of int64, shape (256,) or (65536,)
    """
    return np.bincount(plane.ravel(), minlength=np.iinfo(plane.dtype).max + 1)


def histmatch(plane: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Give a plane the gray values of a reference: equal ranks get equal values.

    Parameters
    ----------
    plane : ndarray of uint8 or uint16, any shape
        What is changed; equal values stay equal, and their order stays.
    reference : ndarray of int, shape (256,) or (65536,)
        The histogram to match, as `histogram` counts it. It may be of another type than `plane`.

    Returns
    -------
    ndarray of uint8 (256 reference values) or uint16, of the shape of `plane`

    Examples
    --------
    >>> histmatch(np.uint8([10, 20, 20, 30]), histogram(np.uint8([1, 5, 5, 9]))).tolist()
    [1, 5, 5, 9]
    """
    present = np.flatnonzero(reference)
    ranks = np.cumsum(reference[present]) / reference.sum()
    matched = np.interp(np.cumsum(histogram(plane)) / plane.size, ranks, present)
    dtype = np.uint8 if len(reference) == np.iinfo(np.uint8).max + 1 else np.uint16
    return np.floor(matched + 0.5).astype(dtype)[plane]
