"""From a volume of heights to its basins, and the lines between them (Octave's watershed() with 6 neighbours).

Water that falls on a voxel runs down its steepest way to a lowest place, and all voxels whose water ends there are one
basin. A flat place runs off where its edge is nearest. This is what flooding from the lowest places gives as well, but
each voxel asks its neighbours alone. So a volume can be cut into slabs of planes, and comes out the same:

    distances   how far a voxel of a flat place is from the edge that it runs off at; FAR: it is a lowest place
    targets     the neighbour that each voxel's water runs to; a lowest place keeps its own
    ends        where it ends, by going from target to target

Heights are float64, axes (z, y, x).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

FAR = np.int32(2**30)
"""Farther than any edge of a flat place."""
NEIGHBOURS = 1
"""Voxels are neighbours along one axis at a time: 6 of them in three dimensions."""
REACH = 2
"""So many planes around a slab decide where its water runs: a neighbour's own neighbours count."""


def watershed(heights: np.ndarray) -> np.ndarray:
    """Label the basins of a volume.

    Parameters
    ----------
    heights : ndarray of float64, shape (z, y, x)

    Returns
    -------
    ndarray of int32, shape (z, y, x)
        Basins from 1, in the order of the first voxels of their lowest places.

    Examples
    --------
    >>> watershed(np.array([[[3.0, 1.0, 2.0, 2.0, 5.0, 0.0]]])).tolist()
    [[[1, 1, 1, 1, 2, 2]]]
    """
    distances = distances_down(heights, np.full(heights.shape, FAR, np.int32))
    places, _ = lowest_places(distances)
    return places.ravel()[ends(targets(heights, distances))].reshape(heights.shape)


