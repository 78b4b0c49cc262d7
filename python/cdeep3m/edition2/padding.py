"""The canvas that a net sees of a package (PreprocessPackage.py): reflected along the wrong axes (defect 3)."""

from __future__ import annotations

import numpy as np

from cdeep3m.edition2.dividing import CANVAS

PADDING = 12
LARGEST_PADDED = CANVAS - PADDING
Z_PADDING = 2


def canvas(stack: np.ndarray, *, top: bool, left: bool) -> np.ndarray:
    """Pad a package to 1024 x 1024 and by two planes at either end.

    What stands above and below are rows of the planes in reverse order; what stands left and right are columns upside
    down. Zeros fill the rest, and the first and the last plane are repeated.

    Parameters
    ----------
    stack : ndarray, shape (z, y, x)
        What the package reads; y and x up to 1024.
    top, left : bool
        Whether the package begins at the volume's first row, first column.

    Returns
    -------
    ndarray, shape (z + 4, 1024, 1024), of the dtype of `stack`
        Sides below 13 get shorter pads than 12, so that what is cut out later is shifted (defect 4).
    """
    if top and stack.shape[1] <= LARGEST_PADDED:
        stack = np.concatenate([stack[::-1, 1 : PADDING + 1], stack], axis=1)
    if left and stack.shape[2] <= LARGEST_PADDED:
        stack = np.concatenate([stack[:, ::-1, 1 : PADDING + 1], stack], axis=2)
    rows, missing = stack.shape[1], min(PADDING, CANVAS - stack.shape[1])
    stack = np.concatenate([stack, stack[::-1, rows - missing - 1 : rows - 1]], axis=1)
    columns, missing = stack.shape[2], min(PADDING, CANVAS - stack.shape[2])
    stack = np.concatenate([stack, stack[:, ::-1, columns - missing - 1 : columns - 1]], axis=2)
    filled = np.zeros((len(stack), CANVAS, CANVAS), stack.dtype)
    filled[:, : stack.shape[1], : stack.shape[2]] = stack
    return np.concatenate([filled[:1]] * Z_PADDING + [filled] + [filled[-1:]] * Z_PADDING)
