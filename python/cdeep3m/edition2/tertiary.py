"""The tertiary augmentation of CDeep3M2: training volumes made smaller or larger."""

from __future__ import annotations

from math import floor

import numpy as np
from PIL import Image

from cdeep3m.edition2.secondary import binary

SMALLEST_SIDE = 325
STRENGTHS = range(1, 11)


def factor_range(strength: int, variation: int) -> tuple[float, float] | None:
    """Return between which factors the size of a variation is drawn, or None where it stays.

    Raises
    ------
    ValueError
        The strength is not 1 to 10.

    Examples
    --------
    >>> factor_range(1, 2), factor_range(10, 16), factor_range(5, 3)
    ((0.95, 1.0), (1.0, 4.0), None)
    """
    if strength not in STRENGTHS:
        raise ValueError(f"tertiary augmentation {strength}; expected 0 to {STRENGTHS[-1]}")
    if variation % 2:
        return None
    share = (strength - 1) / 9
    return (0.95 - 0.7 * share, 1.0) if variation <= 8 else (1.0, 1.05 + 2.95 * share)


def resize(images: np.ndarray, labels: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Resize every plane; short sides of what became smaller are filled with zeros to 325 voxels.

    Parameters
    ----------
    images, labels : ndarray of uint8, shape (z, y, x)
    factor : float
        Of both sides; z stays.

    Returns
    -------
    images, labels : ndarray of uint8, shape (z, y', x')
    """
    resized = [_resized(stack, factor) for stack in (images, labels)]
    if factor < 1 and min(resized[0].shape[1:]) <= SMALLEST_SIDE:
        resized = [filled(stack) for stack in resized]
    return resized[0], binary(resized[1])


def filled(stack: np.ndarray) -> np.ndarray:
    """Fill short sides of a (z, y, x) stack with zeros, at their ends, to 325 voxels.

    Parameters
    ----------
    stack : ndarray of any type, shape (z, y, x)

    Returns
    -------
    ndarray of that type, shape (z, y, x)
    """
    missing = [(0, max(0, SMALLEST_SIDE - side)) for side in stack.shape[1:]]
    return np.pad(stack, [(0, 0), *missing])


def _resized(stack: np.ndarray, factor: float) -> np.ndarray:
    rows, columns = (floor(side * factor) for side in stack.shape[1:])
    planes = (Image.fromarray(plane).resize((columns, rows), Image.Resampling.LANCZOS) for plane in stack)
    return np.stack([np.asarray(plane) for plane in planes])
