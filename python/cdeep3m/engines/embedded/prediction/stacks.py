"""Stacks in HDF5 files, predicted plane by plane as predict_seg_new.bin does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.engines.base import plane_file
from cdeep3m.errors import FormatError, InputError, MissingFileError
from cdeep3m.geometry import from_caffe_axes
from cdeep3m.system.files import LEFT_TO_SYSTEM
from cdeep3m.volumes.gray import demand_finite
from cdeep3m.volumes.hdf5 import numeric_dataset, opened, write_small

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cdeep3m.engines.embedded.prediction.predictor import Predictor


ALONG_Z = 2
"""Number of Caffe's axis along which the planes of a volume follow each other."""


def predict_file(
    net: Predictor,
    stack: Path,
    prefix: Path,
    *,
    mean: float = 0.0,
    start: int = 0,
    end: int = 0,
    axis: int = ALONG_Z,
) -> Iterator[int]:
    """Predict planes of a stack, each to a file of its own.

    Parameters
    ----------
    net : Predictor
        What predicts.
    stack : Path
        HDF5 file with `/data` of shape (x, y, z) or (1, x, y, z).
    prefix : Path
        Plane k goes to `<prefix>_shift_<k>.h5`: `/data`, float32, shape (1, classes, x, y).
    mean : float
        Subtracted from every voxel.
    start, end : int
        The first plane, and the one after the last; see `planned_planes`.
    axis : int
        Caffe's axis along which the planes follow each other: 0 is x, 1 is y, 2 is z.

    Yields
    ------
    int
        The plane that has been written.

    Raises
    ------
    MissingFileError, FormatError
        There is no such stack.
    InputError
        No planes, or no such axis.
    """
    if axis not in range(ALONG_Z + 1):
        raise InputError(f"--shift_axis={axis}: expected 0, 1 or 2 for x, y or z")
    data = read_stack(stack)
    planes = planned_planes(data.shape[ALONG_Z - axis], start=start, end=end)
    if not planes:
        raise InputError(
            f"--start_slice={start} --shift_num={end}: expected an end (--shift_num) beyond the start; "
            f"{stack} has planes 0 to {data.shape[ALONG_Z - axis] - 1} along axis {axis}"
        )
    windows = (window_at(data, k, net.frames, mean=mean, axis=axis) for k in planes)
    for k, probabilities in zip(planes, net.probabilities(windows), strict=True):
        path = prefix.with_name(plane_file(prefix.name, k))
        write_small(path, {"data": probabilities[np.newaxis]}, naming=LEFT_TO_SYSTEM)
        yield k


def planned_planes(length: int, *, start: int = 0, end: int = 0) -> range:
    """Return the planes that predict_seg_new.bin writes for --start_slice and --shift_num, which is an end.

    Parameters
    ----------
    length : int
        Planes of the volume.
    start : int
        The first plane; below 0 it counts as 0.
    end : int
        The plane after the last one, which may lie beyond the volume. 0 means the volume's end, and a negative one the
        first plane alone.

    Examples
    --------
    >>> planned_planes(7), planned_planes(7, start=-2, end=3), planned_planes(7, start=5, end=9)
    (range(0, 7), range(0, 3), range(5, 9))
    >>> planned_planes(7, end=-1), len(planned_planes(7, start=4, end=3))
    (range(0, 1), 0)
    """
    first = max(start, 0)
    return range(first, first + 1) if end < 0 else range(first, end or length)


def window_at(data: np.ndarray, k: int, frames: int, *, mean: float = 0.0, axis: int = ALONG_Z) -> np.ndarray:
    """Return what a net sees when it predicts plane `k` along an axis: zeros outside the volume.

    The window's middle is at `k` along the axis; along the others it begins where the volume does.

    Parameters
    ----------
    data : ndarray, shape (z, y, x)
    k : int
        Which plane; it may lie outside.
    frames : int
        Planes that the net sees.
    mean : float
        Subtracted from the voxels of the volume.
    axis : int
        Caffe's axis: 0 is x, 1 is y, 2 is z.

    Returns
    -------
    ndarray, shape (frames, y, x)

    Examples
    --------
    >>> window_at(np.array([[[5]], [[6]]]), 0, 3).ravel().tolist()
    [0, 5, 6]
    >>> window_at(np.array([[[4, 5, 6]]]), 0, 1, axis=0).ravel().tolist()
    [0, 4, 5]
    """
    size = (frames, *data.shape[1:])
    begin = [0, 0, 0]
    begin[ALONG_Z - axis] = k - size[ALONG_Z - axis] // 2
    shift = np.float32(mean) if mean else data.dtype.type(0)
    axes = zip(begin, size, data.shape, strict=True)
    inside = [range(max(0, at), min(at + n, whole)) for at, n, whole in axes]
    window = np.zeros(size, np.float32 if mean else data.dtype)
    target = tuple(slice(part.start - at, part.stop - at) for part, at in zip(inside, begin, strict=True))
    if all(inside):
        window[target] = data[tuple(slice(part.start, part.stop) for part in inside)] - shift
    return window


def read_stack(path: Path) -> np.ndarray:
    """Return `/data` of an HDF5 stack as (z, y, x).

    Returns
    -------
    ndarray of a number type, shape (z, y, x)

    Raises
    ------
    MissingFileError
        There is no such file.
    InputError, FormatError
        It is no HDF5 file, holds no stack, or one with NaN or infinity.
    """
    if not path.is_file():
        raise MissingFileError(f"{path} is not there; expected an HDF5 stack with /data of shape (x, y, z)")
    with opened(path) as file:
        data = np.asarray(numeric_dataset(file, path, "data")[()])
    demand_finite(data, f"/data of {path}")
    if data.ndim == 4 and data.shape[0] == 1:
        data = data[0]
    if data.ndim != 3 or not data.size:
        raise FormatError(f"{path} holds /data of shape {data.shape}; expected (x, y, z)")
    return from_caffe_axes(data)
