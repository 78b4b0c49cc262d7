"""Tiles that overlap by what a net sees around a voxel, and the weights that they are averaged with.

    read    |--------------------------|                   a tile, 1024 voxels
    weight  1111111111111111 falls  0000                   0: its outermost 12 voxels
                        0000 rises  1111111111111111
    read                |--------------------------|       the next one

A tile is never trusted for its outermost 12 voxels, as ever; further in, the weight of one falls as that of the other
rises, over `blend` voxels, and their sum is 1. Tiles begin at multiples of 32 voxels, so that a net that pools sees all
of them in the same raster.
"""

from __future__ import annotations

import numpy as np

from cdeep3m.matlab_ports.break_large_img import CANVAS, HALO, Range

MOST = CANVAS // 2 - 2 * HALO
"""Two tiles overlap anywhere, never three."""
STEP = 32
"""Tiles overlap by a multiple of so many voxels."""
RASTER = 16
"""Nets pool in steps of so many voxels at most."""


def blend_for(reach: int) -> int:
    """Return over how many voxels tiles are averaged, for a net that sees `reach` voxels around each.

    Examples
    --------
    >>> blend_for(0), blend_for(41), blend_for(76), blend_for(10_000)
    (8, 72, 104, 488)
    """
    overlap = -(-(2 * HALO + max(1, reach)) // STEP) * STEP
    return min(overlap - 2 * HALO, MOST)


def halo_for(reach: int) -> int:
    """Return how far a tile reads beyond what it is trusted for, where tiles are not averaged: at least `reach`.

    Examples
    --------
    >>> halo_for(0), halo_for(41), halo_for(76), halo_for(10_000)
    (12, 44, 76, 252)
    """
    return min(HALO + -(-max(0, reach - HALO) // RASTER) * RASTER, CANVAS // 4 - RASTER + HALO)


def blended_ranges(side: int, blend: int) -> tuple[Range, ...]:
    """Return what the tiles of an axis read.

    Examples
    --------
    >>> blended_ranges(1024, 104), blended_ranges(1025, 104), blended_ranges(2100, 104)
    (((0, 1024),), ((0, 1012), (884, 1025)), ((0, 1012), (884, 1908), (1780, 2100)))
    """
    if side <= CANVAS:
        return ((0, side),)
    step = CANVAS - 2 * HALO - blend
    count = 1 + -(-(side - CANVAS + HALO) // step)
    return tuple((max(0, k * step - HALO), min(k * step - HALO + CANVAS, side)) for k in range(count))


def ramp(blend: int) -> np.ndarray:
    """Return the weights of a tile from its first trusted voxel on; those of the one before are 1 minus them.

    Returns
    -------
    ndarray of float64, shape (blend,)
        The square of a sine: it leaves 0 and reaches 1 without a kink.

    Examples
    --------
    >>> ramp(4).round(3).tolist()
    [0.038, 0.309, 0.691, 0.962]
    """
    return np.sin((np.arange(blend) + 0.5) * np.pi / (2 * blend)) ** 2


def weights(side: int, blend: int, *, first: bool, last: bool) -> np.ndarray:
    """Return the weights of a tile along an axis, for the `side` voxels that it is trusted for.

    Parameters
    ----------
    side, blend : int
    first, last : bool
        Whether the tile is at the beginning, or the end, of the volume: nothing overlaps it there.

    Returns
    -------
    ndarray of float64, shape (side,)

    Examples
    --------
    >>> weights(5, 2, first=True, last=False).round(2).tolist()
    [1.0, 1.0, 1.0, 0.85, 0.15]
    """
    made = np.ones(side)
    if not first:
        made[:blend] = ramp(blend)
    if not last:
        made[side - blend :] = 1 - ramp(blend)
    return made
