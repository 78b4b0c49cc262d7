"""Predictions laid over the images in green (Create_overlays.py)."""

from __future__ import annotations

import numpy as np

PREDICTION, IMAGE = 0.4, 0.6
"""Shares of the two in the picture."""
WHITE = 255


def overlay(segmented: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """Return a picture of the image with the prediction in green.

    Parameters
    ----------
    segmented, raw : ndarray of uint8, shape (y, x)
        Probability map and image of one plane; 16-bit values count modulo 256.

    Returns
    -------
    ndarray of uint8, shape (y, x, 3)

    Examples
    --------
    >>> overlay(np.uint8([[0, 255]]), np.uint8([[100, 100]])).tolist()
    [[[73, 73, 73], [73, 189, 73]]]
    """
    prediction = _stretched(segmented.astype(np.uint8), 40, 215)
    image = _stretched(raw.astype(np.uint8), 0, 235)
    green = np.rint(PREDICTION * prediction + IMAGE * image)
    others = np.rint(IMAGE * image)
    return np.stack([_stretched(channel, 0, 225) for channel in (others, green, others)], axis=-1).astype(np.uint8)


def _stretched(values: np.ndarray, low: int, high: int) -> np.ndarray:
    """Cut to low..high and stretch that to 0..255, fractions dropped."""
    return np.trunc((np.clip(values, low, high).astype(np.float64) - low) / (high - low) * WHITE)
