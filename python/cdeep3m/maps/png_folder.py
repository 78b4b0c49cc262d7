"""Maps as the original leaves them: a folder with `Segmented_0001.png` for every plane, counted from 1."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.errors import InputError, RunError
from cdeep3m.volumes.mapped import release, zeros
from cdeep3m.volumes.png import is_whole_plane, read_plane, write_plane, write_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cdeep3m.geometry import Roi
    from cdeep3m.maps.base import MapSpec
    from cdeep3m.tiling.boxes import Grid
    from cdeep3m.volumes.address import Address

NAME = "{}_{:04d}.png"
BYTES_AT_ONCE = 2**20
"""So much of a plane that came in parts is compressed at a time."""


class PngMaps:
    """A folder of PNG images, one a plane; a plane that comes in parts is gathered in a nameless file beside it.

    Parameters
    ----------
    folder : Path
        Made when something is written.
    spec : MapSpec
        8 or 16 bits.

    Raises
    ------
    InputError
        Another type is asked for.
    """

    chunks = (1, 1, 1)

    def __init__(self, folder: Path, spec: MapSpec) -> None:
        if spec.dtype not in ("uint8", "uint16"):
            raise InputError(
                f"found {spec.dtype} values for PNG images; expected uint8 or uint16. Choose another format"
            )
        self.folder = folder
        self.spec = spec
        self._gathering: dict[int, _Gathered] = {}
        self._lock = threading.Lock()

    def plane(self, z: int) -> Path:
        """Return the file of plane `z`, counted from 0."""
        return self.folder / NAME.format(self.spec.planes, z + 1)

    def missing(self, boxes: Sequence[Roi] | Grid) -> Sequence[Roi]:
        """Return the boxes of planes that have no whole file: a disk may lose what was written."""
        asked = {z for box in boxes for z in range(box.begin[0], box.end[0])}
        there = {z for z in asked if is_whole_plane(self.plane(z), self.spec.shape[1:])}
        return [box for box in boxes if not there.issuperset(range(box.begin[0], box.end[0]))]

    def write(self, box: Roi, values: np.ndarray) -> None:
        """Write the planes of a box, or keep its part of them until they are whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _, rows, columns = box.slices
        whole = (box.begin[1:], box.end[1:]) == ((0, 0), self.spec.shape[1:])
        for z, plane in zip(range(box.begin[0], box.end[0]), values, strict=True):
            if whole:
                write_plane(self.plane(z), plane)
            else:
                self._gather(z, (rows, columns), plane)

    def _gather(self, z: int, part: tuple[slice, slice], values: np.ndarray) -> None:
        with self._lock:
            if z not in self._gathering:
                self._gathering[z] = _Gathered(self.folder, self.spec.shape[1:], self.spec.dtype)
            gathered = self._gathering[z]
            gathered.keep(part, values)
            whole = gathered.left == 0
        if whole:
            rows = max(1, BYTES_AT_ONCE // gathered.values[0].nbytes)
            write_rows(self.plane(z), gathered.values, at_once=rows)
            del self._gathering[z]

    def read(self, box: Roi) -> np.ndarray:
        """Return the values of a box from its files."""
        _, rows, columns = box.slices
        planes = (read_plane(self.plane(z)).values[rows, columns] for z in range(box.begin[0], box.end[0]))
        return np.stack(list(planes))

    def finish(self) -> None:
        """Raise RunError when a plane has no file."""
        lost = [self.plane(z).name for z in range(self.spec.shape[0]) if not self.plane(z).exists()]
        if lost:
            raise RunError(
                f"{self.folder}: {len(lost)} of {self.spec.shape[0]} planes are missing, {lost[0]} the first; "
                "the same command makes them"
            )


class _Gathered:
    """A plane of which parts have come, on disk."""

    def __init__(self, folder: Path, shape: tuple[int, int], dtype: str) -> None:
        self.values = zeros(shape, np.dtype(dtype), folder=folder)
        self.left = shape[0] * shape[1]
        self._kept: set[tuple[int, int, int, int]] = set()

    def keep(self, part: tuple[slice, slice], values: np.ndarray) -> None:
        rows, columns = part
        self.values[part] = values
        release(self.values)
        where = rows.start, rows.stop, columns.start, columns.stop
        if where not in self._kept:
            self._kept.add(where)
            self.left -= values.size


def open_maps(address: Address, spec: MapSpec) -> PngMaps:
    """Open a folder of PNG images."""
    return PngMaps(address.path, spec)
