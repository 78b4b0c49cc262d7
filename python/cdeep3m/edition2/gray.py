"""From decoded images to the 8-bit gray values that CDeep3M2 reads."""

from __future__ import annotations

import numpy as np

RED, GREEN, BLUE = 9797, 19234, 3737
"""Weights of the three channels, in 1/32768."""
BITS = 15


def to_8_bit_gray(values: np.ndarray) -> np.ndarray:
    """Return an image of a folder as training and prediction read it.

    Parameters
    ----------
    values : ndarray of bool, uint8 or uint16, shape (y, x), (y, x, 2), (y, x, 3) or (y, x, 4)
        Gray, gray and alpha, red, green and blue, with or without alpha.

    Returns
    -------
    ndarray of uint8, shape (y, x)
        16-bit values lose their lower byte (defect 9), colours become luma (defect 10), alpha is dropped.

    Examples
    --------
    >>> to_8_bit_gray(np.uint16([[255, 256, 65535]])).tolist()
    [[0, 1, 255]]
    >>> to_8_bit_gray(np.uint8([[[255, 0, 0], [0, 255, 0]]])).tolist()
    [[76, 149]]
    """
    high = _high_byte(values)
    if high.ndim == 2:
        return high
    if high.shape[2] < 3:
        return high[..., 0]
    red, green, blue = (high[..., channel].astype(np.int64) for channel in range(3))
    return ((red * RED + green * GREEN + blue * BLUE) >> BITS).astype(np.uint8)


def blue_channel(values: np.ndarray) -> np.ndarray:
    """Return an image as the enhancement reads it: gray at its full depth, and of colour the blue channel (defect 10).

    Parameters
    ----------
    values : ndarray of a number type, shape (y, x) or (y, x, channels)

    Returns
    -------
    ndarray of the same type, shape (y, x)

    Examples
    --------
    >>> blue_channel(np.uint8([[[1, 2, 3]]])).tolist()
    [[3]]
    """
    if values.ndim == 2:
        return values
    return values[..., 2 if values.shape[2] >= 3 else 0]


def wrapped(values: np.ndarray) -> np.ndarray:
    """Return a TIFF stack as training reads it: 16-bit values modulo 256 (defect 9).

    Parameters
    ----------
    values : ndarray of uint8 or uint16, any shape

    Returns
    -------
    ndarray of uint8, that shape

    Examples
    --------
    >>> wrapped(np.uint16([255, 256, 257])).tolist()
    [255, 0, 1]
    """
    return values.astype(np.uint8)


def _high_byte(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    return (values >> 8).astype(np.uint8) if values.dtype == np.uint16 else values
