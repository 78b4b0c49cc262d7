"""Maps in one file that holds a plain array: filled through a memory map under a hidden name, then renamed."""

from __future__ import annotations

import math
import os
import threading
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.errors import InputError
from cdeep3m.maps.chunked import run_of
from cdeep3m.maps.progress import Finished
from cdeep3m.system.files import LONGEST_NAME, demand_no_links, flush, scratch_file
from cdeep3m.volumes.mapped import release
from cdeep3m.volumes.open import open_volume
from cdeep3m.volumes.stores import ledger_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cdeep3m.geometry import Coordinate, Roi
    from cdeep3m.maps.base import MapSpec
    from cdeep3m.tiling.boxes import Grid

EVERY_VOXEL: Coordinate = (1, 1, 1)
MORE = 2**16
"""So many bytes a format's headers may take."""


class FileMaps:
    """A map in one file.

    Parameters
    ----------
    path : Path
    spec : MapSpec
    kind : str
        Name of the format.
    create : callable
        Makes the file at a path, full size.
    mapped : callable
        Returns the array (z, y, x) in the file at a path, as a memory map that can be written to.
    complete : callable, optional
        Adds to the file what is known only in the end.

    Raises
    ------
    InputError
        Another file is there.
    """

    chunks = EVERY_VOXEL

    def __init__(
        self,
        path: Path,
        spec: MapSpec,
        kind: str,
        *,
        create: Callable[[Path], None],
        mapped: Callable[[Path], np.ndarray],
        complete: Callable[[Path, np.ndarray], None] | None = None,
    ) -> None:
        self.spec = spec
        self.path = path
        self._partial = hidden_name(path)
        self._create, self._mapped, self._complete = create, mapped, complete
        self._ledger = ledger_beside(os.fspath(path))
        self._finished = Finished(self._ledger, run_of(spec, kind, EVERY_VOXEL))
        self._array: np.ndarray | None = None
        self._lock = threading.Lock()
        self.sealed = path.exists() and not path.is_symlink()
        if self.sealed:
            _demand_same(path, spec)

    def missing(self, boxes: Sequence[Roi] | Grid) -> Sequence[Roi]:
        """Return those of `boxes` that are not finished; the first call takes them for all that there are."""
        if self.sealed:
            self._finished.forget()
            return []
        if not self._finished.count and not self._partial.exists():
            self._ledger.remove_all()
            self._make()
        self._finished.begin(boxes)
        return self._finished.missing(boxes)

    def write(self, box: Roi, values: np.ndarray) -> None:
        """Put the values of a box into the file."""
        number = self._finished.number(box)
        if values.shape != box.shape or values.dtype != np.dtype(self.spec.dtype):
            raise ValueError(f"{values.dtype} values of {values.shape} for {box} of a map of {self.spec.dtype}")
        array = self._open()
        array[box.slices] = values
        flush(self._partial)
        with self._lock:
            self._finished.mark(number)
        release(array)

    def read(self, box: Roi) -> np.ndarray:
        """Return the values of a box."""
        if self.sealed:
            return open_volume(self.path, role="values").read(box)
        return np.array(self._open()[box.slices], np.dtype(self.spec.dtype))

    def finish(self) -> None:
        """Give the file its own name.

        Raises
        ------
        RunError
            Boxes are missing.
        """
        if self.sealed:
            self._finished.forget()
            return
        self._finished.demand_all(self._finished.count, str(self.path))
        array = self._open()
        if self._complete is not None:
            self._complete(self._partial, array)
        self._array = None
        flush(self._partial)
        self._partial.replace(self.path)
        flush(self.path.parent)
        self.sealed = True
        self._finished.remove()

    def _open(self) -> np.ndarray:
        with self._lock:
            if self._array is None:
                demand_no_links(self._partial)
                self._array = self._mapped(self._partial)
            return self._array

    def _make(self) -> None:
        """Make the file, whole, unless another process does; take room for it on the disk now, not in the middle."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with scratch_file(self.path) as new:
            _reserve(new, math.prod(self.spec.shape) * np.dtype(self.spec.dtype).itemsize + MORE)
            self._create(new)
            _reserve(new, new.stat().st_size)
            with suppress(FileExistsError):
                os.link(new, self._partial)


def _reserve(path: Path, size: int) -> None:
    """Take room on the disk; libraries that write files do not say which error of the system they met."""
    if hasattr(os, "posix_fallocate") and size:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)


def hidden_name(path: Path) -> Path:
    """Return where a file lies until it is whole: beside it, under a name that is not too long.

    Examples
    --------
    >>> from pathlib import Path
    >>> hidden_name(Path("maps/Segmented.tif")).name, len(hidden_name(Path("n" * 250 + ".tif")).name)
    ('.Segmented.partial.tif', 255)
    """
    name = f".{path.stem}.partial{path.suffix}"
    if len(os.fsencode(name)) > LONGEST_NAME:
        mark = f"{zlib.crc32(os.fsencode(path.name)):08x}.partial{path.suffix}"
        room = LONGEST_NAME - 1 - len(os.fsencode(mark))
        name = f".{os.fsdecode(os.fsencode(path.stem)[:room])}{mark}"
    return path.with_name(name)


def _demand_same(path: Path, spec: MapSpec) -> None:
    found = open_volume(path, role="values")
    if found.shape != spec.shape or found.dtype != np.dtype(spec.dtype):
        raise InputError(
            f"{path} is there already, {found.dtype} values of {found.shape}; expected {spec.dtype} of {spec.shape}, "
            "or nothing. Delete it, or choose another name"
        )
