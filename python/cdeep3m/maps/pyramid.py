"""Pyramids: how large their levels are, and how a level is made of the one below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from cdeep3m.geometry import Coordinate, Roi

if TYPE_CHECKING:
    from collections.abc import Sequence

Method = Literal["mean", "first"]
"""Means of voxels for images and maps; the first voxel of each group for labels, which have no mean."""

SMALLEST_SIDE = 256
"""Levels are added until no side is longer."""
NEAR = 2**0.5
"""Axes whose voxels are at most so many times longer than the shortest are halved."""


@dataclass(frozen=True)
class LevelSize:
    """The size of a level.

    Attributes
    ----------
    shape : tuple of int
        Voxels along (z, y, x).
    factors : tuple of int
        How many voxels of the volume make one of the level, along (z, y, x).
    """

    shape: Coordinate
    factors: Coordinate


def level_sizes(shape: Coordinate, voxel_size: Sequence[float] | None, *, most: int = 16) -> list[LevelSize]:
    """Return the sizes of a pyramid's levels, the volume itself first.

    Axes are halved so that voxels become as long as wide; then all are.

    Parameters
    ----------
    shape : tuple of int
        Voxels of the volume along (z, y, x).
    voxel_size : sequence of float, optional
        Along (z, y, x); without it voxels count as cubes.
    most : int
        Levels at most.

    Examples
    --------
    >>> [level.factors for level in level_sizes((100, 4000, 4000), (30, 8, 8))]
    [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 8, 8), (4, 16, 16)]
    """
    sizes = [float(size) for size in voxel_size or (1, 1, 1)]
    levels = [LevelSize(shape, (1, 1, 1))]
    while max(levels[-1].shape) > SMALLEST_SIDE and len(levels) < most:
        last = levels[-1]
        halved = [side > 1 and size <= NEAR * min(sizes) for side, size in zip(last.shape, sizes, strict=True)]
        if not any(halved):
            halved = [side > SMALLEST_SIDE for side in last.shape]
        by = [2 if half else 1 for half in halved]
        sizes = [size * factor for size, factor in zip(sizes, by, strict=True)]
        z, y, x = (-(-side // factor) for side, factor in zip(last.shape, by, strict=True))
        fz, fy, fx = (before * factor for before, factor in zip(last.factors, by, strict=True))
        levels.append(LevelSize((z, y, x), (fz, fy, fx)))
    return levels


def below(box: Roi, upper: LevelSize, lower: LevelSize) -> Roi:
    """Return the voxels of the level below that a box of a level is made of.

    Examples
    --------
    >>> below(Roi((0, 2, 2), (4, 4, 3)), LevelSize((4, 4, 3), (1, 2, 2)), LevelSize((4, 8, 5), (1, 1, 1)))
    Roi(begin=(0, 4, 4), end=(4, 8, 5))
    """
    ratio = [u // w for u, w in zip(upper.factors, lower.factors, strict=True)]
    z0, y0, x0 = (begin * r for begin, r in zip(box.begin, ratio, strict=True))
    z1, y1, x1 = (min(end * r, side) for end, r, side in zip(box.end, ratio, lower.shape, strict=True))
    return Roi((z0, y0, x0), (z1, y1, x1))


def downsample(values: np.ndarray, ratio: Sequence[int], method: Method) -> np.ndarray:
    """Return a level's voxels, made of those below them.

    Parameters
    ----------
    values : ndarray, shape (z, y, x)
        At the end of the volume a last, single voxel stands for itself.
    ratio : sequence of int
        1 or 2 for each axis.
    method : {"mean", "first"}

    Returns
    -------
    ndarray of the type of `values`
        Halves of whole numbers round up.

    Examples
    --------
    >>> downsample(np.uint8([[[0, 1, 7], [2, 4, 9]]]), (1, 2, 2), "mean").tolist()
    [[[2, 8]]]
    >>> downsample(np.uint8([[[0, 1, 7], [2, 4, 9]]]), (1, 2, 2), "first").tolist()
    [[[0, 7]]]
    """
    if method == "first":
        return values[tuple(slice(None, None, step) for step in ratio)]
    sums, halvings = values, 0
    for axis, step in enumerate(ratio):
        if step == 2:
            sums, halvings = _pairs(sums, axis, _type_of_sums(values.dtype)), halvings + 1
    if halvings == 0:
        return values
    if values.dtype.kind == "f":
        return (sums / 2**halvings).astype(values.dtype)
    sums += 1 << (halvings - 1)
    sums >>= halvings
    return sums.astype(values.dtype)


def _pairs(values: np.ndarray, axis: int, dtype: np.dtype) -> np.ndarray:
    """Return the sums of neighbours along an axis; a last one without a neighbour counts twice."""
    side = values.shape[axis]
    sums = np.empty((*values.shape[:axis], -(-side // 2), *values.shape[axis + 1 :]), dtype)
    pairs = side // 2
    even, odd = (_along(values, axis, slice(first, 2 * pairs, 2)) for first in (0, 1))
    np.add(even, odd, out=_along(sums, axis, slice(0, pairs)), dtype=dtype, casting="unsafe")
    if side % 2:
        last = slice(-1, None)
        np.multiply(_along(values, axis, last), 2, out=_along(sums, axis, last), dtype=dtype, casting="unsafe")
    return sums


def _along(values: np.ndarray, axis: int, part: slice) -> np.ndarray:
    index = [slice(None)] * values.ndim
    index[axis] = part
    return values[tuple(index)]


def _type_of_sums(dtype: np.dtype) -> np.dtype:
    """Return the smallest type that holds the sum of eight values."""
    if dtype.kind == "f":
        return np.dtype(np.float64 if dtype.itemsize > 4 else np.float32)
    return np.dtype(f"{dtype.kind}{min(8, 2 * dtype.itemsize)}")
