"""A few planes that stand for a volume: their gray values, and small pictures of them."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.geometry import Roi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdeep3m.volumes.base import Volume

BINS = 256
"""Bins of a gray-value histogram, over the range of the type."""
COUNTED = 2**18
"""So many values are counted at a time: they take 8 bytes each meanwhile."""
BAND = 2**21
"""So many voxels are in memory at a time, of planes that need not be decoded as a whole."""
LARGEST_SIDE = 4096
"""Of larger planes so many rows and columns in their middle stand for the whole."""


def gray_histogram(values: np.ndarray, *, top: float = 1.0) -> np.ndarray:
    """Count gray values in 256 bins over the range of their type (uint8, uint16), or of 0 to `top` for floating point.

    Returns
    -------
    ndarray of int64, shape (256,)

    Examples
    --------
    >>> gray_histogram(np.array([0, 255, 256, 65535], np.uint16))[[0, 1, 255]].tolist()
    [2, 1, 1]
    """
    gray = to_8_bits(values, top=top).ravel()
    parts = (
        np.bincount(gray[begin : begin + COUNTED], minlength=BINS) for begin in range(0, max(1, len(gray)), COUNTED)
    )
    return np.sum(list(parts), axis=0)


def to_8_bits(values: np.ndarray, *, top: float = 1.0) -> np.ndarray:
    """Return gray values over the range of their type, or of 0 to `top` for floating point, as uint8.

    Parameters
    ----------
    values : ndarray of a gray type, any shape

    Returns
    -------
    ndarray of uint8, that shape
    """
    if values.dtype.kind == "f":
        return (np.clip(np.nan_to_num(values / top), 0, 1) * (BINS - 1)).astype(np.uint8)
    if values.dtype.itemsize == 1:
        return values.astype(np.uint8)
    return (values >> 8 * (values.dtype.itemsize - 1)).astype(np.uint8)


def white_of(values: np.ndarray) -> float:
    """Return what white is in floating-point gray values: 1, or 255 or 65535 where they were made of so many bits.

    The original stores images of 8 and 16 bits as float32 in its HDF5 files, with their values as they are.

    Parameters
    ----------
    values : ndarray of float32 or float64, any shape

    Examples
    --------
    >>> white_of(np.float32([0.5, 1])), white_of(np.float32([3, 200])), white_of(np.float32([0, 256]))
    (1.0, 255.0, 65535.0)
    """
    largest = float(np.nan_to_num(values).max(initial=0))
    return next((white for white in (1.0, 255.0) if largest <= white), 65535.0)


def sampled(depth: int, most: int) -> list[int]:
    """Return so many planes at most, evenly spaced, the first and the last among them.

    Examples
    --------
    >>> sampled(3, 8), sampled(100, 4), sampled(9, 1)
    ([0, 1, 2], [0, 33, 66, 99], [4])
    """
    if most == 1:
        return [depth // 2]
    return sorted({round(at) for at in np.linspace(0, depth - 1, min(depth, most)).tolist()})


def middle(shape: tuple[int, int, int], z: int) -> Roi:
    """Return the box of a plane, or of its middle where a plane is too large to be read as a whole.

    Examples
    --------
    >>> middle((5, 300, 200), 4), middle((5, 9000, 100), 0).shape
    (Roi(begin=(4, 0, 0), end=(5, 300, 200)), (1, 4096, 100))
    """
    sides = [min(side, LARGEST_SIDE) for side in shape[1:]]
    top, left = ((whole - side) // 2 for whole, side in zip(shape[1:], sides, strict=True))
    return Roi((z, top, left), (z + 1, top + sides[0], left + sides[1]))


def sampled_planes(volume: Volume, most: int) -> Iterator[np.ndarray]:
    """Yield so many planes of a volume at most, evenly spaced, axes (y, x); of large ones their middle.

    Yields
    ------
    ndarray of the volume's type, shape (y, x)
    """
    for z in sampled(volume.shape[0], most):
        yield volume.read(middle(volume.shape, z))[0]


def parts_of_plane(volume: Volume, box: Roi) -> Iterator[np.ndarray]:
    """Yield a box of one plane in bands of rows, of about `BAND` voxels where not all of the plane is decoded for each.

    Yields
    ------
    ndarray of the volume's type, shape (y, x)
    """
    (z, top, left), (_, bottom, right) = box.begin, box.end
    rows = volume.chunks[1]
    step = bottom - top if rows >= volume.shape[1] else max(1, BAND // (right - left) // rows) * rows
    cuts = [top, *range((top // step + 1) * step, bottom, step), bottom]
    for begin, end in zip(cuts, cuts[1:], strict=False):
        yield volume.read(Roi((z, begin, left), (z + 1, end, right)))[0]


def reduced(plane: np.ndarray, side: int) -> np.ndarray:
    """Average a plane of uint8 down by a whole number, so that no side is longer than `side`.

    Parameters
    ----------
    plane : ndarray of uint8, shape (y, x)

    Returns
    -------
    ndarray of uint8, shape (y, x)

    Examples
    --------
    >>> reduced(np.uint8([[0, 4, 8, 8], [0, 4, 8, 8]]), 2).tolist()
    [[2, 8]]
    """
    step = max(1, -(-max(plane.shape) // side))
    if step == 1:
        return plane
    rows, columns = (max(1, length // step) for length in plane.shape)
    whole = plane[: rows * step, : columns * step]
    height, width = (min(step, length) for length in plane.shape)
    return np.rint(whole.reshape(rows, height, columns, width).mean(axis=(1, 3))).astype(np.uint8)


def data_uri(picture: np.ndarray) -> str:
    """Return a picture as a PNG file in an address, which needs no file and no network.

    Parameters
    ----------
    picture : ndarray of uint8, shape (y, x) or (y, x, 3)
    """
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
