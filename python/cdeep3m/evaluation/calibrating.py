"""The calibration that fits a net's probabilities to what is true of them, from counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEARLY_BEST = 0.002
"""Thresholds whose F1 is this near to the best one count as best; their middle is taken."""
SCALES = (0.05, 20.0)


def fitted(counts: np.ndarray) -> tuple[float, float]:
    """Return the scale and the offset of the logit with which probabilities are most likely, and 0.5 cuts best.

    Parameters
    ----------
    counts : ndarray of int, shape (2, steps)
        Voxels of the background and of the foreground by probability: the first step is 0, the last one 1.

    Returns
    -------
    scale, offset : float
        The best threshold becomes 0.5; among the calibrations that do that, the one with the least cross-entropy.

    Examples
    --------
    >>> counts = np.array([[90, 8, 1, 1, 0], [1, 3, 6, 50, 40]])
    >>> scale, offset = fitted(counts)
    >>> bool(0.25 < 1 / (1 + np.exp(offset / scale)) <= 0.5)
    True
    """
    logits = _logits(counts.shape[1])
    centre = _best_logit(counts, logits)
    background, foreground = (row.astype(np.float64) / counts.sum() for row in counts)

    def cross_entropy(log_scale: float) -> float:
        calibrated = np.exp(log_scale) * (logits - centre)
        return float(background @ np.logaddexp(0, calibrated) + foreground @ np.logaddexp(0, -calibrated))

    low, high = np.log(SCALES)
    scale = float(np.exp(minimize_scalar(cross_entropy, bounds=(low, high), method="bounded").x))
    return scale, -scale * centre


def tells_apart(counts: np.ndarray) -> bool:
    """Return whether some threshold does better than to call everything foreground.

    Parameters
    ----------
    counts : ndarray of int, shape (2, steps)
        As of `fitted`.

    Examples
    --------
    >>> tells_apart(np.array([[90, 8, 2], [1, 9, 90]])), tells_apart(np.array([[10, 10], [10, 10]]))
    (True, False)
    """
    f1 = _f1(counts)
    return bool(f1.max() > f1[0] + NEARLY_BEST)


def _f1(counts: np.ndarray) -> NDArray[np.float64]:
    """Return the F1 of every threshold: from that step on is foreground."""
    background, foreground = (row[::-1].cumsum()[::-1].astype(np.float64) for row in counts)
    values: NDArray[np.float64] = 2 * foreground / (foreground + background + foreground[0])
    return values


def _logits(steps: int) -> NDArray[np.float64]:
    """Return the logit of every step; the ends count as a quarter of a step away from 0 and 1."""
    probability = np.arange(steps) / (steps - 1)
    edge = 0.25 / (steps - 1)
    probability = np.clip(probability, edge, 1 - edge)
    logits: NDArray[np.float64] = np.log(probability) - np.log1p(-probability)
    return logits


def _best_logit(counts: np.ndarray, logits: NDArray[np.float64]) -> float:
    """Return the logit of the best threshold: the middle of the stretch around it whose F1 is as good as the best."""
    f1 = _f1(counts)
    best = int(np.argmax(f1))
    good = f1 >= f1[best] - NEARLY_BEST
    first, last = best, best
    while first > 1 and good[first - 1]:
        first -= 1
    while last < len(f1) - 1 and good[last + 1]:
        last += 1
    # a threshold cuts between its own step and the one below
    edges = (logits[max(first, 1)] + logits[max(first, 1) - 1]) / 2, (logits[last] + logits[max(last, 1) - 1]) / 2
    return float(sum(edges) / 2)
