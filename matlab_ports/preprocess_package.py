"""The canvas that a net sees of a package (PreprocessPackage.m, imageimporter_large.m).

Deviations: zeros keep the image's dtype (defect 10; `zero_fill_as_double` is the original's way); a smaller canvas
can be asked for (`sides`).

    |<--------------------- canvas, 1024 --------------------->|
    | 12 reflected | image | up to 12 reflected | zeros         |   an image at the volume's edge, up to 1012 voxels
    | image                | up to 12 reflected | zeros         |   otherwise
"""

from __future__ import annotations

import numpy as np
from cdeep3m.matlab_ports.break_large_img import CANVAS

PADDING = 12
LARGEST_PADDED = CANVAS - PADDING
"""Above this many voxels nothing is put in front of the image."""
SMALLEST = PADDING + 1
"""The fewest voxels that can be reflected."""


def padding_before(size: int, *, at_edge: bool) -> int:
    """Return how many reflected voxels stand in front of `size` voxels that begin at the volume's edge, or do not."""
    return PADDING if at_edge and size <= LARGEST_PADDED else 0


def axis_order(size: int, *, at_edge: bool) -> np.ndarray:
    """Return which voxel of an axis stands where in the padded one: reflected in front, itself, reflected behind.

    Parameters
    ----------
    size : int
        Voxels of the image, 13 to 1024.
    at_edge : bool
        Whether the image begins where the volume begins.

    Returns
    -------
    ndarray of int, shape (voxels,)
        At most 1024 indices; zeros follow up to 1024.

    Examples
    --------
    >>> axis_order(1013, at_edge=True)[-12:].tolist()
    [1012, 1011, 1010, 1009, 1008, 1007, 1006, 1005, 1004, 1003, 1002, 1001]
    """
    front = np.arange(padding_before(size, at_edge=at_edge), 0, -1)
    order = np.concatenate([front, np.arange(size)])
    behind = min(CANVAS - len(order), PADDING)
    return np.concatenate([order, order[len(order) - 1 - behind : -1][::-1]])


def canvas(planes: np.ndarray, *, top: bool, left: bool, sides: tuple[int, int] = (CANVAS, CANVAS)) -> np.ndarray:
    """Reflect the planes of a package up to 12 voxels beyond its edges and fill the rest of the canvas with zeros.

    Parameters
    ----------
    planes : ndarray, shape (z, y, x)
        What the package reads; y and x from 13 to 1024.
    top, left : bool
        Whether the package begins at the volume's first row, first column.
    sides : tuple of int
        Height and width of the canvas; at least as many voxels as `axis_order` returns.

    Returns
    -------
    ndarray, shape (z, *sides), of the dtype of `planes`
        `planes` itself where nothing is missing.
    """
    if planes.shape[1:] == sides:
        return planes
    rows = axis_order(planes.shape[1], at_edge=top)
    columns = axis_order(planes.shape[2], at_edge=left)
    filled = np.zeros((len(planes), *sides), planes.dtype)
    filled[:, : len(rows), : len(columns)] = planes[:, rows[:, np.newaxis], columns]
    return filled


def zero_fill_as_double(planes: np.ndarray, *, top: bool, left: bool) -> np.ndarray:
    """Make `canvas` a float64 array where zeros had to be added, as PreprocessPackage.m does (defect 10).

    Parameters
    ----------
    planes : ndarray of any number type, shape (z, y, x)
    top, left : bool

    Returns
    -------
    ndarray, shape (z, 1024, 1024)
    """
    filled = canvas(planes, top=top, left=left)
    sides = (len(axis_order(planes.shape[1], at_edge=top)), len(axis_order(planes.shape[2], at_edge=left)))
    return filled if sides == (CANVAS, CANVAS) else filled.astype(np.float64)


def lose_last_voxel(span: tuple[int, int]) -> tuple[int, int]:
    """Shorten rows or columns [begin, end) by one voxel, as imageimporter_large.m does for folders (defect 1)."""
    begin, end = span
    return begin, end - 1
