"""A segmentation laid over the images (overlay.py). No deviations."""

from __future__ import annotations

import numpy as np

SEGMENTED, RAW = 0.45, 0.55
"""Shares of the two in the picture."""


def overlay(segmented: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """Return 0.45 * segmented + 0.55 * raw, rounded.

    Parameters
    ----------
    segmented, raw : ndarray of uint8, shape (y, x) or (y, x, 3)
        Shapes that broadcast: gray values or red, green and blue.

    Returns
    -------
    ndarray of uint8

    Examples
    --------
    >>> overlay(np.uint8([0, 255, 255]), np.uint8([200, 200, 255])).tolist()
    [110, 225, 255]
    """
    return np.rint(SEGMENTED * segmented.astype(np.float64) + RAW * raw).astype(np.uint8)


def to_8_bits(plane: np.ndarray) -> np.ndarray:
    """Scale gray values of any range to 0..255: 16-bit values from 0..65535, floating point from 0..1.

    Parameters
    ----------
    plane : ndarray of uint8, uint16 or float, any shape

    Returns
    -------
    ndarray of uint8

    Examples
    --------
    >>> to_8_bits(np.uint16([0, 257, 65535])).tolist(), to_8_bits(np.float32([0, 0.5, 2])).tolist()
    ([0, 1, 255], [0, 128, 255])
    """
    if plane.dtype == np.uint8:
        return plane
    scale = 255 / np.iinfo(plane.dtype).max if plane.dtype.kind == "u" else 255
    return np.clip(np.rint(plane * scale), 0, 255).astype(np.uint8)
