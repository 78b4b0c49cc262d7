"""Files that hold a volume as one plain array: TIFF, HDF5 and NumPy's, written box by box through the system's memory.

The file has its full size from the start, so that a full disk is met before the work and not within it. It is filled
under another name; `finish` gives it its own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h5py
import numpy as np
import tifffile

from cdeep3m.errors import InputError
from cdeep3m.system.files import whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from cdeep3m.geometry import Coordinate, Roi

DATASET = "data"


@dataclass(frozen=True)
class _Layout:
    """Where the array lies in a file, and whether its axes are (x, y, z)."""

    offset: int
    reversed: bool = False


class ArrayFile:
    """A volume that is written box by box, by any number of processes of one machine.

    Parameters
    ----------
    path : Path
        The file in its making; its suffix decides the format.
    shape : tuple of int
        Voxels along (z, y, x).
    dtype : dtype

    Raises
    ------
    InputError
        When the suffix is none of `SUFFIXES`.
    """

    def __init__(self, path: Path, shape: Coordinate, dtype: np.dtype) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path} ends with {path.suffix or 'no suffix'}; expected {', '.join(SUFFIXES)}")
        self._path, self._shape, self._dtype = path, shape, dtype
        self._array: np.ndarray | None = None

    def create(self) -> None:
        """Make the file, all 0, whole; room for it is taken on the disk.

        Raises
        ------
        OSError
            When there is not so much room.
        """
        with whole_file(self._path) as partial:
            _CREATE[self._path.suffix.lower()](partial, self._shape, self._dtype)
            with partial.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, partial.stat().st_size)

    def write(self, roi: Roi, values: np.ndarray) -> None:
        """Write a box; as often as one likes.

        Parameters
        ----------
        roi : Roi
        values : ndarray, shape of `roi`
        """
        if self._array is None:
            self._array = _mapped(self._path, self._shape, self._dtype)
        self._array[roi.slices] = values

    def finish(self, path: Path) -> None:
        """Give the file its own name, which replaces what is there."""
        self._array = None
        self._path.replace(path)


def _mapped(path: Path, shape: Coordinate, dtype: np.dtype) -> np.ndarray:
    layout = _LAYOUT[path.suffix.lower()](path)
    if layout.reversed:
        return np.memmap(path, dtype, "r+", layout.offset, shape[::-1]).transpose(2, 1, 0)
    return np.memmap(path, dtype, "r+", layout.offset, shape)


def _create_tiff(path: Path, shape: Coordinate, dtype: np.dtype) -> None:
    tifffile.imwrite(path, shape=shape, dtype=dtype, photometric="minisblack", metadata=None)


def _tiff_layout(path: Path) -> _Layout:
    with tifffile.TiffFile(path) as tiff:
        return _Layout(tiff.pages.first.dataoffsets[0])


def _create_hdf5(path: Path, shape: Coordinate, dtype: np.dtype) -> None:
    with h5py.File(path, "w") as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_layout(h5py.h5d.CONTIGUOUS)
        plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        plan.set_obj_track_times(False)
        space = h5py.h5s.create_simple(shape[::-1])
        h5py.h5d.create(file.id, DATASET.encode(), h5py.h5t.py_create(dtype), space, plan)


def _hdf5_layout(path: Path) -> _Layout:
    with h5py.File(path, "r") as file:
        return _Layout(file[DATASET].id.get_offset(), reversed=True)


def _create_numpy(path: Path, shape: Coordinate, dtype: np.dtype) -> None:
    np.lib.format.open_memmap(path, "w+", dtype, shape)


def _numpy_layout(path: Path) -> _Layout:
    return _Layout(np.load(path, mmap_mode="r").offset)


_CREATE = {
    ".tif": _create_tiff,
    ".tiff": _create_tiff,
    ".h5": _create_hdf5,
    ".hdf5": _create_hdf5,
    ".npy": _create_numpy,
}
_LAYOUT = {
    ".tif": _tiff_layout,
    ".tiff": _tiff_layout,
    ".h5": _hdf5_layout,
    ".hdf5": _hdf5_layout,
    ".npy": _numpy_layout,
}
SUFFIXES = tuple(_CREATE)
"""The formats, by the suffix of the file."""
