"""The zone around the borders of the ground truth that does not count.

Annotators place a border some pixels to one side or the other. Lucchi et al. (IEEE Transactions on Medical Imaging 31,
2012) therefore leave out a zone around it. Here the zone lies within each plane, as sections are thicker than pixels.
"""

from __future__ import annotations

import numpy as np


def border_zone(label: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the pixels no further than `tolerance` from a pixel of the other class.

    Parameters
    ----------
    label : ndarray of bool, shape (y, x)
        Ground truth of a plane.
    tolerance : float
        In pixels, between centres; 1 leaves out the pixels on either side of a border.

    Returns
    -------
    ndarray of bool, shape (y, x)

    Examples
    --------
    >>> border_zone(np.array([[0, 0, 0, 1, 1, 1]], bool), 1).astype(int).tolist()
    [[0, 0, 1, 1, 0, 0]]
    >>> bool(border_zone(np.ones((1, 3), bool), 1).any())
    False
    """
    if tolerance < 1 or label.all() or not label.any():
        return np.zeros(label.shape, bool)
    from scipy import ndimage

    distance = ndimage.distance_transform_edt(label) + ndimage.distance_transform_edt(~label)
    return distance <= tolerance
