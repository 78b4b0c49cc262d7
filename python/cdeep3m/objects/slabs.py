"""Apply3DWatershed.m for a volume of any size: slab by slab of planes, with the result of the whole.

What spreads through the volume (basins that are filled, distances on flat places, ways of water) is done in each slab
as far as it is known from its neighbours, and again where a neighbour has changed, until nothing does. Two or three
times are enough for most slabs. Meanwhile the volume is in nameless temporary files, with 28 bytes a voxel or less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from cdeep3m.geometry import Roi
from cdeep3m.matlab_ports.apply_3d_watershed import grown, part_of_one, smooth
from cdeep3m.matlab_ports.watershed import (
    FAR,
    REACH,
    distances_down,
    ends,
    lowest_places,
    targets,
    with_lines,
)
from cdeep3m.volumes.mapped import release, zeros

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cdeep3m.volumes import Volume

MOST_VOXELS = 2**21
"""Of a slab, or one plane: some 200 bytes of memory each while it is worked on."""


@dataclass(frozen=True)
class Basins:
    """The objects between boundaries, before lines are drawn.

    Attributes
    ----------
    labels : ndarray of int64, shape (z, y, x)
        From 1.
    heights : ndarray of float64, shape (z, y, x)
        What was flooded.
    count : int
    slabs : list of slice
        Planes that are worked on together.
    """

    labels: np.ndarray
    heights: np.ndarray
    count: int
    slabs: list[slice]

    def lined(self) -> Iterator[np.ndarray]:
        """Yield all planes in order, with 0 on the lines between objects.

        Yields
        ------
        ndarray of the type of the labels, shape (y, x)
        """
        for slab in self.slabs:
            around, inner = widened(slab, 1, len(self.labels))
            yield from with_lines(self.labels[around], self.heights[around])[inner]
            release(self.labels)
            release(self.heights)


def find_basins(
    maps: Volume, *, depth: float, exact: bool = False, folder: Path | None = None, most_voxels: int | None = None
) -> Basins:
    """Label the basins of a volume, as `apply_3d_watershed` does in memory.

    Parameters
    ----------
    maps : Volume
        Probability of a boundary.
    depth : float
        By how much the boundary between two objects must be more probable than their insides.
    exact : bool
        Treat edges and neighbours as the original does.
    folder : Path, optional
        Where there is room for the temporary files; without it everything is in memory.
    most_voxels : int, optional
        Of a slab; default: `MOST_VOXELS`.

    Returns
    -------
    Basins
    """
    z, y, x = maps.shape
    planes = max(1, (most_voxels or MOST_VOXELS) // (y * x))
    slabs = [slice(begin, min(begin + planes, z)) for begin in range(0, z, planes)]
    heights = filled(maps, slabs, depth=depth, exact=exact, folder=folder)
    distances = zeros(maps.shape, np.dtype(np.int32), folder=folder)
    distances[...] = FAR
    _until_settled(slabs, lambda slab: _distances_of(slab, heights, distances), distances)
    labels = zeros(maps.shape, np.dtype(np.int64), folder=folder)
    numbers = _ways(slabs, heights, distances, labels)
    _join(slabs, labels, numbers)
    return Basins(labels, heights, int(numbers.max()), slabs)


def filled(maps: Volume, slabs: list[slice], *, depth: float, exact: bool, folder: Path | None) -> np.ndarray:
    """Return the smoothed maps with their shallow basins filled, slab by slab.

    Returns
    -------
    ndarray of float64, shape (z, y, x)
        As of `fill_shallow_basins`.
    """
    hills, found = (zeros(maps.shape, np.dtype(np.float64), folder=folder) for _ in range(2))
    for slab in slabs:
        values = maps.read(Roi((slab.start, 0, 0), (slab.stop, *maps.shape[1:])))
        hills[slab] = 1 - np.stack([smooth(part_of_one(plane), exact=exact) for plane in values])
        found[slab] = hills[slab] - depth

    def fill(slab: slice) -> np.ndarray:
        around, inner = widened(slab, 1, len(hills))
        return grown(found[around], hills[around], exact=exact)[inner]

    _until_settled(slabs, fill, found)
    for slab in slabs:
        found[slab] = 1 - found[slab]
    return found


def widened(slab: slice, planes: int, depth: int) -> tuple[slice, slice]:
    """Return a slab with some planes more on either side, as far as the volume goes, and where it lies in that.

    Examples
    --------
    >>> widened(slice(0, 4), 2, 10), widened(slice(8, 10), 1, 10)
    ((slice(0, 6, None), slice(0, 4, None)), (slice(7, 10, None), slice(1, 3, None)))
    """
    begin, end = max(0, slab.start - planes), min(depth, slab.stop + planes)
    return slice(begin, end), slice(slab.start - begin, slab.stop - begin)


def _until_settled(slabs: list[slice], made: Callable[[slice], np.ndarray], values: np.ndarray) -> None:
    """Make the slabs of `values`, and anew each whose neighbour's nearest plane has changed, to and fro.

    Parameters
    ----------
    slabs : list of slice
    made : callable
        Makes a slab from what `values` holds now.
    values : ndarray
        Changed in place.
    """
    open_, order = set(range(len(slabs))), list(range(len(slabs)))
    while open_:
        for number in [k for k in order if k in open_]:
            open_.discard(number)
            slab = slabs[number]
            new = made(slab)
            for plane, other in ((0, number - 1), (-1, number + 1)):
                if 0 <= other < len(slabs) and not np.array_equal(new[plane], values[slab][plane], equal_nan=True):
                    open_.add(other)
            values[slab] = new
            release(values)
        order.reverse()


def _distances_of(slab: slice, heights: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Return the distances of a slab, from those of the planes beside it."""
    around, inner = widened(slab, 1, len(heights))
    wide, within = widened(around, REACH - 1, len(heights))
    known = np.full(heights[wide].shape, FAR, np.int32)
    known[within] = distances[around]
    found = distances_down(heights[wide], known)[within][inner]
    release(heights)
    return found


