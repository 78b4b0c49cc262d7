"""What nets see of a volume: read once, however many windows, variants and nets look at it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cdeep3m.geometry import Roi
from cdeep3m.matlab_ports.imageimporter import take_class_of_first
from cdeep3m.tiling.grid import LARGEST_PLANE
from cdeep3m.volumes.kept_planes import KeptPlanes, is_decoded_whole
from cdeep3m.volumes.samples import middle, parts_of_plane

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cdeep3m.geometry import Coordinate
    from cdeep3m.tiling.grid import Tiling
    from cdeep3m.tiling.packages import Package
    from cdeep3m.volumes.base import Volume

SLAB_BYTES = 2**27
"""Planes that lie together on disk are read together up to so many bytes: 64 planes of a tile, of 16 bits."""
WHOLE_PLANES = 2**26
"""Planes of more voxels are read tile by tile."""
SLABS = 2
"""So many slabs are kept: nets look from one into the next."""


def sample_of(volume: Volume) -> Iterator[np.ndarray]:
    """Yield the first, the middle and the last plane, in parts; of planes too large to be held, their middles.

    Yields
    ------
    ndarray of the volume's type, shape (y, x)
    """
    depth, height, width = volume.shape
    for z in sorted({0, depth // 2, depth - 1}):
        large = height * width > LARGEST_PLANE
        box = middle(volume.shape, z) if large else Roi((z, 0, 0), (z + 1, height, width))
        yield from parts_of_plane(volume, box)


class Slabs(NamedTuple):
    """What is read of a volume at a time, and how much of it is kept.

    Attributes
    ----------
    whole : bool
        Whole planes, or tiles of them.
    depth : int
        Planes.
    kept : int
        Slabs that are kept.
    bytes_of_one : int
    """

    whole: bool
    depth: int
    kept: int
    bytes_of_one: int


def slabs_of(volume: Volume, tiling: Tiling, *, frames: int, by_package: bool) -> Slabs:
    """Return what is read of a volume at a time; see `PackageReader`."""
    planes, height, width = volume.shape
    together = min(volume.chunks[0], planes)
    whole = height * width <= WHOLE_PLANES
    if by_package and height * width * together * volume.dtype.itemsize > SLAB_BYTES:
        whole = False
    rows, columns = (height, width) if whole else tiling.largest_read
    bytes_of_plane = rows * columns * volume.dtype.itemsize
    depth = max(1, min(together, SLAB_BYTES // bytes_of_plane))
    return Slabs(whole, depth, frames + 3 if depth == 1 else SLABS, depth * bytes_of_plane)


def planes_kept(volume: Volume, tiling: Tiling, *, frames: int, chunks: Coordinate) -> int:
    """Return how many planes are kept on disk while they are predicted tile by tile; 0 where tiles are read alone.

    Image files that are packed from end to end, PNG among them, are decoded once instead of once for each tile.

    Parameters
    ----------
    chunks : tuple of int
        Of the maps: all planes of a chunk are predicted before the next tile is.
    """
    planes, height, width = volume.shape
    if height * width <= WHOLE_PLANES or tiling.tiles == 1 or not is_decoded_whole(volume):
        return 0
    return 0 if tiling.rules.octave_images else min(planes, chunks[0] + frames - 1)


def with_planes_kept(volume: Volume, tiling: Tiling, *, frames: int, chunks: Coordinate, folder: Path) -> Volume:
    """Return a volume that keeps as many planes as `planes_kept` says, in nameless files in `folder`."""
    most = planes_kept(volume, tiling, frames=frames, chunks=chunks)
    return KeptPlanes(volume, most=most, folder=folder) if most else volume


class PackageReader:
    """Makes the windows of packages; may be asked by several threads.

    Parameters
    ----------
    volume : Volume
    tiling : Tiling
    frames : int
        Planes that the deepest net sees at once.
    by_package : bool
        Whether all planes of a package are asked for before those of the next one.
    """

    def __init__(self, volume: Volume, tiling: Tiling, *, frames: int, by_package: bool = False) -> None:
        self._volume = volume
        self._slabs: OrderedDict[Roi, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()
        self._whole, self._depth, self._kept, _ = slabs_of(volume, tiling, frames=frames, by_package=by_package)
        self._as_original = tiling.rules.octave_images
        self._class_of = lru_cache(maxsize=None)(self._class_of_first_plane)
        self._original_plane = lru_cache(maxsize=(frames + 1) * tiling.tiles)(self._read_as_original)

    def window(self, package: Package, z: int, frames: int) -> np.ndarray:
        """Return what a net sees when it predicts plane `z` of `package`.

        Parameters
        ----------
        package : Package
        z : int
            A plane of the volume.
        frames : int
            Planes that the net sees at once.

        Returns
        -------
        ndarray, shape (frames, y, x)
            On the package's canvas; bool planes come as uint8.
        """
        window = package.canvas(np.stack([self._plane(package, k) for k in package.z_window(z, frames)]))
        return window.astype(np.uint8) if window.dtype == bool else window

    def _plane(self, package: Package, z: int) -> np.ndarray:
        if self._as_original:
            return self._original_plane(package, z)
        _, rows, columns = package.read.slices
        begin = z - z % self._depth
        if self._whole:
            return self._slab(begin, (0, 0), self._volume.shape[1:])[z - begin, rows, columns]
        return self._slab(begin, package.read.begin[1:], package.read.end[1:])[z - begin]

    def _slab(self, begin: int, first: tuple[int, int], last: tuple[int, int]) -> np.ndarray:
        """Return planes from `begin` on of an area, read now or kept from before."""
        roi = Roi((begin, *first), (min(begin + self._depth, self._volume.shape[0]), *last))
        with self._lock:
            if roi not in self._slabs:
                while len(self._slabs) >= self._kept:
                    self._slabs.popitem(last=False)
                self._slabs[roi] = self._volume.read(roi)
            self._slabs.move_to_end(roi)
            return self._slabs[roi]

    def _read_as_original(self, package: Package, z: int) -> np.ndarray:
        """Read a plane as PreprocessPackage.m does: the package's first one decides the class (defect 6)."""
        return take_class_of_first(self._read_area(package, z), self._class_of(package))

    def _class_of_first_plane(self, package: Package) -> np.dtype:
        return self._read_area(package, package.planes[0]).dtype

    def _read_area(self, package: Package, z: int) -> np.ndarray:
        (_, top, left), (_, bottom, right) = package.read.begin, package.read.end
        return self._volume.read(Roi((z, top, left), (z + 1, bottom, right)))[0]
