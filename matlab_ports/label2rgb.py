"""Colours of labels, as Octave's label2rgb() gives them.

Deviation: hues a golden angle apart instead of the colour map jet, so that objects with neighbouring numbers, which
often touch, look different; and the same label has the same colour in all planes of all volumes.
"""

from __future__ import annotations

import numpy as np

GOLDEN = 0.6180339887498949
"""Steps of this part of a circle never meet, and any few of them lie far apart."""
BACKGROUND = 255
"""White, as label2rgb() has it."""


def colour_table(labels: int) -> np.ndarray:
    """Return the colours of 0 (white) to `labels`.

    Returns
    -------
    ndarray of uint8, shape (labels + 1, 3)
        Red, green, blue.

    Examples
    --------
    >>> colour_table(2).tolist()
    [[255, 255, 255], [25, 92, 255], [159, 255, 25]]
    """
    sextant = 6 * (np.arange(labels + 1)[:, None] * GOLDEN % 1)
    wheel = np.clip(np.abs((sextant - [[0, 2, 4]] + 3) % 6 - 3), 1, 2)
    table = np.rint(255 * (1 - 0.9 * (wheel - 1))).astype(np.uint8)
    table[0] = BACKGROUND
    return table


def label2rgb(labels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Paint labels.

    Parameters
    ----------
    labels : ndarray of int, shape (y, x)
    table : ndarray of uint8, shape (n, 3)
        Colour of each label.

    Returns
    -------
    ndarray of uint8, shape (y, x, 3)
        Red, green, blue.
    """
    return table[labels]
