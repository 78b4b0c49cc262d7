"""Maps of chunks, with a pyramid: each box is written once, each level's boxes as soon as those below are there."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.errors import InputError
from cdeep3m.geometry import Coordinate, Roi
from cdeep3m.maps.pyramid import LevelSize, Method, below, downsample
from cdeep3m.system.files import demand_no_links
from cdeep3m.system.ledger import HEADER
from cdeep3m.tiling.boxes import Grid
from cdeep3m.volumes.stores import Store, ledger_beside, reaching

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import tensorstore

    from cdeep3m.maps.base import MapSpec
    from cdeep3m.maps.progress import Finished
    from cdeep3m.volumes.axes import Layout

CHUNK = 64
"""Side of a chunk."""
FLAT = 3
"""Chunks of a few planes are so many times as wide and high, where they have no more voxels than a cube: a plane is not
stored in tens of thousands of tiny files. Five of them are as long as a tile, 960 voxels."""
CHUNKS_OF_A_SHARD = (1, 5, 5)
"""Chunks along each axis: three shards are as long as a tile, 960 voxels."""


def chunks_for(shape: Coordinate) -> Coordinate:
    """Return the chunks of a map: cubes, or wider ones of few planes, no larger than the volume.

    Examples
    --------
    >>> chunks_for((1000, 4000, 4000)), chunks_for((7, 4000, 100)), chunks_for((8, 4000, 4000))
    ((64, 64, 64), (7, 192, 100), (8, 64, 64))
    """
    depth = min(CHUNK, shape[0])
    side = FLAT * CHUNK if depth * (FLAT * CHUNK) ** 2 <= CHUNK**3 else CHUNK
    return depth, min(side, shape[1]), min(side, shape[2])


def chunks_within(chunks: Coordinate, shape: Coordinate) -> Coordinate:
    """Return the chunks of a level of the pyramid, and what is made of it at a time: those of the map, within it."""
    z, y, x = (min(chunk, side) for chunk, side in zip(chunks, shape, strict=True))
    return z, y, x


def chunks_in_shards(shape: Coordinate) -> Coordinate:
    """Return the chunks that shards hold: cubes, no larger than the volume."""
    z, y, x = (min(CHUNK, side) for side in shape)
    return z, y, x


def shards_for(shape: Coordinate) -> Coordinate:
    """Return the shards of a map, files of many chunks each: whole chunks, as long as tiles are predicted well by them.

    Examples
    --------
    >>> shards_for((1000, 4000, 4000)), shards_for((5, 300, 70))
    ((64, 320, 320), (5, 320, 128))
    """
    z, y, x = (
        min(chunk * count, -(-side // chunk) * chunk)
        for chunk, count, side in zip(chunks_in_shards(shape), CHUNKS_OF_A_SHARD, shape, strict=True)
    )
    return z, y, x


@dataclass(frozen=True)
class Level:
    """One array of a pyramid.

    Attributes
    ----------
    size : LevelSize
    array : TensorStore
        First element at 0.
    layout : Layout
        How (z, y, x) lie in it.
    """

    size: LevelSize
    array: tensorstore.TensorStore
    layout: Layout

    def read(self, box: Roi, name: str) -> np.ndarray:
        """Return the values of a box, axes (z, y, x)."""
        with reaching(name):
            return self.layout.arrange(self.array[self.layout.index(box)].read().result())

    def write(self, box: Roi, values: np.ndarray, name: str) -> None:
        """Store the values of a box."""
        with reaching(name):
            self.array[self.layout.index(box)].write(self.layout.disarrange(values)).result()


class ChunkedMaps:
    """A map stored as chunks, with the levels of a pyramid.

    Parameters
    ----------
    spec : MapSpec
    levels : sequence of Level
        The map itself first.
    chunks : tuple of int
        Of every level, along (z, y, x).
    finished : Finished
    name : str
        What a user calls it, for messages.
    seal : callable
        Writes what makes readers take it for a whole map; comes last.
    sealed : bool
        Whether that was done by an earlier run: nothing is missing then.
    method : {"mean", "first"}
        How levels are made.
    """

    def __init__(
        self,
        spec: MapSpec,
        levels: Sequence[Level],
        *,
        chunks: Coordinate,
        finished: Finished,
        name: str,
        seal: Callable[[], None],
        sealed: bool = False,
        method: Method = "mean",
    ) -> None:
        self.spec = spec
        self.chunks = chunks
        self._levels = list(levels)
        self._finished = finished
        self._name = name
        self._seal = seal
        self.sealed = sealed
        self._method = method
        self._lock = threading.Lock()
        self._grids = [Grid(level.size.shape, chunks_within(chunks, level.size.shape)) for level in levels[1:]]
        self._left: list[np.ndarray] = []

    def missing(self, boxes: Sequence[Roi] | Grid) -> Sequence[Roi]:
        """Return those of `boxes` that are not finished; the first call takes them for all that there are.

        Raises
        ------
        ValueError
            Chunks would be written twice.
        RunError
            What is there was begun by another run.
        """
        if self.sealed:
            self._finished.forget()
            return []
        for box in boxes:
            _demand_aligned(box, self.spec.shape, self.chunks)
        if self._finished.begin(boxes):
            self._count_what_is_left()
        return self._finished.missing(boxes)

    def write(self, box: Roi, values: np.ndarray) -> None:
        """Store a box, and what that completes of the levels above."""
        number = self._finished.number(box)
        if values.shape != box.shape or values.dtype != np.dtype(self.spec.dtype):
            raise ValueError(f"{values.dtype} values of {values.shape} for {box} of a map of {self.spec.dtype}")
        self._levels[0].write(box, values, self._name)
        with self._lock:
            new = not self._finished.done[number]
            self._finished.mark(number)
        if new and self._grids:
            self._complete(1, box, values)

    def read(self, box: Roi) -> np.ndarray:
        """Return the values of a box."""
        return self._levels[0].read(box, self._name)

    def finish(self) -> None:
        """Make what is left of the pyramid, then write the metadata that make readers see it.

        Raises
        ------
        RunError
            Boxes are missing.
        """
        if self.sealed:
            return
        self._finished.demand_all(self._finished.count, self._name)
        for level in range(1, len(self._levels)):
            first, count = self._number(level, 0), self._grids[level - 1].count
            for unit in np.flatnonzero(~self._finished.done[first : first + count]).tolist():
                self._make(level, unit)
        self._seal()
        self.sealed = True
        self._finished.remove()

    def _count_what_is_left(self) -> None:
        """Count, for every unit of every level, the voxels below it that are not there yet."""
        self._left = [
            _voxels_below(grid, self._levels[level].size, self._levels[level - 1].size)
            for level, grid in enumerate(self._grids, start=1)
        ]
        if not self._grids or not self._finished.done.any():
            return
        for box in self._finished.finished_boxes():
            self._subtract(1, box)
        for level, grid in enumerate(self._grids[:-1], start=1):
            first = self._number(level, 0)
            for unit in np.flatnonzero(self._finished.done[first : first + grid.count]).tolist():
                self._subtract(level + 1, grid.box(unit))

    def _complete(self, level: int, box: Roi, values: np.ndarray) -> None:
        """Make the units of a level that a box of the level below completes, from its values where it is all of one."""
        with self._lock:
            whole = self._subtract(level, box)
        for unit in whole:
            if not self._finished.done[self._number(level, unit)]:
                needed = self._below(level, unit)
                inside = box.contains(needed)
                made = self._make(level, unit, values[needed.relative_to(box.begin).slices] if inside else None)
                if level < len(self._grids):
                    self._complete(level + 1, self._grids[level - 1].box(unit), made)

    def _subtract(self, level: int, box: Roi) -> list[int]:
        """Take the voxels of a box off what is left for the units above it; return those that have nothing left."""
        whole = []
        upper, lower = self._levels[level].size, self._levels[level - 1].size
        for unit in self._grids[level - 1].within(_above(box, upper, lower)):
            self._left[level - 1][unit] -= _overlap(self._below(level, unit), box)
            if self._left[level - 1][unit] == 0:
                whole.append(unit)
        return whole

    def _make(self, level: int, unit: int, values: np.ndarray | None = None) -> np.ndarray:
        """Make a unit of a level of what is below it, which is read where it is not given."""
        upper, lower = self._levels[level], self._levels[level - 1]
        box = self._grids[level - 1].box(unit)
        ratio = [u // w for u, w in zip(upper.size.factors, lower.size.factors, strict=True)]
        if values is None:
            values = lower.read(self._below(level, unit), self._name)
        made = np.ascontiguousarray(downsample(values, ratio, self._method))
        upper.write(box, made, self._name)
        with self._lock:
            self._finished.mark(self._number(level, unit))
        return made

    def _below(self, level: int, unit: int) -> Roi:
        box = self._grids[level - 1].box(unit)
        return below(box, self._levels[level].size, self._levels[level - 1].size)

    def _number(self, level: int, unit: int) -> int:
        """Return the number of a unit in the ledger: behind the boxes, level by level."""
        return self._finished.count + sum(grid.count for grid in self._grids[: level - 1]) + unit


def units_of(sizes: Sequence[LevelSize], chunks: Coordinate) -> int:
    """Return how many units the levels above the first have."""
    return sum(Grid(size.shape, chunks_within(chunks, size.shape)).count for size in sizes[1:])


def _voxels_below(grid: Grid, upper: LevelSize, lower: LevelSize) -> np.ndarray:
    """Return how many voxels of the level below each unit of a level is made of, in the order of their numbers."""
    along = []
    for axis in range(3):
        ratio = upper.factors[axis] // lower.factors[axis]
        begins = np.arange(0, upper.shape[axis], grid.step[axis], dtype=np.int64)
        ends = np.minimum(begins + grid.step[axis], upper.shape[axis])
        along.append(np.minimum(ends * ratio, lower.shape[axis]) - begins * ratio)
    return (along[0][:, None, None] * along[1][:, None] * along[2]).ravel()


def _demand_aligned(box: Roi, shape: Coordinate, chunks: Coordinate) -> None:
    for begin, end, side, chunk in zip(box.begin, box.end, shape, chunks, strict=True):
        if begin % chunk or (end % chunk and end != side):
            raise ValueError(f"{box} does not end where chunks of {chunks} do")


def _above(box: Roi, upper: LevelSize, lower: LevelSize) -> Roi:
    """Return the voxels of a level that a box of the level below has a part in."""
    ratio = [u // w for u, w in zip(upper.factors, lower.factors, strict=True)]
    z0, y0, x0 = (begin // r for begin, r in zip(box.begin, ratio, strict=True))
    z1, y1, x1 = (-(-end // r) for end, r in zip(box.end, ratio, strict=True))
    return Roi((z0, y0, x0), (z1, y1, x1))


def _overlap(one: Roi, other: Roi) -> int:
    sides = [
        max(0, min(e0, e1) - max(b0, b1))
        for b0, e0, b1, e1 in zip(one.begin, one.end, other.begin, other.end, strict=True)
    ]
    return math.prod(sides)


BEGUN = "begun"
"""In a ledger: what is in the store is of this run, which may be stopped before the ledger itself is there."""


def demand_own(store: Store, ledger: Store, *, sealed: bool) -> None:
    """Make sure that nothing is at an address but what an earlier, interrupted run left there.

    Raises
    ------
    InputError
        Something else is.
    RunError
        A folder of it is a symbolic link, through which nothing is written.
    """
    if sealed:
        return
    begun = ledger.read(HEADER) is not None or ledger.read(BEGUN) is not None
    if not begun and not store.is_empty():
        raise InputError(f"{store.url} is there already; delete it, or choose another name")
    if store.is_local:
        demand_no_links(store.url)
        demand_no_links(ledger.url)
    if not begun:
        ledger.write(BEGUN, b"")


def ledger_of(store: Store) -> Store:
    """Return where the ledger of a map lies until the map is whole: beside it."""
    return ledger_beside(store.url)


def run_of(spec: MapSpec, kind: str, chunks: Coordinate) -> dict[str, str]:
    """Return what decides what the boxes of a map hold, for its ledger."""
    size = spec.placement.voxel_size
    return {
        "format": kind,
        "shape": " x ".join(map(str, spec.shape)),
        "dtype": spec.dtype,
        "chunks": " x ".join(map(str, chunks)),
        "voxel size": "not known" if size is None else " x ".join(map(str, size)),
        "offset": " x ".join(map(str, spec.placement.offset)),
        "made from": spec.source,
    }