def distances_down(heights: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return how far each voxel is from a lower one, in steps over its own flat place.

    Parameters
    ----------
    heights : ndarray of float64, shape (z, y, x)
    known : ndarray of int32, shape (z, y, x)
        Distances that are known from elsewhere, or `FAR`; none of them too small.

    Returns
    -------
    ndarray of int32, shape (z, y, x)
        0 for voxels with a lower neighbour, `FAR` where no way leads down.

    Examples
    --------
    >>> distances_down(np.array([[[1.0, 2.0, 2.0, 2.0]]]), np.full((1, 1, 4), FAR)).tolist()
    [[[1073741824, 0, 1, 2]]]
    """
    level = _framed(heights, np.nan)
    distances = _framed(np.where(_lowest_around(heights) < heights, np.int32(0), known), FAR)
    flat, far = level.reshape(-1), distances.reshape(-1)
    steps = _steps(level.shape)
    asked = np.flatnonzero(far > 0)
    asked = asked[~np.isnan(flat[asked])]
    while len(asked):
        nearest = far[asked]
        for step in steps:
            level_there = flat[asked + step] == flat[asked]
            nearest = np.where(level_there, np.minimum(nearest, far[asked + step] + 1), nearest)
        changed = nearest < far[asked]
        moved = asked[changed]
        far[moved] = nearest[changed]
        around = (moved + step for step in steps)
        asked = np.unique(np.concatenate([there[_may_be_nearer(flat, far, moved, there)] for there in around]))
    return distances[1:-1, 1:-1, 1:-1]


def lowest_places(distances: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the places that no water leaves, in the order of their first voxels.

    Parameters
    ----------
    distances : ndarray of int32, shape (z, y, x)
        As of `distances_down`.

    Returns
    -------
    places : ndarray of int32, shape (z, y, x)
        From 1; 0 elsewhere.
    count : int
    """
    places, count = ndimage.label(distances == FAR, ndimage.generate_binary_structure(3, NEIGHBOURS))
    return places, int(count)


def targets(heights: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Return which neighbour the water of each voxel runs to.

    The lowest one; of equally low ones, that whose own edge is nearest, then that which is steepest itself, as when
    basins are flooded and whoever was reached first goes on first. What is left is decided by the order of the axes.

    Parameters
    ----------
    heights : ndarray of float64, shape (z, y, x)
    distances : ndarray of int32, shape (z, y, x)
        As of `distances_down`.

    Returns
    -------
    ndarray of int64, shape (z, y, x)
        Number of that voxel in the volume, x counting fastest; a lowest place has its own.
    """
    own = np.arange(heights.size).reshape(heights.shape)
    stays = distances == FAR
    edge = np.where(stays, np.int32(-1), distances)  # water that has arrived is first
    steep = np.where(stays, -np.inf, np.minimum(_lowest_around(heights), heights))
    chosen = own.copy()
    best = [np.full(heights.shape, largest, kind) for largest, kind in ((np.inf, "f8"), (FAR, "i4"), (np.inf, "f8"))]
    for here, there in _neighbours(3):
        offered = [values[there] for values in (heights, edge, steep)]
        held = [values[here] for values in best]
        nearer = (offered[1] < held[1]) | ((offered[1] == held[1]) & (offered[2] < held[2]))
        wins = ((offered[0] < held[0]) | ((offered[0] == held[0]) & nearer)) & ~stays[here]
        for offer, hold in zip(offered, held, strict=True):
            np.copyto(hold, offer, where=wins)
        np.copyto(chosen[here], own[there], where=wins)
    return chosen


def ends(next_: np.ndarray) -> np.ndarray:
    """Return where each way ends, going on from voxel to voxel until one stays.

    Parameters
    ----------
    next_ : ndarray of int64
        As of `targets`; without circles.

    Returns
    -------
    ndarray of int64, shape (next_.size,)

    Examples
    --------
    >>> ends(np.array([1, 2, 2, 2, 4])).tolist()
    [2, 2, 2, 2, 4]
    """
    reached = next_.reshape(-1)
    while True:
        farther = reached[reached]
        if np.array_equal(farther, reached):
            return reached
        reached = farther


def with_lines(labels: np.ndarray, volume: np.ndarray) -> np.ndarray:
    """Set to 0 one voxel of every two neighbours with different labels: the brighter one.

    Parameters
    ----------
    labels : ndarray of int, shape (z, y, x)
    volume : ndarray of float64, shape (z, y, x)
        What was flooded. Of equally bright voxels, the one with the smaller label becomes 0.

    Returns
    -------
    ndarray of int, shape (z, y, x)

    Examples
    --------
    >>> with_lines(np.array([1, 1, 2, 2]), np.array([0, 0.9, 0.8, 0])).tolist()
    [1, 0, 2, 2]
    """
    lined = labels.copy()
    for here, there in list(_neighbours(labels.ndim))[1::2]:
        differ = labels[here] != labels[there]
        tie = (volume[here] == volume[there]) & (labels[here] < labels[there])
        first = (volume[here] > volume[there]) | tie
        lined[here][differ & first] = 0
        lined[there][differ & ~first] = 0
    return lined


def _neighbours(axes: int) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Return pairs of indices of voxels and of their neighbours: for each axis the one before and the one after."""
    pairs = []
    for axis in range(axes):
        front = tuple(slice(None) for _ in range(axis))
        low, high = (*front, slice(None, -1)), (*front, slice(1, None))
        pairs += [(high, low), (low, high)]
    return pairs


def _lowest_around(heights: np.ndarray) -> np.ndarray:
    """Return the height of the lowest neighbour of each voxel, infinity where there is none."""
    lowest = np.full(heights.shape, np.inf)
    for here, there in _neighbours(3):
        np.minimum(lowest[here], heights[there], out=lowest[here])
    return lowest


def _framed(values: np.ndarray, edge: float) -> np.ndarray:
    return np.pad(values, 1, constant_values=edge)


def _steps(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return how far the 6 neighbours of a voxel are in an array laid out flat."""
    plane, row = shape[1] * shape[2], shape[2]
    return -plane, -row, -1, 1, row, plane


def _may_be_nearer(level: np.ndarray, distances: np.ndarray, moved: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Say which neighbours lie on the same flat place, farther from its edge than over the voxels that moved."""
    return (level[there] == level[moved]) & (distances[there] > distances[moved] + 1)
