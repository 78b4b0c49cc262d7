"""Where CDeep3M2 cuts a volume into packages (DefDataPackages.py), and how it writes that down.

Ranges are half-open and counted from 0.
"""

from __future__ import annotations

import json

TILE = 1000
HALO = 12
CANVAS = 1024
Z_BLOCK = 100
SHORTEST_Z_BLOCK = 5
Area = tuple[int, int, int, int]


def z_cuts(planes: int) -> tuple[int, ...]:
    """Return where z is cut, both ends included: every 100 planes, not every 100 after a first 101 as 1.6 does.

    Examples
    --------
    >>> z_cuts(100), z_cuts(104), z_cuts(105), z_cuts(205)
    ((0, 100), (0, 104), (0, 100, 105), (0, 100, 200, 205))
    """
    ends = [*range(0, planes, Z_BLOCK), planes]
    if len(ends) > 2 and ends[-1] < ends[-2] + SHORTEST_Z_BLOCK:
        del ends[-2]
    return tuple(ends)


def tile_ranges(side: int) -> tuple[tuple[int, int], ...]:
    """Return the ranges of the packages along an axis of `side` voxels; inner ones may end beyond it.

    Examples
    --------
    >>> tile_ranges(1024), tile_ranges(2001)
    (((0, 1024),), ((0, 1012), (988, 2012), (1988, 2001)))
    """
    cuts = [0, side] if side <= CANVAS else [*range(0, side, TILE), side]
    last = len(cuts) - 2
    return tuple(
        (begin - HALO if i else begin, end if i == last else end + HALO)
        for i, (begin, end) in enumerate(zip(cuts, cuts[1:], strict=False))
    )


def areas(height: int, width: int) -> tuple[Area, ...]:
    """Return what every package reads of a plane, (y0, y1, x0, x1), rows of packages first."""
    return tuple((*rows, *columns) for rows in tile_ranges(height) for columns in tile_ranges(width))


def division_text(size: tuple[int, int, int]) -> str:
    """Return the text of de_augmentation_info.json for a volume of (z, y, x) voxels."""
    depth, height, width = size
    packages = areas(height, width)
    return json.dumps(
        {
            "packages": packages,
            "num_of_pkg": len(packages),
            "imagesize": (height, width, depth),
            "z_blocks": z_cuts(depth),
        }
    )
