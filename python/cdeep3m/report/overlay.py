"""A micrograph with what was found and what was missed drawn into it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

FOUND = (60, 200, 90)
INVENTED = (240, 70, 60)
MISSED = (70, 130, 255)
LEGEND = (("found", FOUND), ("found, but not there", INVENTED), ("missed", MISSED))
"""What the colours of `compare` mean, in words."""


def compare(
    image: np.ndarray, label: np.ndarray, segmentation: np.ndarray, *, strength: float = 0.3, outline: int = 2
) -> np.ndarray:
    """Tint one plane by how a segmentation agrees with its ground truth, and outline the ground truth in white.

    Parameters
    ----------
    image : ndarray of uint8, shape (y, x)
        The micrograph.
    label, segmentation : ndarray of bool, shape (y, x)
        Ground truth, and what was found.
    strength : float
        How strong the tint is, from 0 to 1.
    outline : int
        Width of the outline, in pixels; 0 for none.

    Returns
    -------
    ndarray of uint8, shape (y, x, 3)
        Red, green, blue: `FOUND` where both agree, `INVENTED` and `MISSED` where they do not.

    Examples
    --------
    >>> picture = compare(np.full((1, 2), 100, np.uint8), np.array([[True, False]]), np.zeros((1, 2), bool), outline=0)
    >>> picture.tolist()
    [[[91, 109, 146], [100, 100, 100]]]
    """
    picture = np.repeat(image[..., None], 3, axis=-1).astype(np.float32)
    areas = (label & segmentation, segmentation & ~label, label & ~segmentation)
    for area, (_, colour) in zip(areas, LEGEND, strict=True):
        picture[area] += strength * (np.array(colour, np.float32) - picture[area])
    if outline:
        picture[label & ~ndimage.binary_erosion(label, iterations=outline, border_value=1)] = 255
    return np.rint(picture).astype(np.uint8)
