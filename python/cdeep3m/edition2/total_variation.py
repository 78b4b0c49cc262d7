"""Exact total-variation denoising of lines, and the 35 Douglas-Rachford steps that make a plane of it.

The lines follow L. Condat, "A direct algorithm for 1-D total variation denoising", IEEE Signal Processing Letters 20
(2013); the steps follow the public proxTV toolbox (A. Barbero and S. Sra, "Modular proximal optimization for
multidimensional total-variation regularization", 2018), whose result CDeep3M2 uses before it has converged.
"""

from __future__ import annotations

import numpy as np

STEPS = 35


def denoise_plane(plane: np.ndarray, weight: float) -> np.ndarray:
    """Lower the anisotropic total variation of a plane by 35 Douglas-Rachford steps.

    Parameters
    ----------
    plane : ndarray of float64, shape (y, x)
    weight : float
        Above 0; of the total variation, beside half the squared difference.

    Returns
    -------
    ndarray of float64, shape (y, x)
    """

    def along_y(values: np.ndarray) -> np.ndarray:
        return values - denoise_lines(values.T, weight).T

    def along_x(values: np.ndarray) -> np.ndarray:
        return values - denoise_lines(values, weight)

    t = np.full(plane.shape, 2 * plane.mean())
    for _ in range(STEPS):
        a = 2 * along_y(t) - t
        b = 2 * (plane - along_x(plane - a)) - a
        t = 0.5 * (t + b)
    c = along_y(t)
    return plane - along_x(plane - c) - c


def denoise_lines(lines: np.ndarray, weight: float) -> np.ndarray:
    """Solve min 1/2 |u - line|^2 + weight * |differences of u|_1 for every line, exactly.

    All lines go through Condat's steps side by side; each is at a voxel of its own.

    Parameters
    ----------
    lines : ndarray of float64, shape (lines, voxels)
    weight : float
        Above 0.

    Returns
    -------
    ndarray of float64, shape (lines, voxels)

    Examples
    --------
    >>> denoise_lines(np.array([[0.0, 4.0, 0.0], [1.0, 1.0, 7.0]]), 1.0).tolist()
    [[1.0, 2.0, 1.0], [1.5, 1.5, 6.0]]
    """
    if lines.shape[1] < 2:
        return lines.copy()
    state = _Lines(np.ascontiguousarray(lines), weight)
    while state.lines.size:
        state.step()
    return _filled_forward(state.values, state.begins)


class _Lines:
    """Condat's variables, one entry for every line that is not finished."""

    def __init__(self, voxels: np.ndarray, weight: float) -> None:
        count = len(voxels)
        self.voxels, self.weight = voxels, weight
        self.values, self.begins = np.zeros(voxels.shape), np.zeros(voxels.shape, bool)
        self.lines = np.arange(count)
        self.at = np.zeros(count, np.int64)
        self.first, self.last_low, self.last_high = (np.zeros(count, np.int64) for _ in range(3))
        self.low, self.high = voxels[:, 0] - weight, voxels[:, 0] + weight
        self.sum_low, self.sum_high = np.full(count, weight), np.full(count, -weight)

    def step(self) -> None:
        """Take the next step of every line: a jump down, a jump up, or one voxel further."""
        weight, last = self.weight, self.voxels.shape[1] - 1
        ends = self.at == last
        following = self.voxels[self.lines, np.minimum(self.at + 1, last)]
        down = np.where(ends, self.sum_low < 0, following + self.sum_low < self.low - weight)
        up = ~down & np.where(ends, self.sum_high > 0, following + self.sum_high > self.high + weight)
        onward = ~(down | up | ends)
        finished = ends & ~(down | up)
        self._jump(np.flatnonzero(down), ends, downward=True)
        self._jump(np.flatnonzero(up), ends, downward=False)
        self._go_on(np.flatnonzero(onward), following)
        if finished.any():
            self._finish(finished)

    def _jump(self, chosen: np.ndarray, ends: np.ndarray, *, downward: bool) -> None:
        """End the segment at the last voxel that touched the bound, and begin another one behind it."""
        if not chosen.size:
            return
        weight, sign = self.weight, (1.0 if downward else -1.0)
        lines, level, last_touch = self.lines[chosen], self.low if downward else self.high, self.last_low
        last_touch = self.last_low if downward else self.last_high
        self.values[lines, self.first[chosen]] = level[chosen]
        self.begins[lines, self.first[chosen]] = True
        begin = last_touch[chosen] + 1
        at_end, voxel = ends[chosen], self.voxels[lines, begin]
        self.first[chosen] = self.at[chosen] = begin
        # at the end of the line, the other bound and its sum go on as they are
        inner = chosen[~at_end]
        self.last_low[inner] = self.last_high[inner] = self.first[inner]
        outer, value = chosen[at_end], voxel[at_end]
        if downward:
            self.last_low[outer] = self.first[outer]
            self.low[chosen] = voxel
            self.sum_low[chosen] = weight
            self.high[inner] = voxel[~at_end] + 2 * weight
            self.sum_high[inner] = -weight
            self.sum_high[outer] = value + sign * weight - self.high[outer]
        else:
            self.last_high[outer] = self.first[outer]
            self.high[chosen] = voxel
            self.sum_high[chosen] = -weight
            self.low[inner] = voxel[~at_end] - 2 * weight
            self.sum_low[inner] = weight
            self.sum_low[outer] = value + sign * weight - self.low[outer]

    def _go_on(self, chosen: np.ndarray, following: np.ndarray) -> None:
        """Take one more voxel into the segment and move the bounds where the tube leaves no room."""
        weight, voxel = self.weight, following[chosen]
        at = self.at[chosen] + 1
        low, high = self.low[chosen], self.high[chosen]
        sum_low, sum_high = self.sum_low[chosen] + (voxel - low), self.sum_high[chosen] + (voxel - high)
        length = at - self.first[chosen] + 1
        lifts, lowers = sum_low >= weight, sum_high <= -weight
        self.at[chosen] = at
        self.low[chosen] = np.where(lifts, low + (sum_low - weight) / length, low)
        self.high[chosen] = np.where(lowers, high + (sum_high + weight) / length, high)
        self.sum_low[chosen] = np.where(lifts, weight, sum_low)
        self.sum_high[chosen] = np.where(lowers, -weight, sum_high)
        self.last_low[chosen[lifts]] = at[lifts]
        self.last_high[chosen[lowers]] = at[lowers]

    def _finish(self, finished: np.ndarray) -> None:
        """Write the last segment of lines that are at their end, and leave these lines out from now on."""
        lines, first = self.lines[finished], self.first[finished]
        self.values[lines, first] = self.low[finished] + self.sum_low[finished] / (self.at[finished] - first + 1)
        self.begins[lines, first] = True
        for name in ("lines", "at", "first", "last_low", "last_high", "low", "high", "sum_low", "sum_high"):
            setattr(self, name, getattr(self, name)[~finished])


def _filled_forward(values: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """Repeat the value at which each segment begins through all of it."""
    places = np.where(begins, np.arange(values.shape[1]), 0)
    return np.take_along_axis(values, np.maximum.accumulate(places, axis=1), axis=1)
