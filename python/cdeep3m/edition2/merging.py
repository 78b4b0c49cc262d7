"""From the packages of a plane to the whole plane and its 8-bit map (Merge_LargeData.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.edition2.dividing import HALO, Area
from cdeep3m.edition2.padding import LARGEST_PADDED

if TYPE_CHECKING:
    from collections.abc import Sequence


WHITE = 255


def crop_begin(side: int) -> int:
    """Return where the image begins in the canvas of a volume that is one package, along an axis of `side` voxels."""
    return HALO if side <= LARGEST_PADDED else 0


def scale_of(plane: np.ndarray) -> int:
    """Return the first of 2, 4, .. 65536 nearest to the plane's largest value (defect 2: planes jump).

    Parameters
    ----------
    plane : ndarray of uint8 or uint16, shape (y, x)
    """
    powers = 2 ** np.arange(1, 17)
    return int(powers[np.argmin(np.abs(powers - float(plane.max())))])


def to_map(plane: np.ndarray) -> np.ndarray:
    """Scale a plane by its own power of two; halves go to even, and values above 255 wrap around (defect 1).

    Parameters
    ----------
    plane : ndarray of uint8 or uint16, shape (y, x)

    Returns
    -------
    ndarray of uint8

    Examples
    --------
    >>> to_map(np.uint8([[129, 64, 1]])).tolist(), to_map(np.uint8([[255, 128]])).tolist()
    ([[1, 128, 2]], [[254, 128]])
    """
    scaled = WHITE / scale_of(plane) * plane
    return np.rint(scaled).astype(np.int64).astype(np.uint8)


def stitched(tiles: Sequence[np.ndarray], areas: Sequence[Area], shape: tuple[int, int]) -> np.ndarray:
    """Return a plane made of the canvases of its packages.

    Parameters
    ----------
    tiles : sequence of ndarray, shape (1024, 1024)
        The same plane of every package.
    areas : sequence of tuple of int
        What every package reads, (y0, y1, x0, x1), as `dividing.areas` returns them.
    shape : tuple of int
        (y, x) of the plane.

    Returns
    -------
    ndarray, shape (y, x)
    """
    plane = np.zeros(shape, tiles[0].dtype)
    for tile, (top, bottom, left, right) in zip(tiles, areas, strict=True):
        (y0, y1, y), (x0, x1, x) = _trusted(top, bottom, shape[0]), _trusted(left, right, shape[1])
        plane[y0:y1, x0:x1] = tile[y : y + y1 - y0, x : x + x1 - x0]
    return plane


def _trusted(begin: int, end: int, side: int) -> tuple[int, int, int]:
    """Return the part of a package's range that it is trusted for, and where that begins in its canvas."""
    if (begin, end) == (0, side):
        return begin, end, crop_begin(side)
    return (begin + HALO if begin else 0), (end if end == side else min(side, end - HALO)), HALO
