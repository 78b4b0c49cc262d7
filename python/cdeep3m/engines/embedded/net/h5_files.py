"""Training volumes in HDF5 files, as CDeep3M and CDeep3M2 write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.engines.base import LabelledVolume
from cdeep3m.volumes.hdf5 import read_dataset

if TYPE_CHECKING:
    from pathlib import Path


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

    Raises
    ------
    InputError, FormatError
        A file is damaged, no HDF5, or lacks a dataset of numbers.
    """
    return LabelledVolume(as_volume(read_dataset(path, "data")), as_volume(read_dataset(label_path or path, "label")))


def as_volume(array: np.ndarray) -> np.ndarray:
    """Return a volume that CDeep3M2 stored in its own ways as (x, y, z), and any other as it is.

    Its single planes are 2-D, and its validation data (z, y, x, 1), which no net takes.

    Parameters
    ----------
    array : ndarray of a number type, shape (x, y), (x, y, z), (c, x, y, z) or (z, y, x, 1)

    Returns
    -------
    ndarray of that type, shape (x, y, z) or (c, x, y, z)

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
