"""HDF5 files as the original writes them: contiguous datasets of shape (x, y, z), no filters, no attributes."""

from __future__ import annotations

import math
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from cdeep3m.errors import FormatError, InputError
from cdeep3m.geometry import Roi, from_caffe_axes
from cdeep3m.system.files import whole_file
from cdeep3m.volumes.damage import damaged, decoding
from cdeep3m.volumes.mapped import release, zeros

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SLAB_BYTES = 2**20
"""So much of an array is written at a time: it stays in the processor's cache."""
IMAGE_TYPES = ("uint8", "uint16", "float32", "float64")


class Hdf5Volume:
    """The one dataset of an HDF5 file, shape (x, y, z).

    Parameters
    ----------
    path : Path
        The file.
    checked : bool
        Whether only the types of images are taken: uint8, uint16, float32 and float64.

    Raises
    ------
    InputError
        When there is not exactly one dataset, or it is not three-dimensional, or of another type.
    FormatError
        When the file is damaged or no HDF5 file.
    """

    is_folder = False

    def __init__(self, path: Path, *, checked: bool = True) -> None:
        self._path = path
        with decoding(path, "HDF5"), h5py.File(path, "r") as file:
            dataset = _only_dataset(file, path)
            self._name = dataset.name
            self.dtype = dataset.dtype.newbyteorder("=")
            shape = dataset.shape
        if len(shape) != 3 or 0 in shape:
            raise InputError(f"{self._name} of {path} has the shape {shape}; expected (x, y, z)")
        if checked and self.dtype.name not in IMAGE_TYPES:
            raise InputError(
                f"{self._name} of {path} holds {self.dtype} values; expected {', '.join(IMAGE_TYPES)}. Convert it"
            )
        self.shape: tuple[int, int, int] = shape[::-1]

    def read(self, roi: Roi) -> np.ndarray:
        """Return the voxels of `roi`, axes (z, y, x); only they are read from the file."""
        with decoding(self._path, "HDF5"), h5py.File(self._path, "r") as file:
            z, y, x = roi.slices
            return from_caffe_axes(file[self._name][x, y, z]).astype(self.dtype, copy=False)

    def blocks(self, limit: int) -> Iterator[tuple[Roi, np.ndarray]]:
        """Yield the whole volume, some columns at a time: they lie together in the file."""
        depth, height, width = self.shape
        step = max(1, limit // (depth * height * self.dtype.itemsize))
        for begin in range(0, width, step):
            roi = Roi((0, 0, begin), (depth, height, min(begin + step, width)))
            yield roi, self.read(roi)

    def planes(self, roi: Roi) -> Iterator[np.ndarray]:
        """Yield the planes of `roi`, which are all in memory at once: they are scattered through the file."""
        return iter(self.read(roi))


def read_dataset(path: str | os.PathLike[str], name: str = "data") -> np.ndarray:
    """Return a dataset of an HDF5 file, as a read-only memory map where it is contiguous.

    Parameters
    ----------
    path : path
    name : str
        Of the dataset.

    Returns
    -------
    ndarray
        Shape and type as in the file: (x, y, z) for stacks, (1, 2, x, y) for Caffe's predictions.

    Raises
    ------
    FormatError
        When the file is damaged, or has no such dataset.
    """
    with decoding(path, "HDF5"), h5py.File(path, "r") as file:
        dataset = file.get(name)
        if not isinstance(dataset, h5py.Dataset):
            raise FormatError(f"{path} holds no dataset {name!r}; found {', '.join(file) or 'nothing'}. Make it again")
        offset = dataset.id.get_offset()
        if offset is None or not dataset.size or dataset.dtype.hasobject or _is_external(dataset):
            return dataset[()]
        if offset + dataset.nbytes > Path(path).stat().st_size:
            raise damaged(path, "HDF5", "it is truncated")
        return np.memmap(path, dataset.dtype, "r", offset, dataset.shape)


def write_datasets(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], *, dtype: np.dtype | type | None = None
) -> None:
    """Write arrays as datasets of an HDF5 file, whole or not at all: contiguous, no filters, no attributes.

    Parameters
    ----------
    path : path
        What is there is replaced.
    arrays : mapping of str to ndarray
        Datasets by name; views are fine: a slab along the first axis is copied at a time.
    dtype : dtype, optional
        Type of all datasets; default: of each array, and float64 for bool, as Octave stores its logical class.
    """
    with whole_file(path) as partial:
        fill_datasets(partial, arrays, dtype=dtype)


