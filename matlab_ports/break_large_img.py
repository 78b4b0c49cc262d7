"""Where a volume is cut into overlapping tiles and z-blocks (break_large_img.m, DefDataPackages.m).

Ranges are half-open and counted from 0. Deviation: `axis_ranges` corrects defect 3, which is `skip_first_voxel`.
"""

from __future__ import annotations

TILE = 1000
"""Distance between the beginnings of tiles."""
HALO = 12
"""Voxels of overlap on each side of a cut."""
CANVAS = 1024
"""Side of what the net sees; sides up to this one are not cut."""
Z_BLOCK = 100
"""Planes of a z-block, more or less."""
SHORTEST_Z_BLOCK = 5
"""A last z-block with fewer planes joins the one before."""

Range = tuple[int, int]
Area = tuple[int, int, int, int]


def cuts(side: int) -> tuple[int, ...]:
    """Return where an axis of `side` voxels is cut, its two ends included.

    Examples
    --------
    >>> cuts(1024), cuts(1025), cuts(2000)
    ((0, 1024), (0, 1000, 1025), (0, 1000, 2000))
    """
    if side <= CANVAS:
        return (0, side)
    inner = tuple(range(0, side + 1, TILE))
    return inner if inner[-1] == side else (*inner, side)


def tile_ranges(side: int) -> tuple[Range, ...]:
    """Return the ranges that the tiles of an axis read: between two cuts, and 12 voxels beyond each inner one.

    The last inner range may end beyond the image, as in the original: whoever reads it stops at the edge.

    Examples
    --------
    >>> tile_ranges(2100)
    ((0, 1012), (988, 2012), (1988, 2100))
    >>> tile_ranges(2001)
    ((0, 1012), (988, 2012), (1988, 2001))
    """
    ends = cuts(side)
    last = len(ends) - 2
    return tuple(
        (begin - HALO if i else begin, end if i == last else end + HALO)
        for i, (begin, end) in enumerate(zip(ends, ends[1:], strict=False))
    )


def skip_first_voxel(ranges: tuple[Range, ...]) -> tuple[Range, ...]:
    """Begin an axis that is not cut at its second voxel, as break_large_img.m does when the other axis is cut.

    The first voxel is never read, and the first 13 come out black (defect 3).
    """
    return ranges if len(ranges) > 1 else ((ranges[0][0] + 1, ranges[0][1]),)


def axis_ranges(height: int, width: int, *, skip_first: bool) -> tuple[tuple[Range, ...], tuple[Range, ...]]:
    """Return what the tiles read along y and along x; a package is every pair of them, rows of tiles first.

    Parameters
    ----------
    height, width : int
        Voxels along y and x.
    skip_first : bool
        Keep defect 3 (`skip_first_voxel`).

    Examples
    --------
    >>> axis_ranges(1024, 1025, skip_first=False)
    (((0, 1024),), ((0, 1012), (988, 1025)))
    >>> axis_ranges(1024, 1025, skip_first=True)
    (((1, 1024),), ((0, 1012), (988, 1025)))
    """
    rows, columns = tile_ranges(height), tile_ranges(width)
    if skip_first and len(rows) * len(columns) > 1:
        return skip_first_voxel(rows), skip_first_voxel(columns)
    return rows, columns


def z_cuts(planes: int) -> tuple[int, ...]:
    """Return where z is cut, both ends included: z-block k holds the planes from cut k up to cut k + 1.

    The first z-block of a cut volume has 101 planes, the others 100; a rest of fewer than 5 joins the last one.

    Examples
    --------
    >>> z_cuts(100), z_cuts(105), z_cuts(106), z_cuts(206)
    ((0, 100), (0, 105), (0, 101, 106), (0, 101, 201, 206))
    """
    if planes <= Z_BLOCK:
        return (0, planes)
    ends = list(range(1, planes + 1, Z_BLOCK))
    if ends[-1] < planes:
        ends.append(planes)
    if ends[-1] < ends[-2] + SHORTEST_Z_BLOCK:
        del ends[-2]
    return (0, *ends[1:])


def to_octave_area(area: Area) -> Area:
    """Return an area as de_augmentation_info.mat counts it: from 1, ends included.

    Examples
    --------
    >>> to_octave_area((0, 1012, 988, 2012))
    (1, 1012, 989, 2012)
    """
    y0, y1, x0, x1 = area
    return y0 + 1, y1, x0 + 1, x1


def from_octave_area(area: Area) -> Area:
    """Return an area of de_augmentation_info.mat half-open and counted from 0; the inverse of `to_octave_area`."""
    first_row, last_row, first_column, last_column = area
    return first_row - 1, last_row, first_column - 1, last_column
