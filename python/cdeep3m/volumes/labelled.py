"""Training volumes in HDF5: images and labels in one file."""

from __future__ import annotations

import os

import h5py

from cdeep3m.errors import InputError, MissingFileError
from cdeep3m.volumes.damage import decoding


def labelled_shape(path: str | os.PathLike[str]) -> tuple[int, int, int]:
    """Return the size of a training volume, reading nothing of its values.

    Parameters
    ----------
    path : path
        HDF5 file with `/data` and `/label` of one shape, as PreprocessTrainingData writes them.

    Returns
    -------
    tuple of int
        Voxels along (x, y, z).

    Raises
    ------
    MissingFileError
        `path` is not there.
    FormatError
        It is no HDF5 file, or cut off.
    InputError
        A dataset is missing, or the two differ in shape.
    """
    if not os.path.isfile(path):
        raise MissingFileError(f"{path} is not there; expected a training volume")
    with decoding(path, "HDF5"), h5py.File(path, "r") as file:
        return _shape(path, file)


def _shape(path: str | os.PathLike[str], file: h5py.File) -> tuple[int, int, int]:
    missing = [name for name in ("data", "label") if not isinstance(file.get(name), h5py.Dataset)]
    if missing:
        found = ", ".join(f"/{name}" for name in file) or "nothing"
        raise InputError(
            f"{path} has no /{missing[0]} (found {found}); expected /data and /label. "
            "Make it again with PreprocessTrainingData"
        )
    data, label = (_as_3d(file[name].shape) for name in ("data", "label"))
    if data != label or len(data) != 3:
        raise InputError(f"{path}: /data is {data} and /label {label}; expected two volumes (x, y, z) of one size")
    return data


def _as_3d(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a volume of CDeep3M2, whose planes are 2-D and whose validation is (z, y, x, 1)."""
    if len(shape) == 2:
        return (*shape, 1)
    return shape[2::-1] if len(shape) == 4 and shape[3] == 1 else shape
