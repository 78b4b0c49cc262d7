"""The enhancement of CDeep3M2 (enhance_stack.py): contrast, total-variation denoising, contrast, plane by plane."""

from __future__ import annotations

import numpy as np

from cdeep3m.edition2.total_variation import denoise_plane

CUT = 2
"""Percent of the gray values that the last step cuts off at either end, unless told otherwise."""
FIRST_CUT = 1
WHITE = 255
NORMAL_MEDIAN = 0.6744897501960817
"""Median of the absolute value of a standard normal variable."""
DB2 = (-0.48296291314453416, 0.8365163037378079, -0.2241438680420134, -0.12940952255126037)
"""High-pass filter of the wavelet db2."""
NOISE_FREE = 1e-8
"""Noise below this is rounding."""


def enhance(plane: np.ndarray, cut: int = CUT) -> np.ndarray:
    """Denoise a plane and stretch its gray values, as enhance_stack.py does.

    Parameters
    ----------
    plane : ndarray of uint8, uint16, int16 or float, shape (y, x)
        Gray values, floating-point ones as they are.
    cut : int
        Percent of the gray values cut off at either end after the denoising.

    Returns
    -------
    ndarray of uint8, shape (y, x)

    Raises
    ------
    ValueError
        The plane has no contrast, with which CDeep3M2 ends (defect 6).
    """
    return to_8_bits(denoised(first_stretch(plane)), cut)


def denoised(plane: np.ndarray) -> np.ndarray:
    """Return a stretched plane with its total variation lowered as much as its noise asks for.

    A plane without noise, with which CDeep3M2 may never end (defect 7), is returned as it is.

    Parameters
    ----------
    plane : ndarray of float64, shape (y, x)

    Returns
    -------
    ndarray of float64, shape (y, x)
    """
    noise = noise_of(plane)
    return denoise_plane(plane, noise / 2) if noise > NOISE_FREE else plane


def first_stretch(plane: np.ndarray) -> np.ndarray:
    """Return gray values as float64 with percentiles 1 and 99 at 0 and 1, cut off beyond.

    Parameters
    ----------
    plane : ndarray of any number type, shape (y, x)

    Returns
    -------
    ndarray of float64, shape (y, x)
    """
    values = as_float(plane)
    low, high = np.percentile(values, (FIRST_CUT, 100 - FIRST_CUT))
    if low == high:
        raise ValueError("CDeep3M2 cannot enhance a plane without contrast")
    return (np.clip(values, low, high) - low) / (high - low)


def to_8_bits(plane: np.ndarray, cut: int) -> np.ndarray:
    """Stretch percentiles `cut` and 100 - `cut` to 0..255, cut off beyond; fractions are dropped.

    Above 50 the upper bound lies below the lower one, and values from the lower one on become 255.

    Parameters
    ----------
    plane : ndarray of float64, shape (y, x)

    Returns
    -------
    ndarray of uint8, shape (y, x)
    """
    low, high = np.percentile(plane, (cut, 100 - cut))
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = (np.where(plane < low, low, np.minimum(plane, high)) - low) / (high - low) * WHITE
    return np.nan_to_num(np.trunc(scaled)).astype(np.int64).astype(np.uint8)


def as_float(plane: np.ndarray) -> np.ndarray:
    """Return gray values as float64: whole numbers divided by their type's largest value.

    Parameters
    ----------
    plane : ndarray of any number type, shape (y, x)

    Returns
    -------
    ndarray of float64, shape (y, x)
    """
    if plane.dtype.kind == "f":
        return plane.astype(np.float64)
    if plane.dtype.kind == "i":
        limits = np.iinfo(plane.dtype)
        return np.maximum(plane / limits.max, -1.0)
    return plane / np.iinfo(plane.dtype).max


def noise_of(plane: np.ndarray) -> float:
    """Estimate the standard deviation of a plane's noise from its finest diagonal wavelet details.

    Parameters
    ----------
    plane : ndarray of float, shape (y, x)

    Returns
    -------
    float
    """
    details = _detail(_detail(plane.astype(np.float64), 0), 1)
    details = details[details != 0]
    return float(np.median(np.abs(details))) / NORMAL_MEDIAN if details.size else 0.0


def _detail(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the finest detail along an axis, half as long: high-pass filtered beyond mirrored edges."""
    lines = np.moveaxis(values, axis, -1)
    extended = np.pad(lines, [(0, 0)] * (lines.ndim - 1) + [(3, 3)], mode="symmetric")
    length = (lines.shape[-1] + 3) // 2
    begin = [4 - j for j in range(len(DB2))]
    parts = [
        weight * extended[..., at : at + 2 * length : 2][..., :length] for weight, at in zip(DB2, begin, strict=True)
    ]
    return np.moveaxis(sum(parts[1:], parts[0]), -1, axis)
