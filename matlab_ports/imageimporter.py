"""The stack that the original builds of the planes it reads (imageimporter.m, imageimporter_large.m). No deviations."""

from __future__ import annotations

import numpy as np


def take_class_of_first(plane: np.ndarray, first: np.dtype | type) -> np.ndarray:
    """Store a plane in a stack whose class was fixed by its first plane.

    Parameters
    ----------
    plane : ndarray of bool, uint8 or uint16
        Any plane, as `imread` returns it.
    first : dtype
        Class of the first plane.

    Returns
    -------
    ndarray of `first`
        In a logical stack every value but 0 is true; in a uint8 stack 16-bit values saturate at 255 and logical planes
        stay 0 and 1.

    Examples
    --------
    >>> take_class_of_first(np.uint8([[0, 7]]), bool).tolist()
    [[False, True]]
    >>> take_class_of_first(np.uint16([[7, 4000]]), np.uint8).tolist()
    [[7, 255]]
    """
    if np.dtype(first) == bool:
        return plane != 0
    if np.dtype(first) == np.uint8 and plane.dtype == np.uint16:
        return np.minimum(plane, 255).astype(np.uint8)
    return plane.astype(first)


def through_opencv(pixels: np.ndarray, *, palette: np.ndarray | None = None) -> np.ndarray:
    """Return what a plane is after the original has cropped it with OpenCV and before Octave's imread() sees it.

    For a folder of images PreprocessPackage.m lets a Python script cut every plane and store it as PNG: palettes become
    colours, other types than uint8 and uint16 are rounded (halves to even) and cut to 0..255.

    Parameters
    ----------
    pixels : ndarray, shape (y, x) or (y, x, channels)
        Decoded samples, or indices where there is a palette.
    palette : ndarray of uint8, shape (colours, 3), optional
        Colours of a palette image.

    Returns
    -------
    ndarray of uint8 or uint16, of the shape of `pixels`, or (y, x, 3) with a palette

    Examples
    --------
    >>> through_opencv(np.float32([[-3, 2.5, 300]])).tolist()
    [[0, 2, 255]]
    """
    if palette is not None:
        return palette[pixels]
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    return np.clip(np.rint(np.nan_to_num(pixels.astype(np.float64), nan=0.0)), 0, 255).astype(np.uint8)


def first_channel(plane: np.ndarray) -> np.ndarray:
    """Return the red channel of a colour plane, all that PreprocessPackage.m looks at; gray planes stay (defect 13).

    Parameters
    ----------
    plane : ndarray of any type, shape (y, x) or (y, x, channels)

    Returns
    -------
    ndarray of that type, shape (y, x)
    """
    return plane if plane.ndim == 2 else plane[..., 0]
