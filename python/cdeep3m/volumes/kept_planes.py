"""Planes that are decoded as a whole, kept in nameless files while parts of them are asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.geometry import Roi
from cdeep3m.volumes.mapped import release, zeros

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cdeep3m.volumes.base import Volume


def is_decoded_whole(volume: Volume) -> bool:
    """Return whether a part of a plane costs as much as all of it: an image file that is packed from end to end."""
    return volume.chunks[1:] == volume.shape[1:]


class KeptPlanes:
    """A volume whose planes are decoded once for all parts that are read of them in turn.

    Parameters
    ----------
    volume : Volume
        Its planes are decoded as a whole.
    most : int
        So many planes are kept.
    folder : Path
        Where there is room for them.
    """

    def __init__(self, volume: Volume, *, most: int, folder: Path) -> None:
        self.shape, self.dtype, self.is_folder = volume.shape, volume.dtype, volume.is_folder
        self.chunks, self.placement = volume.chunks, volume.placement
        self._volume, self._most, self._folder = volume, most, folder
        self._planes: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, roi: Roi) -> np.ndarray:
        """Return the voxels of `roi`, axes (z, y, x)."""
        values = np.empty(roi.shape, self.dtype)
        _, rows, columns = roi.slices
        with self._lock:
            for z, part in zip(range(roi.begin[0], roi.end[0]), values, strict=True):
                plane = self._plane(z)
                part[:] = plane[rows, columns]
                release(plane)
        return values

    def blocks(self, limit: int) -> Iterator[tuple[Roi, np.ndarray]]:
        """Yield the whole volume as its format does."""
        return self._volume.blocks(limit)

    def _plane(self, z: int) -> np.ndarray:
        if z not in self._planes:
            _, height, width = self.shape
            kept = (
                self._planes.popitem(last=False)[1]
                if len(self._planes) >= self._most
                else zeros((height, width), self.dtype, folder=self._folder, in_memory=0)
            )
            kept[:] = self._volume.read(Roi((z, 0, 0), (z + 1, height, width)))[0]
            self._planes[z] = kept
        self._planes.move_to_end(z)
        return self._planes[z]
