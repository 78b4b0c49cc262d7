"""Precision, recall and what follows from them at every threshold, from counted values alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

VALUES = 256
"""Values of an 8-bit map."""


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall of `map >= threshold` for every value that a map holds.

    Attributes
    ----------
    thresholds : ndarray of int, shape (n,)
        Values that occur, rising.
    precision, recall : ndarray of float64, shape (n,)
        At these thresholds; recall is nan without any foreground in the ground truth.
    """

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray

    @property
    def average_precision(self) -> float:
        """Area under the curve as steps, as scikit-learn's average_precision_score; nan without foreground."""
        if not len(self.recall):
            return float("nan")
        steps = self.recall - np.append(self.recall[1:], 0.0)
        return float((steps * self.precision).sum())


def precision_recall(counts: np.ndarray) -> PrecisionRecall:
    """Score every threshold from the counts of `count_values`.

    Parameters
    ----------
    counts : ndarray of int, shape (2, 256)
        Voxels per value, of the background and of the foreground.

    Returns
    -------
    PrecisionRecall

    Examples
    --------
    >>> counts = np.zeros((2, 256), int)
    >>> counts[0, [10, 200]] = 3, 1
    >>> counts[1, [100, 200]] = 2, 3
    >>> curve = precision_recall(counts)
    >>> curve.thresholds.tolist(), curve.precision.round(3).tolist(), curve.recall.tolist()
    ([10, 100, 200], [0.556, 0.833, 0.75], [1.0, 1.0, 0.6])
    """
    (thresholds,) = np.nonzero(counts.sum(axis=0))
    false, true = (row[::-1].cumsum()[::-1][thresholds] for row in counts)
    total = counts[1].sum()
    with np.errstate(invalid="ignore"):
        recall = true / total if total else np.full(len(true), np.nan)
    return PrecisionRecall(thresholds, true / np.maximum(true + false, 1), recall)
