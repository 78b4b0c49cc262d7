"""Stacks in HDF5 files, predicted plane by plane as predict_seg_new.bin does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np

from cdeep3m.errors import FormatError, InputError, MissingFileError
from cdeep3m.geometry import from_caffe_axes
from cdeep3m.system.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cdeep3m.engines.embedded.prediction.predictor import Predictor


def predict_file(
    net: Predictor, stack: Path, prefix: Path, *, mean: float = 0.0, start: int = 0, count: int | None = None
) -> Iterator[int]:
    """Predict planes of a stack, each to a file of its own.

    Parameters
    ----------
    net : Predictor
        What predicts.
    stack : Path
        HDF5 file with `/data` of shape (x, y, z) or (1, x, y, z).
    prefix : Path
        Plane z goes to `<prefix>_shift_<z>.h5`: `/data`, float32, shape (1, classes, x, y).
    mean : float
        Subtracted from every voxel.
    start : int
        The first plane.
    count : int, optional
        How many planes; default: all from `start` on.

    Yields
    ------
    int
        The plane that has been written.

    Raises
    ------
    MissingFileError, FormatError
        There is no such stack.
    InputError
        Planes that the stack does not have.
    """
    data = read_stack(stack)
    planes = range(start, data.shape[0] if count is None else start + count)
    if not planes or planes[0] < 0 or planes[-1] >= data.shape[0]:
        raise InputError(
            f"{stack} has planes 0 to {data.shape[0] - 1}; {planes.start} to {planes.stop - 1} were asked for"
        )
    windows = (window_at(data, z, net.frames, mean=mean) for z in planes)
    for z, probabilities in zip(planes, net.probabilities(windows), strict=True):
        with whole_file(prefix.with_name(f"{prefix.name}_shift_{z}.h5")) as partial, h5py.File(partial, "w") as file:
            file["data"] = probabilities[np.newaxis]
        yield z


def window_at(data: np.ndarray, z: int, frames: int, *, mean: float = 0.0) -> np.ndarray:
    """Return the planes that a net sees when it predicts plane `z`: shape (frames, y, x), zeros outside the volume.

    Examples
    --------
    >>> window_at(np.array([[[5]], [[6]]]), 0, 3).ravel().tolist()
    [0, 5, 6]
    """
    planes: Sequence[int] = range(z - frames // 2, z - frames // 2 + frames)
    outside = np.zeros_like(data[0], dtype=np.float32 if mean else data.dtype)
    shift = np.float32(mean) if mean else data.dtype.type(0)
    return np.stack([data[k] - shift if 0 <= k < len(data) else outside for k in planes])


def read_stack(path: Path) -> np.ndarray:
    """Return `/data` of an HDF5 stack as (z, y, x).

    Raises
    ------
    MissingFileError
        There is no such file.
    FormatError
        It is no HDF5 file, or holds no stack.
    """
    if not path.is_file():
        raise MissingFileError(f"{path} is not there; an HDF5 stack with /data of shape (x, y, z) was expected")
    try:
        with h5py.File(path) as file:
            data = file["data"][()]
    except (OSError, KeyError, TypeError) as error:
        raise FormatError(f"{path} is no HDF5 file with /data, or is cut off ({error})") from None
    if data.ndim == 4 and data.shape[0] == 1:
        data = data[0]
    if data.ndim != 3 or not data.size:
        raise FormatError(f"{path} holds /data of shape {data.shape}; (x, y, z) was expected")
    return from_caffe_axes(data)
