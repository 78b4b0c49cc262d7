"""Volumes in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.errors import InputError
from cdeep3m.geometry import Placement, Roi

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE_TYPES = ("uint8", "uint16", "float32", "float64")


class ArrayVolume:
    """An array as a volume.

    Parameters
    ----------
    array : ndarray of uint8, uint16, float32 or float64, shape (z, y, x)
        Not copied; memory maps are read as they are needed.
    placement : Placement, optional
        Size of its voxels.

    Raises
    ------
    InputError
        The array has another number of axes, no voxels, or another type.
    """

    is_folder = False

    def __init__(self, array: np.ndarray, placement: Placement | None = None) -> None:
        if array.ndim != 3 or not array.size:
            raise InputError(f"found an array of shape {array.shape}; expected (z, y, x)")
        if array.dtype.name not in IMAGE_TYPES:
            raise InputError(f"found an array of {array.dtype}; expected {', '.join(IMAGE_TYPES)}")
        z, y, x = array.shape
        self.array, self.shape, self.dtype = array, (z, y, x), array.dtype
        self.chunks = (1, y, x)
        self.placement = placement or Placement()

    def read(self, roi: Roi) -> np.ndarray:
        """Return the voxels of `roi` as a view, axes (z, y, x)."""
        return self.array[roi.slices]

    def blocks(self, limit: int) -> Iterator[tuple[Roi, np.ndarray]]:
        """Yield the whole volume, some planes at a time."""
        z, y, x = self.shape
        step = max(1, limit // (y * x * self.dtype.itemsize))
        for begin in range(0, z, step):
            roi = Roi((begin, 0, 0), (min(begin + step, z), y, x))
            yield roi, np.asarray(self.read(roi))
