"""Volumes of chunks: one array of a store, read a box at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.errors import InputError
from cdeep3m.geometry import Roi
from cdeep3m.volumes.chunk_files import check_chunks
from cdeep3m.volumes.stores import CACHE_BYTES, reaching

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tensorstore

    from cdeep3m.geometry import Placement
    from cdeep3m.volumes.axes import Layout

NUMBERS = "uif"
"""Kinds of values that are images or labels."""


class ChunkedVolume:
    """One array of a store.

    Parameters
    ----------
    array : TensorStore
        Of any origin: it is read from its first element on.
    layout : Layout
        What its axes mean.
    place : Placement
        Voxel size, unit and offset.
    name : str
        What a user calls it, for messages.

    Attributes
    ----------
    cache_bytes : int
        So much of what was read stays in memory.
    """

    is_folder = False

    def __init__(self, array: tensorstore.TensorStore, layout: Layout, place: Placement, *, name: str) -> None:
        dtype = np.dtype(array.dtype.numpy_dtype)
        if dtype.kind not in NUMBERS:
            raise InputError(f"{name} holds {array.dtype.name} values; expected whole numbers or floating point")
        decoded = array.chunk_layout.read_chunk.shape or ()
        sides = [side or 1 for side in decoded]
        check_chunks(array.spec().to_json(), name=name, item_bytes=dtype.itemsize, chunk=sides)
        self.shape = layout.shape
        self.dtype = dtype.newbyteorder("=")
        self.chunks = layout.in_space(_chunk_shape(array), missing=1)
        self.placement = place
        self.cache_bytes = min(CACHE_BYTES, math.prod(self.shape) * self.dtype.itemsize)
        self._array = array[tuple(slice(None) for _ in layout.axes)].translate_to[(0,) * array.rank]
        self._layout = layout
        self._name = name

    def read(self, roi: Roi) -> np.ndarray:
        """Return the voxels of `roi`, axes (z, y, x); chunks that are not stored are zeros, or the store's fill value.

        Raises
        ------
        InputError, FormatError, DownloadError
            A chunk is damaged, or the store cannot be read.
        """
        if 0 in roi.shape:
            return np.empty(roi.shape, self.dtype)
        with reaching(self._name):
            values = self._array[self._layout.index(roi)].read(order="C").result()
        return self._layout.arrange(values).astype(self.dtype, copy=False)

    def blocks(self, limit: int) -> Iterator[tuple[Roi, np.ndarray]]:
        """Yield the whole volume in boxes of about `limit` bytes, each of whole chunks."""
        for roi in boxes_of_chunks(self.shape, self.chunks, limit // self.dtype.itemsize):
            yield roi, self.read(roi)

    def planes(self, roi: Roi) -> Iterator[np.ndarray]:
        """Yield the planes of `roi`; those that share chunks are read together."""
        depth = self.chunks[0]
        (z0, y0, x0), (z1, y1, x1) = roi.begin, roi.end
        cuts = [z0, *range((z0 // depth + 1) * depth, z1, depth), z1]
        for begin, end in zip(cuts, cuts[1:], strict=False):
            yield from self.read(Roi((begin, y0, x0), (end, y1, x1)))


def boxes_of_chunks(shape: tuple[int, int, int], chunks: tuple[int, int, int], voxels: int) -> Iterator[Roi]:
    """Yield boxes of whole chunks that make up a volume, in order; of about `voxels`, or of one chunk.

    Examples
    --------
    >>> [box.shape for box in boxes_of_chunks((4, 6, 5), (2, 3, 3), 72)]
    [(2, 6, 5), (2, 6, 5)]
    >>> [box.end for box in boxes_of_chunks((2, 6, 5), (2, 3, 3), 1)]
    [(2, 3, 3), (2, 3, 5), (2, 6, 3), (2, 6, 5)]
    """
    step = list(chunks)
    for axis in (2, 1, 0):
        others = step[0] * step[1] * step[2] // step[axis]
        room = voxels // others
        step[axis] = min(max(step[axis], room // chunks[axis] * chunks[axis]), _whole(shape[axis], chunks[axis]))
        if step[axis] < shape[axis]:
            break
    for z in range(0, shape[0], step[0]):
        for y in range(0, shape[1], step[1]):
            for x in range(0, shape[2], step[2]):
                end = (min(z + step[0], shape[0]), min(y + step[1], shape[1]), min(x + step[2], shape[2]))
                yield Roi((z, y, x), end)


def _whole(side: int, chunk: int) -> int:
    return -(-side // chunk) * chunk


def _chunk_shape(array: tensorstore.TensorStore) -> tuple[int, ...]:
    """Return the shape that is read at a time: a chunk, or the inner chunk of a shard."""
    found = array.chunk_layout.read_chunk.shape
    sides = [side or whole for side, whole in zip(found or array.shape, array.shape, strict=True)]
    return tuple(min(side, whole) for side, whole in zip(sides, array.shape, strict=True))
