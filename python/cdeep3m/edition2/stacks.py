"""The training stacks of CDeep3M2 (PreprocessTrainingData.py, PreprocessValidation.py)."""

from __future__ import annotations

import numpy as np

ORDER = tuple(variation for first in range(1, 9) for variation in (first, first + 8))
"""In which order the variations of a volume are made, and so draw: 1, 9, 2, 10, ..."""


def foreground(labels: np.ndarray) -> np.ndarray:
    """Return labels as 0 and 1: every value above 0 is foreground (defect 22), unless the largest is 1 already.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)

    Examples
    --------
    >>> foreground(np.uint8([[[0, 5, 9]]])).tolist(), foreground(np.uint8([[[0, 1]]])).tolist()
    ([[[0, 1, 1]]], [[[0, 1]]])
    """
    return labels if labels.max() == 1 else (labels > 0).astype(np.uint8)


def training_dataset(stack: np.ndarray) -> np.ndarray:
    """Return a (z, y, x) stack as it is stored: float32, axes (y, x, z), and 2-D where it has one plane (defect 19)."""
    stored = np.moveaxis(stack, 0, -1).astype(np.float32)
    return stored[..., 0] if stored.shape[-1] == 1 else stored


def validation_dataset(stack: np.ndarray) -> np.ndarray:
    """Return a (z, y, x) stack as the validation stores it: float32 of shape (z, y, x, 1), which no net takes (23)."""
    return stack.astype(np.float32)[..., np.newaxis]
