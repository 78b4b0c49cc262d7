"""Sizes and values of training data (PreprocessTrainingData.m, checkpoint_nobinary.m, checkpoint_isbinary.m).

No deviations; the questions that the original asks on standard input are asked by the caller.
"""

from __future__ import annotations

import numpy as np

SMALLEST_SIDE = 325
"""Training volumes with shorter sides are filled with zeros; a training patch has 320 voxels."""
FEWEST_IMAGE_VALUES = 3
"""The original suspects images with fewer values to be labels."""
MOST_LABEL_VALUES = 2
"""The original suspects labels with more values to be images."""


def fill_to_smallest_side(stack: np.ndarray) -> np.ndarray:
    """Place a volume top left in zeros where y or x has fewer than 325 voxels.

    Parameters
    ----------
    stack : ndarray, shape (z, y, x)

    Returns
    -------
    ndarray, shape (z, max(y, 325), max(x, 325)), of the same dtype
        `stack` itself where it is large enough.

    Examples
    --------
    >>> filled = fill_to_smallest_side(np.ones((2, 3, 400), np.uint8))
    >>> filled.shape, int(filled.sum()), int(filled[0, 2, 399])
    ((2, 325, 400), 2400, 1)
    """
    _, rows, columns = stack.shape
    if min(rows, columns) >= SMALLEST_SIDE:
        return stack
    filled = np.zeros(filled_shape(stack.shape), stack.dtype)
    filled[:, :rows, :columns] = stack
    return filled


def filled_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the shape (z, y, x) of a volume after `fill_to_smallest_side`.

    Examples
    --------
    >>> filled_shape((2, 3, 400))
    (2, 325, 400)
    """
    planes, rows, columns = shape
    return planes, max(rows, SMALLEST_SIDE), max(columns, SMALLEST_SIDE)


def distinct_values(stack: np.ndarray, *, enough: int) -> np.ndarray:
    """Return the different values of a stack in ascending order, read plane by plane until there are `enough`.

    Parameters
    ----------
    stack : ndarray, shape (z, y, x), or in any other order of axes
        Planes along the first axis.
    enough : int
        Planes after that many values are not looked at.

    Returns
    -------
    ndarray, shape (values,), of the same dtype

    Examples
    --------
    >>> distinct_values(np.uint8([[[3, 0]], [[7, 3]], [[9, 9]]]), enough=3).tolist()
    [0, 3, 7]
    """
    found = np.empty(0, stack.dtype)
    for plane in stack:
        found = np.union1d(found, values_of_plane(plane))
        if len(found) >= enough:
            break
    return found


def values_of_plane(plane: np.ndarray) -> np.ndarray:
    """Return the different values of a plane in ascending order, as numpy.unique, which is slower for 8 bits.

    Parameters
    ----------
    plane : ndarray of any number type, shape (y, x)

    Returns
    -------
    ndarray of that type, shape (values,)
    """
    if plane.dtype in (np.uint8, bool):
        return np.flatnonzero(np.bincount(plane.ravel(), minlength=2)).astype(plane.dtype)
    return np.unique(plane)
