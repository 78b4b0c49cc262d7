"""What a few planes of maps or images tell about the whole: values, and steps from one row or column to the next."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cdeep3m.volumes.samples import BINS

PERIODS = (2, 4, 8, 16)
"""Pixels after which patterns of transposed convolutions may repeat."""
LAGS = sorted({0, *(period + by for period in PERIODS for by in (-1, 0, 1))})
STEEPEST = 16
"""Steps are cut to so many gray values before they are compared, or the edges of objects would outweigh patterns."""
JUMP = 3
"""Pixels that differ by so many gray values differ clearly."""
SIDE = 1024
"""Patterns are looked for in so many rows and columns, in the middle of a plane."""


@dataclass
class MapStatistics:
    """Counts over the planes shown to it; grows with the sides of a plane, not with how many there are.

    Attributes
    ----------
    values : ndarray of int64, shape (256,)
        Voxels per 8-bit value.
    row_steps, column_steps : ndarray of float64, shapes (y - 1,) and (x - 1,)
        Sum over planes of the mean absolute difference of neighbouring rows, and of neighbouring columns.
    row_jumps, column_jumps : ndarray of float64, shapes (y - 1,) and (x - 1,)
        Sum over planes of the part of the pixels that differ by `JUMP` or more from the next row or column.
    row_fill, column_fill : ndarray of float64, shapes (y,) and (x,)
        Sum over planes of the part of the pixels that are not 0.
    repeats : ndarray of float64, shape (2, len(LAGS))
        Along y and x: sum of the products of steps that are so many pixels apart.
    planes : int
        How many were shown.
    """

    values: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    row_steps: np.ndarray = field(default_factory=lambda: np.zeros(0))
    column_steps: np.ndarray = field(default_factory=lambda: np.zeros(0))
    row_jumps: np.ndarray = field(default_factory=lambda: np.zeros(0))
    column_jumps: np.ndarray = field(default_factory=lambda: np.zeros(0))
    row_fill: np.ndarray = field(default_factory=lambda: np.zeros(0))
    column_fill: np.ndarray = field(default_factory=lambda: np.zeros(0))
    repeats: np.ndarray = field(default_factory=lambda: np.zeros((2, len(LAGS))))
    planes: int = 0

    def add(self, plane: np.ndarray) -> None:
        """Count a plane of uint8, axes (y, x)."""
        if not self.planes:
            self.row_steps, self.column_steps = (np.zeros(max(0, side - 1)) for side in plane.shape)
            self.row_jumps, self.column_jumps = self.row_steps.copy(), self.column_steps.copy()
            self.row_fill, self.column_fill = (np.zeros(side) for side in plane.shape)
        signed = plane.astype(np.int16)
        self.values += np.bincount(plane.ravel(), minlength=BINS)
        down, along = np.abs(np.diff(signed, axis=0)), np.abs(np.diff(signed, axis=1))
        self.row_steps += down.mean(axis=1)
        self.column_steps += along.mean(axis=0)
        self.row_jumps += (down >= JUMP).mean(axis=1)
        self.column_jumps += (along >= JUMP).mean(axis=0)
        self.row_fill += (plane != 0).mean(axis=1)
        self.column_fill += (plane != 0).mean(axis=0)
        middle = signed[_middle(signed.shape[0]), _middle(signed.shape[1])]
        self.repeats += [_repeats(middle), _repeats(middle.T)]
        self.planes += 1

    def peak(self, period: int) -> float:
        """Return by how much steps a period apart are more alike than those one pixel less or more apart.

        0 and less where nothing repeats; 1 and more for a pattern that fills the plane.
        """
        energy = self.repeats[:, LAGS.index(0)]
        before, at, after = (self.repeats[:, LAGS.index(period + by)] for by in (-1, 0, 1))
        with np.errstate(invalid="ignore"):
            peaks = np.where(energy > 0, (at - (before + after) / 2) / energy, 0.0)
        return float(peaks.max())


def _middle(side: int) -> slice:
    begin = max(0, (side - SIDE) // 2)
    return slice(begin, begin + SIDE)


def _repeats(plane: np.ndarray) -> list[float]:
    """Return the sums of products of steps along the first axis, for every lag."""
    steps = np.ascontiguousarray(np.clip(np.diff(plane, axis=0), -STEEPEST, STEEPEST), np.float32)
    return [float(np.vdot(steps[: max(0, len(steps) - lag)], steps[lag:])) for lag in LAGS]


def shares(counts: np.ndarray) -> np.ndarray:
    """Return counts as parts of their sum; zeros where there is none.

    Parameters
    ----------
    counts : ndarray of int, shape (256,)

    Returns
    -------
    ndarray of float64, shape (256,)
    """
    total = counts.sum()
    return counts / total if total else np.zeros(counts.shape)
