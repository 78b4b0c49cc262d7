"""HDF5 files as the original writes them: contiguous datasets of shape (x, y, z), no filters, no attributes."""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from cdeep3m.errors import FormatError, InputError
from cdeep3m.geometry import Placement, Roi
from cdeep3m.system.files import AT_ONCE, Naming, demand_file, fill, uncut, whole_file
from cdeep3m.system.threads import for_each
from cdeep3m.volumes.axes import SPACE, Selection, layout_of
from cdeep3m.volumes.damage import damaged, decoding
from cdeep3m.volumes.gray import LOOKED_THROUGH, demand_finite, gray_type, gray_values
from cdeep3m.volumes.labels import LabelVolume, SegmentationVolume
from cdeep3m.volumes.mapped import release, zeros

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cdeep3m.volumes.address import Address
    from cdeep3m.volumes.base import Reading, Volume

SLAB_BYTES = 2**20
"""So much of an array is written at a time: it stays in the processor's cache."""
MOST_FROM_A_BYTE = 1100
"""So many bytes deflate can pack into one."""
MOST_DATASETS = 1000
"""So many are listed, or counted at all."""

ANYTHING = Selection()

logger = logging.getLogger(__name__)


class Hdf5Volume:
    """The one dataset of an HDF5 file, shape (x, y, z) unless the file says otherwise.

    Parameters
    ----------
    path : Path
        The file.
    gray : bool
        Whether its values are gray values, which read as uint8 or uint16 whatever holds them (see `gray_values`).
    as_said : bool
        Whether what the file says of its axes counts.
    selection : Selection
        What the user says of them.

    Raises
    ------
    InputError
        When there is not exactly one dataset, or it is no volume, or of another type.
    FormatError
        When the file is damaged or no HDF5 file.
    """

    is_folder = False
    placement = Placement()

    def __init__(self, path: Path, *, gray: bool = True, as_said: bool = True, selection: Selection = ANYTHING) -> None:
        self._path = path
        self._gray = gray
        with opened(path) as file:
            dataset = _only_dataset(file, path)
            self._name = dataset.name
            demand_stored(dataset, path)
            said = said_axes(dataset) if as_said else None
            stored = dataset.dtype.newbyteorder("=")
            shape, chunks = dataset.shape, dataset.chunks
        if said is None and selection.axes is None and (len(shape) != 3 or 0 in shape):
            raise InputError(f"{self._name} of {path} has the shape {shape}; expected (x, y, z)")
        self._layout = layout_of(shape, said or "xyz", selection, name=f"{self._name} of {path}")
        if as_said and said is None and selection.axes is None:
            say_how_read(shape, f"{self._name} of {path}")
        self.dtype = gray_type(stored, f"{self._name} of {path}") if gray else stored
        self.shape: tuple[int, int, int] = self._layout.shape
        self.chunks: tuple[int, int, int] = self._layout.in_space(chunks or (1, *shape[1:]), missing=1)
        if gray and stored.kind == "f" and math.prod(shape) * stored.itemsize <= LOOKED_THROUGH:
            with opened(path) as file:
                demand_finite(file[self._name][()], f"{self._name} of {path}")

    def read(self, roi: Roi) -> np.ndarray:
        """Return the voxels of `roi`, axes (z, y, x); only they are read from the file."""
        with opened(self._path) as file:
            values = self._layout.arrange(file[self._name][self._layout.index(roi)])
        name = f"{self._name} of {self._path}"
        if self._gray:
            return gray_values(values, name)
        demand_finite(values, name)
        return values.astype(values.dtype.newbyteorder("="), copy=False)

    def blocks(self, limit: int) -> Iterator[tuple[Roi, np.ndarray]]:
        """Yield the whole volume, some columns at a time (or planes, if the file has them first): they lie together."""
        axis = next(axis for axis in self._layout.axes if axis in SPACE)
        along = SPACE.index(axis)
        step = max(1, limit * self.shape[along] // (math.prod(self.shape) * self.dtype.itemsize))
        for begin in range(0, self.shape[along], step):
            first, end = [0, 0, 0], list(self.shape)
            first[along], end[along] = begin, min(begin + step, self.shape[along])
            roi = Roi((first[0], first[1], first[2]), (end[0], end[1], end[2]))
            yield roi, self.read(roi)

    def planes(self, roi: Roi) -> Iterator[np.ndarray]:
        """Yield the planes of `roi`, which are all in memory at once: they are scattered through the file."""
        return iter(self.read(roi))


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open an HDF5 file to read; what is damaged becomes a FormatError.

    Raises
    ------
    InputError
        It is no regular file, or open in a program that writes it.
    FormatError
        It is damaged, or no HDF5 file.
    """
    demand_file(path)
    with decoding(path, "HDF5"):
        try:
            file = h5py.File(path, "r")
        except BlockingIOError:
            raise InputError(
                f"{path} is open for writing in another program; expected a file that nobody changes. Close it there"
            ) from None
        with file:
            yield file


def said_axes(dataset: h5py.Dataset) -> str | None:
    """Return the axes that a dataset names, the slowest first: ilastik's axistags, or HDF5's dimension labels."""
    text = dataset.attrs.get("axistags")
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    if isinstance(text, str):
        with suppress(ValueError, TypeError, KeyError, RecursionError):
            return "".join(str(axis["key"])[:1] for axis in json.loads(text)["axes"]).lower()
    return labelled_axes(dataset)


def labelled_axes(dataset: h5py.Dataset) -> str | None:
    """Return the first letters of HDF5's dimension labels, `?` where only others have one; None where none has."""
    labels = [str(dimension.label).strip().lower() for dimension in dataset.dims]
    return "".join(label[:1] or "?" for label in labels) if any(labels) else None


def say_how_read(shape: tuple[int, ...], name: str) -> None:
    """Say that an array of which nothing is said is read as x, y, z, where it looks like z, y, x."""
    if shape[2] > max(shape[:2]):
        logger.warning(
            "%s does not say what its axes are; it is read as x, y, z, as the original's files are: %d planes of %d x "
            "%d pixels. --axes zyx reads it the other way round",
            name,
            shape[2],
            *shape[:2],
        )


def demand_stored(dataset: h5py.Dataset, path: str | os.PathLike[str]) -> None:
    """Compare what a dataset declares with the bytes that the file has for it, before memory is taken for it.

    Raises
    ------
    InputError
        Its values are no numbers, or lie in other files.
    FormatError
        The file does not hold them.
    """
    if dataset.dtype.kind not in "buif" or dataset.dtype.itemsize > 16:
        raise InputError(f"{dataset.name} of {path} holds {dataset.dtype} values; expected numbers")
    if dataset.is_virtual or _is_external(dataset):
        raise InputError(
            f"{dataset.name} of {path} keeps its values in other files (external or virtual); expected a file that "
            "holds them itself. Copy it with h5repack, or name the other files"
        )
    if dataset.shape is None:
        raise InputError(f"{dataset.name} of {path} is empty; expected a volume")
    stored, declared = dataset.id.get_storage_size(), dataset.nbytes
    if dataset.chunks is None:
        offset = dataset.id.get_offset()
        if declared and (stored < declared or (offset is not None and offset + declared > os.path.getsize(path))):
            raise damaged(
                path, "HDF5", f"it is truncated: {dataset.name} declares {declared} bytes, {stored} are there"
            )
        return
    if stored > os.path.getsize(path) or declared > 2**20 + MOST_FROM_A_BYTE * stored:
        raise damaged(path, "HDF5", f"it is incomplete: {dataset.name} declares {declared} bytes, {stored} are there")
    chunks = math.prod(-(-side // part) for side, part in zip(dataset.shape, dataset.chunks, strict=True))
    written = dataset.id.get_num_chunks()
    if written < chunks:
        logger.warning(
            "Warning: %s of %s lacks %d of its %d chunks; they are read as 0",
            dataset.name,
            path,
            chunks - written,
            chunks,
        )


def open_address(address: Address, reading: Reading) -> Volume:
    """Open the one dataset of a file."""
    octave = reading.rules.octave_images
    gray = not octave and reading.role == "image"
    volume = Hdf5Volume(address.path, gray=gray, as_said=not octave, selection=reading.selection)
    if reading.role == "segmentation":
        return SegmentationVolume(volume, str(address))
    return LabelVolume(volume, str(address)) if reading.role == "label" and not octave else volume


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
    InputError
        Its values are no numbers, or lie in other files.
    FormatError
        The file is damaged, or has no such dataset.
    """
    with opened(path) as file:
        dataset = numeric_dataset(file, path, name)
        offset = dataset.id.get_offset()
        if offset is None or not dataset.size or file.userblock_size:
            return np.asarray(dataset[()])
        return np.memmap(path, dataset.dtype, "r", offset, dataset.shape)


def numeric_dataset(file: h5py.File, path: str | os.PathLike[str], name: str) -> h5py.Dataset:
    """Return the dataset `name` of an open file, once it is known to hold what it declares (`demand_stored`).

    Raises
    ------
    InputError
        Its values are no numbers, or lie in other files.
    FormatError
        It is not there, or the file does not hold its values.
    """
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise FormatError(f"{path} holds no dataset {name!r}; found {', '.join(file) or 'nothing'}. Make it again")
    demand_stored(dataset, path)
    return dataset


def write_datasets(
    path: str | os.PathLike[str],
    arrays: Mapping[str, np.ndarray],
    *,
    dtype: np.dtype | type | None = None,
    naming: Naming = AT_ONCE,
) -> None:
    """Write arrays as datasets of an HDF5 file, whole or not at all: contiguous, no filters, no attributes.

    Parameters
    ----------
    path : path
        What is there is replaced.
    arrays : mapping of str to ndarray of a number type, any shape
        Datasets by name; views are fine: a slab along the first axis is copied at a time.
    dtype : dtype, optional
        Type of all datasets; default: of each array, and float64 for bool, as Octave stores its logical class.
    naming : Naming
        See `whole_file`.
    """
    with whole_file(path, naming=naming) as partial:
        fill_datasets(partial, arrays, dtype=dtype)


def fill_datasets(
    path: Path, arrays: Mapping[str, np.ndarray], *, dtype: np.dtype | type | None = None, at_once: bool = False
) -> None:
    """Write as `write_datasets`, but into `path`, which is empty, for callers that keep several files back.

    Parameters
    ----------
    path, arrays, dtype
        As of `write_datasets`.
    at_once : bool
        Whether datasets are converted and written side by side, for callers that do not write several files so.
    """
    types = {name: np.dtype(dtype or _stored_type(array.dtype)) for name, array in arrays.items()}
    if not 1 <= len(arrays) <= 2 or not all(array.size for array in arrays.values()):
        fill(path, _image({name: array.astype(types[name]) for name, array in arrays.items()}))
        return
    header, offsets = _header({name: (array.shape, types[name]) for name, array in arrays.items()})
    with open(path, "w+b", buffering=0, opener=uncut) as raw:
        _write_at(raw.fileno(), np.frombuffer(header, np.uint8), 0)

        def write(name: str) -> None:
            place = offsets[name]
            for slab in _slabs(arrays[name], types[name]):
                place = _write_at(raw.fileno(), slab, place)
                release(arrays[name])

        if at_once:
            for_each(write, list(arrays))
        else:
            for name in arrays:
                write(name)


def write_small(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], *, naming: Naming = AT_ONCE) -> None:
    """Write arrays that fit into memory twice as datasets of an HDF5 file, as h5py itself does, whole or not at all.

    HDF5 works in memory alone: where it meets a full disk, it ends the process.

    Parameters
    ----------
    arrays : mapping of str to ndarray of a number type, any shape
    """
    with whole_file(path, naming=naming) as partial:
        fill(partial, _image(arrays))


def _in_memory() -> h5py.File:
    """Return a new file that lies in memory alone; several threads may have one at a time."""
    return h5py.File(f"in memory {next(_numbers)}", "w", driver="core", backing_store=False)


_numbers = itertools.count()


def _image(arrays: Mapping[str, np.ndarray]) -> bytes:
    with _in_memory() as file:
        for name, array in arrays.items():
            file[name] = array
        file.flush()
        return bytes(file.id.get_file_image())


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

    def collect(_: str, item: h5py.HLObject) -> bool | None:
        if isinstance(item, h5py.Dataset):
            found.append(item)
        return True if len(found) >= MOST_DATASETS else None

    file.visititems(collect)
    if len(found) != 1:
        names = ", ".join(dataset.name for dataset in found) or "none"
        raise InputError(f"{path} holds {len(found)} datasets ({names}); expected one of shape (x, y, z)")
    return found[0]


def _is_external(dataset: h5py.Dataset) -> bool:
    return bool(dataset.id.get_create_plist().get_external_count())


def _stored_type(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.float64) if dtype.kind == "b" else dtype


FIRST_VALUES = 2048
"""Where HDF5 begins to place values behind the descriptions of one or two datasets."""
END_OF_FILE = 40
"""Where the file's size stands in it."""


def _header(datasets: Mapping[str, tuple[tuple[int, ...], np.dtype]]) -> tuple[bytes, dict[str, int]]:
    """Return the beginning of an HDF5 file, as HDF5 itself writes it, and where the values of each dataset go.

    HDF5 works in memory alone: where it meets a full disk, it ends the process. There the datasets get no place at
    first, as memory would be needed for it; places, and what else depends on them, are put in afterwards.
    """
    with _in_memory() as file:
        for name, (shape, dtype) in datasets.items():
            _describe(file, name, shape, dtype)
        file.flush()
        image = bytearray(file.id.get_file_image())
    assert len(image) <= FIRST_VALUES
    offsets, at, found = {}, FIRST_VALUES, 0
    for name, (shape, dtype) in datasets.items():
        size = math.prod(shape) * dtype.itemsize
        found = image.index(NO_PLACE + size.to_bytes(8, "little"), found)
        place = found + len(LAYOUT)
        image[place : place + 8] = at.to_bytes(8, "little")
        image[place - 6], image[place - 17] = 1, 1  # the message is constant; values have their place from the start
        offsets[name], at = at, at + size
    image[END_OF_FILE : END_OF_FILE + 8] = at.to_bytes(8, "little")
    return bytes(image), offsets


LAYOUT = b"\x03\x01"
"""The message that says where contiguous values are."""
NO_PLACE = LAYOUT + 8 * b"\xff"


def _describe(file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Make a contiguous dataset without a place for its values, and without a date."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.CONTIGUOUS)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    plan.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype, logical=True), space, plan)


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


def _write_at(descriptor: int, slab: np.ndarray, place: int) -> int:
    """Write a slab from a byte of a file on; return where it ends."""
    rest = slab.reshape(-1).view(np.uint8).data
    while rest:
        written = os.pwrite(descriptor, rest, place)
        rest, place = rest[written:], place + written
    return place
