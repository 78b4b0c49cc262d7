"""The HDF5 files that a net reads in training: list files, labelled volumes, batches in rows."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import h5py
import numpy as np

from cdeep3m.engines.base import LabelledVolume
from cdeep3m.errors import FormatError, MissingFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read_list(path: Path, folder: Path) -> list[Path]:
    """Read a list of files, one a line; relative names count from `folder`.

    Parameters
    ----------
    path : Path
        The list (train_file.txt); empty lines are skipped.
    folder : Path
        Working folder of the training.

    Raises
    ------
    MissingFileError
        The list or a file in it is not there.
    FormatError
        The list is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        raise MissingFileError(f"{path} is not there; a list of .h5 files, one a line, was expected") from None
    files = [folder / line.strip() for line in lines if line.strip()]
    if not files:
        raise FormatError(f"{path} is empty; a list of .h5 files, one a line, was expected")
    for file in files:
        if not file.is_file():
            raise MissingFileError(f"{file} is not there, but {path} lists it")
    return files


def open_training_file(path: Path, label_path: Path | None = None) -> LabelledVolume:
    """Open the `/data` and `/label` that training patches are cut from.

    Parameters
    ----------
    path : Path
        HDF5 file with `/data` of shape (x, y, z) or (c, x, y, z) and, without `label_path`, `/label`; or as CDeep3M2
        writes them (`as_volume`).
    label_path : Path, optional
        Another file, which holds `/label`.

    Returns
    -------
    LabelledVolume
        Memory maps where the file allows it, else arrays; in the type of the file.
    """
    return LabelledVolume(as_volume(open_array(path, "data")), as_volume(open_array(label_path or path, "label")))


def as_volume(array: np.ndarray) -> np.ndarray:
    """Return a volume that CDeep3M2 stored in its own ways as (x, y, z), and any other as it is.

    Its single planes are 2-D, and its validation data (z, y, x, 1), which no net takes.

    Examples
    --------
    >>> [as_volume(np.zeros(shape)).shape for shape in ((5, 6), (3, 5, 6, 1), (3, 5, 6, 2))]
    [(5, 6, 1), (6, 5, 3), (3, 5, 6, 2)]
    """
    if array.ndim == 2:
        return array[..., np.newaxis]
    if array.ndim == 4 and array.shape[3] == 1 and array.shape[0] > 1:
        return array[..., 0].transpose(2, 1, 0)
    return array


def open_array(path: Path, name: str) -> np.ndarray:
    """Open one dataset: as a read-only memory map where it lies in the file in one piece, else loaded.

    Raises
    ------
    FormatError
        The file is damaged, no HDF5, or lacks the dataset.
    """
    with opened(path) as file:
        dataset = numeric_dataset(file, path, name)
        offset = _contiguous_offset(file, dataset)
        if offset is None:
            return np.asarray(dataset[()])
        return np.memmap(path, dtype=dataset.dtype, mode="r", offset=offset, shape=dataset.shape)


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file to read; what h5py cannot read becomes a FormatError."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except FileNotFoundError:
        raise MissingFileError(f"{path} is not there; an HDF5 file was expected") from None
    except OSError as error:
        raise FormatError(f"{path} is no HDF5 file, or cut off; write it again ({_first_line(error)})") from error


def numeric_dataset(file: h5py.File, path: Path, name: str) -> h5py.Dataset:
    """Return the dataset `name` of an open file.

    Raises
    ------
    FormatError
        It is not there, or holds no numbers.
    """
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise FormatError(f"{path} has no dataset /{name}; found {', '.join(file) or 'nothing'}")
    if dataset.dtype.kind not in "buif":
        raise FormatError(f"{path}: /{name} holds {dataset.dtype}, numbers were expected")
    return dataset


def _contiguous_offset(file: h5py.File, dataset: h5py.Dataset) -> int | None:
    """Return where the values begin in the file; None when they have to be read through HDF5."""
    if dataset.chunks or dataset.is_virtual or dataset.external or file.userblock_size or not dataset.size:
        return None
    offset = dataset.id.get_offset()
    return None if offset is None else int(offset)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
