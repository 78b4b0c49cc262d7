"""The eight in-plane orientations of the test-time (and training) augmentation, and the reversal of planes.

Ports what PreprocessTrainingData.m and PreprocessPackage.m apply and StartPostprocessing.m undoes. No deviations; views
instead of copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

ORIENTATIONS = 8
"""In-plane orientations; variants 9-16 are the same on reversed planes."""


def flip_rows(stack: np.ndarray) -> np.ndarray:
    """Reverse y of a (z, y, x) stack.

    Parameters
    ----------
    stack : ndarray of any type, shape (z, y, x)

    Returns
    -------
    ndarray of that type, shape (z, y, x)
    """
    return stack[:, ::-1, :]


def flip_columns(stack: np.ndarray) -> np.ndarray:
    """Reverse x of a (z, y, x) stack.

    Parameters
    ----------
    stack : ndarray of any type, shape (z, y, x)

    Returns
    -------
    ndarray of that type, shape (z, y, x)
    """
    return stack[:, :, ::-1]


def rotate(stack: np.ndarray, quarters: int) -> np.ndarray:
    """Turn every plane of a (z, y, x) stack by quarter turns, as Octave's rot90() on (row, col).

    Parameters
    ----------
    stack : ndarray of any type, shape (z, y, x)

    Returns
    -------
    ndarray of that type, shape (z, y, x)

    Examples
    --------
    >>> rotate(np.array([[[1, 2], [3, 4]]]), 1).tolist()
    [[[2, 4], [1, 3]]]
    """
    return np.rot90(stack, quarters, axes=(1, 2))


_Steps = tuple[tuple["Callable[[np.ndarray], np.ndarray]", "Callable[[np.ndarray], np.ndarray]"], ...]


def _quarters(turns: int) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    return lambda stack: rotate(stack, turns), lambda stack: rotate(stack, -turns)


_ROWS = (flip_rows, flip_rows)
_COLUMNS = (flip_columns, flip_columns)
_STEPS: dict[int, _Steps] = {
    1: (),
    2: (_ROWS,),
    3: (_COLUMNS,),
    4: (_quarters(1),),
    5: (_quarters(-1),),
    6: (_ROWS, _quarters(1)),
    7: (_COLUMNS, _quarters(1)),
    8: (_quarters(2),),
}


def orient(stack: np.ndarray, orientation: int) -> np.ndarray:
    """Bring every plane into one of the eight orientations.

    Parameters
    ----------
    stack : ndarray, shape (z, y, x)
    orientation : int
        1 to 8: as it is, rows flipped, columns flipped, a quarter turn, a quarter turn back, rows flipped and a quarter
        turn, columns flipped and a quarter turn, a half turn.

    Returns
    -------
    ndarray, shape (z, y, x) or, after a quarter turn, (z, x, y)
        A view.

    Examples
    --------
    >>> orient(np.array([[[1, 2, 3], [4, 5, 6]]]), 6).tolist()
    [[[6, 3], [5, 2], [4, 1]]]
    """
    for apply, _ in _STEPS[orientation]:
        stack = apply(stack)
    return stack


def restore(stack: np.ndarray, orientation: int) -> np.ndarray:
    """Undo `orient`: its steps backwards, in reverse order; a view.

    Parameters
    ----------
    stack : ndarray of any type, shape (z, y, x) or, after a quarter turn, (z, x, y)

    Returns
    -------
    ndarray of that type, shape (z, y, x)
    """
    for _, undo in reversed(_STEPS[orientation]):
        stack = undo(stack)
    return stack