def fill_datasets(path: Path, arrays: Mapping[str, np.ndarray], *, dtype: np.dtype | type | None = None) -> None:
    """Write as `write_datasets`, but to `path` itself, for callers that keep several files back until all are there."""
    types = {name: np.dtype(dtype or _stored_type(array.dtype)) for name, array in arrays.items()}
    with _system_errors_of_hdf5(), h5py.File(path, "w") as file:
        offsets = {name: _allocate(file, name, array.shape, types[name]) for name, array in arrays.items()}
    with Path(path).open("r+b", buffering=0) as raw:
        for name, array in arrays.items():
            raw.seek(offsets[name])
            for slab in _slabs(array, types[name]):
                _write_all(raw.fileno(), slab)
                release(array)


def in_old_shape(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the original leaves when it writes `arrays` over an existing file (defect 11).

    The datasets keep their old shape and type; new values stand where both overlap, old ones elsewhere. Where a new
    array is too large, the overlap gets its first values in the order of the file instead of those of its corner.

    Parameters
    ----------
    path : path
        The existing file.
    arrays : mapping of str to ndarray
        What was to be written.

    Returns
    -------
    dict of str to ndarray
        Large ones lie in nameless files beside `path`.
    """
    return {name: _overlaid(read_dataset(path, name), array, Path(path).parent) for name, array in arrays.items()}


def _overlaid(old: np.ndarray, new: np.ndarray, folder: Path) -> np.ndarray:
    """Return a copy of `old` with the values of `new` where both overlap; little of a large one is in memory."""
    kept = zeros(old.shape, old.dtype, folder=folder)
    shape = tuple(min(a, b) for a, b in zip(old.shape, new.shape, strict=True))
    values, place = _first_values(new, shape), kept[tuple(map(slice, shape))]
    rows = max(1, SLAB_BYTES // max(1, old[:1].nbytes))
    for begin in range(0, len(old), rows):
        part = slice(begin, begin + rows)
        kept[part] = old[part]
        place[part] = values[part]
        release(old)
        release(kept)
    return kept


def _first_values(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return as many values of `array`, from its first one on in C order, as fill `shape`.

    Examples
    --------
    >>> _first_values(np.arange(12).reshape(3, 4), (2, 3)).tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    if shape[1:] == array.shape[1:]:
        return array[: shape[0]]
    count = math.prod(shape)
    rows = -(-count // math.prod(array.shape[1:]))
    return array[:rows].reshape(-1)[:count].reshape(shape)


def _only_dataset(file: h5py.File, path: Path) -> h5py.Dataset:
    found: list[h5py.Dataset] = []
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    if len(found) != 1:
        names = ", ".join(dataset.name for dataset in found) or "none"
        raise InputError(f"{path} holds {len(found)} datasets ({names}); expected one of shape (x, y, z)")
    return found[0]


def _is_external(dataset: h5py.Dataset) -> bool:
    return bool(dataset.id.get_create_plist().get_external_count())


def _stored_type(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.float64) if dtype.kind == "b" else dtype


@contextmanager
def _system_errors_of_hdf5() -> Iterator[None]:
    """Raise as OSError what HDF5 reports of the system in the text of another error, a full disk above all."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = re.search(r"errno = (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _allocate(file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Make an empty contiguous dataset, without a date, and return where its values go in the file."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.CONTIGUOUS)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    plan.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    made = h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype, logical=True), space, plan)
    offset = made.get_offset()
    return 0 if offset is None else offset


def _slabs(array: np.ndarray, dtype: np.dtype) -> Iterator[np.ndarray]:
    """Yield parts of `array` along its first axis, contiguous and of `dtype`, each in the memory of the one before."""
    rows = max(1, SLAB_BYTES // max(1, array[:1].size * dtype.itemsize))
    memory = np.empty((min(rows, len(array)), *array.shape[1:]), array.dtype)
    converted = memory if dtype == array.dtype else np.empty(memory.shape, dtype)
    source, target = (_runs(array), _runs(memory)) if _has_runs(array) else (array, memory)
    for begin in range(0, len(array), rows):
        count = min(rows, len(array) - begin)
        target[:count] = source[begin : begin + count]
        if converted is not memory:
            converted[:count] = memory[:count]
        yield converted[:count]


def _has_runs(array: np.ndarray) -> bool:
    """Return whether values lie together along the last axis."""
    return array.ndim > 1 and array.size > 0 and array.strides[-1] == array.itemsize


def _runs(array: np.ndarray) -> np.ndarray:
    """Return the array with all values along the last axis as one element, which is copied as a whole."""
    return array.view(np.dtype((np.void, array.shape[-1] * array.itemsize)))[..., 0]


def _write_all(descriptor: int, slab: np.ndarray) -> None:
    rest = slab.reshape(-1).view(np.uint8).data
    while rest:
        rest = rest[os.write(descriptor, rest) :]