def _ways(slabs: list[slice], heights: np.ndarray, distances: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Follow the water within each slab.

    Parameters
    ----------
    labels : ndarray of int64, shape (z, y, x)
        Gets, for each voxel, the row of the lowest place that its water runs to; or -1 minus the number of the voxel
        beyond the slab where it leaves.

    Returns
    -------
    ndarray of int64, shape (rows,)
        The number of each row's object, from 1 in the order of first voxels.
    """
    plane = heights[0].size
    rows, same, last = 0, [np.zeros((0, 2), np.int64)], None
    for slab in slabs:
        around, inner = widened(slab, 1, len(heights))
        wide, within = widened(around, REACH - 1, len(heights))
        far = np.full(heights[wide].shape, FAR, np.int32)
        far[within] = distances[around]
        next_ = targets(heights[wide], far)
        beyond = np.ones(len(next_), bool)
        beyond[slice(within.start + inner.start, within.start + inner.stop)] = False
        own = np.arange(next_.size).reshape(next_.shape)
        next_[beyond] = own[beyond]
        places, count = lowest_places(distances[slab])
        code = -1 - (own + wide.start * plane)
        begin = slab.start - wide.start
        at = code[begin : begin + len(places)]
        np.copyto(at, places.astype(np.int64) - 1 + rows, where=places > 0)
        labels[slab] = code.reshape(-1)[ends(next_)].reshape(next_.shape)[begin : begin + len(places)]
        first = np.where(places[0] > 0, labels[slab.start], -1)
        if last is not None:
            both = (last >= 0) & (first >= 0)
            same.append(np.unique(np.stack([last[both], first[both]], axis=1), axis=0))
        last = np.where(places[-1] > 0, labels[slab.stop - 1], -1)
        rows += count
        release(labels)
    return _numbered(rows, np.concatenate(same))


def _numbered(rows: int, same: np.ndarray) -> np.ndarray:
    """Return the number of each row's object; rows of one object come together, and the first one counts."""
    graph = coo_matrix((np.ones(len(same), bool), (same[:, 0], same[:, 1])), shape=(rows, rows))
    _, joined = connected_components(graph, directed=False)
    _, firsts = np.unique(joined, return_index=True)
    order = np.empty(len(firsts), np.int64)
    order[np.argsort(firsts)] = np.arange(1, len(firsts) + 1)
    return order[joined]


def _join(slabs: list[slice], labels: np.ndarray, numbers: np.ndarray) -> None:
    """Let water that leaves a slab go on in the next ones, and number the objects; `labels` is changed in place."""
    faces = sorted({z for slab in slabs for z in (slab.start, slab.stop - 1)})
    plain = labels.reshape(-1)
    while sum(_go_on(labels, slice(z, z + 1), plain) for z in faces):
        release(labels)
    for slab in slabs:  # all of them before the first one is numbered: rows are what the others look up
        _go_on(labels, slab, plain)
        release(labels)
    for slab in slabs:
        labels[slab] = numbers[labels[slab]]
        release(labels)


def _go_on(labels: np.ndarray, planes: slice, plain: np.ndarray) -> bool:
    """Take over where the water goes that leaves; say whether there was any."""
    part = labels[planes]
    leaving = part < 0
    if leaving.any():
        part[leaving] = plain[-1 - part[leaving]]
    return bool(leaving.any())
