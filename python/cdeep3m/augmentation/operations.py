"""Operations on the gray values of planes: floating point in, floating point out, nothing rounded or darkened.

Each is what the operation of the same name of CDeep3M2 was meant to be (docs/fidelity.md, corrections 14 to 18).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cdeep3m.edition2.enhancement import NOISE_FREE, noise_of
from cdeep3m.volumes.enhancement import denoise_plane

SMOOTHING = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13
"""What sharpening moves away from: Pillow's smoothing filter."""


def contrast(plane: np.ndarray, factor: float) -> np.ndarray:
    """Move gray values away from their mean (factor above 1), or towards it.

    Parameters
    ----------
    plane : ndarray of float32, shape (y, x)
        From 0 to 1.
    factor : float

    Returns
    -------
    ndarray of float32, shape (y, x)

    Examples
    --------
    >>> contrast(np.float32([[0.25, 0.75]]), 1.5).tolist()
    [[0.125, 0.875]]
    """
    mean = plane.mean(dtype=np.float64)
    return np.clip(mean + (plane - mean) * factor, 0, 1).astype(np.float32)


def sharpen(plane: np.ndarray, factor: float) -> np.ndarray:
    """Move gray values away from their smoothed neighbourhood: 1 changes nothing, more sharpens.

    Parameters
    ----------
    plane : ndarray of float32, shape (y, x)

    Returns
    -------
    ndarray of float32, shape (y, x)
    """
    smooth = ndimage.convolve(plane, SMOOTHING, mode="nearest")
    return np.clip(smooth + (plane - smooth) * np.float32(factor), 0, 1)


def blur(plane: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth along y and x.

    Parameters
    ----------
    plane : ndarray of float32, shape (y, x)

    Returns
    -------
    ndarray of float32, shape (y, x)
    """
    return ndimage.gaussian_filter(plane, sigma)


def add_noise(plane: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise of a standard deviation on the scale from 0 to 1.

    Parameters
    ----------
    plane : ndarray of float32, shape (y, x)

    Returns
    -------
    ndarray of float32, shape (y, x)
    """
    return np.clip(plane + rng.standard_normal(plane.shape, np.float32) * np.float32(deviation), 0, 1)


def smooth_by_variation(plane: np.ndarray, factor: float) -> np.ndarray:
    """Lower the total variation by a multiple of the plane's own noise; a plane without noise stays.

    Parameters
    ----------
    plane : ndarray of float32, shape (y, x)

    Returns
    -------
    ndarray of float32, shape (y, x)
    """
    noise = noise_of(plane)
    return denoise_plane(plane, noise * factor) if noise * factor > NOISE_FREE else plane


def equalise(plane: np.ndarray, bins: int) -> np.ndarray:
    """Give every gray value as many pixels as any other, in `bins` steps; a constant plane stays.

    Parameters
    ----------
    plane : ndarray of float32, shape (y, x)

    Returns
    -------
    ndarray of float32, shape (y, x)
    """
    low, high = float(plane.min()), float(plane.max())
    if low == high:
        return plane
    counts, edges = np.histogram(plane, bins, (low, high))
    shares = np.concatenate([[0], counts.cumsum() / plane.size])
    return np.interp(plane, edges, low + shares * (high - low)).astype(np.float32)
