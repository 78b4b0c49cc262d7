"""How a volume is divided into packages: per axis, so that a plan of any size is made at once.

read   |-----------------|      |      what a tile loads
|---------------|----  and the next one
write  |--------------|---------|----  what each is trusted for: they meet, 12 voxels inside
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, overload

from cdeep3m.errors import InputError
from cdeep3m.geometry import Coordinate, Roi
from cdeep3m.matlab_ports import merge_large_data
from cdeep3m.matlab_ports.break_large_img import CANVAS, HALO, Area, Range, axis_ranges, z_cuts
from cdeep3m.matlab_ports.preprocess_package import lose_last_voxel, padding_before
from cdeep3m.rules import CORRECTED, ORIGINAL, Rules
from cdeep3m.tiling.blending import RASTER, blend_for, blended_ranges, halo_for, weights
from cdeep3m.tiling.packages import Fill, Package

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

SMALLEST_SIDE = 14
"""The smallest height and width that can be predicted."""
LARGEST_PLANE = 2**26
"""Planes of more voxels are predicted tile by tile, and so are planes that are written as chunks, if as many of them as
a chunk is deep have more than twice as many."""
EVERY_VOXEL = (1, 1, 1)


@dataclass(frozen=True)
class Span:
    """One tile along one axis.

    Attributes
    ----------
    read, write : (begin, end)
        What it loads; what it is trusted for.
    canvas_begin : int
        Where `write` begins in the canvas.
    """

    read: Range
    write: Range
    canvas_begin: int


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How a volume is cut into packages.

    Attributes
    ----------
    shape : tuple of int
        The volume's voxels along (z, y, x).
    rows, columns : tuple of (begin, end)
        What the tiles read along y and along x. The last one may end beyond the image, as the original writes it.
    z_cuts : tuple of int
        Where z is cut, both ends included.
    rules : Rules
        `ORIGINAL`: the original's packages, defects included.
    folder_input : bool
        The images are a folder, whose packages lose their last row and column in exact mode (defect 1).
    fit : bool
        Packages have the smallest canvas that holds them, instead of 1024 x 1024.
    fill : {"zeros", "reflect"}
        What stands on the canvas beyond the 12 voxels that are reflected always.
    blend : int
        Voxels over which tiles are averaged where they overlap; 0: they meet, as the original's do.
    halo : int
        Voxels that a tile reads beyond what it is trusted for.

    Raises
    ------
    InputError
        `ORIGINAL` with `fit`, with reflected voxels or with blended tiles.
    """

    shape: Coordinate
    rows: tuple[Range, ...]
    columns: tuple[Range, ...]
    z_cuts: tuple[int, ...]
    rules: Rules = CORRECTED
    folder_input: bool = False
    fit: bool = False
    fill: Fill = "zeros"
    blend: int = 0
    halo: int = HALO

    def __post_init__(self) -> None:
        if self.rules is ORIGINAL and self.fit:
            raise InputError("the original's canvas is 1024 x 1024 always: use either --exact or --fit")
        if self.rules is ORIGINAL and self.fill != "zeros":
            raise InputError("the original fills its canvas with zeros: use either --exact or --fill")
        if self.rules is ORIGINAL and (self.blend or self.halo != HALO):
            raise InputError("the original's tiles meet and are not averaged: use either --exact or --blend")

    @classmethod
    def of(
        cls,
        shape: Coordinate,
        *,
        rules: Rules = CORRECTED,
        folder_input: bool = False,
        fit: bool = False,
        fill: Fill = "zeros",
        chunks: Coordinate = EVERY_VOXEL,
        reach: int | None = None,
    ) -> Tiling:
        """Divide a volume of `shape` (z, y, x) as DefDataPackages.m does.

        In corrected mode an axis that is not cut is read whole (correction 3). Where results are written as chunks that
        are too many to be written plane by plane, tiles meet where chunks do instead. With a `reach`, the voxels that a
        net sees around each, tiles overlap by it and are averaged; where planes are predicted tile by tile, each of
        them reads so much more than it is trusted for instead.

        Raises
        ------
        InputError
            In corrected mode, when a side is too short (correction 4).

        Examples
        --------
        >>> [package.name for package in Tiling.of((3, 1025, 500)).packages]
        ['Pkg001_Z01', 'Pkg002_Z01']
        """
        planes, height, width = shape
        if not rules.octave_areas:
            require_sides(height, width)
        by_tiles = _by_tiles(shape, chunks, LARGEST_PLANE) and not rules.octave_areas
        blend, halo = 0, HALO
        if by_tiles and reach is not None:
            halo = halo_for(reach)
            rows, columns = (
                _aligned_ranges(side, max(chunk, RASTER), halo)
                for side, chunk in zip(shape[1:], chunks[1:], strict=True)
            )
        elif by_tiles and chunks != EVERY_VOXEL:
            rows, columns = _aligned_ranges(height, chunks[1]), _aligned_ranges(width, chunks[2])
        elif reach is not None:
            blend = blend_for(reach)
            rows, columns = blended_ranges(height, blend), blended_ranges(width, blend)
        else:
            rows, columns = axis_ranges(height, width, skip_first=rules.octave_areas)
        return cls(
            shape=shape,
            rows=rows,
            columns=columns,
            z_cuts=z_cuts(planes),
            rules=rules,
            folder_input=folder_input,
            fit=fit,
            fill=fill,
            blend=blend,
            halo=halo,
        )

    @property
    def tiles(self) -> int:
        """How many tiles a plane has."""
        return len(self.rows) * len(self.columns)

    @property
    def z_blocks(self) -> int:
        """How many z-blocks there are."""
        return len(self.z_cuts) - 1

    @property
    def areas(self) -> tuple[Area, ...]:
        """What each tile reads of a plane, (y0, y1, x0, x1), rows of tiles first."""
        return tuple((*row, *column) for row in self.rows for column in self.columns)

    @property
    def packages(self) -> Packages:
        """All packages, in the original's order: tile after tile, each through all its z-blocks."""
        return Packages(self, range(1, self.z_blocks + 1))

    def packages_at(self, z: int) -> Packages:
        """Return the packages that hold plane `z`, in ascending tile order: the order in which they are pasted."""
        inside = 0 <= z < self.z_cuts[-1]
        block = bisect_right(self.z_cuts, z)
        return Packages(self, range(block, block + 1) if inside else range(0))

    def packages_meeting(self, box: Roi, z: int) -> list[Package]:
        """Return the packages that hold plane `z` and are trusted for some of `box`, in ascending tile order."""
        (_, y0, x0), (_, y1, x1) = box.begin, box.end
        rows = [i for i, span in enumerate(self._y_spans) if span.write[0] < y1 and y0 < span.write[1]]
        columns = [i for i, span in enumerate(self._x_spans) if span.write[0] < x1 and x0 < span.write[1]]
        block = bisect_right(self.z_cuts, z)
        return [self.package(row * len(self.columns) + column + 1, block) for row in rows for column in columns]

    @property
    def largest_read(self) -> tuple[int, int]:
        """Height and width of the largest tile, as it is read."""
        y, x = (max(span.read[1] - span.read[0] for span in spans) for spans in (self._y_spans, self._x_spans))
        return y, x

    def boxes(self, *, chunks: Coordinate = EVERY_VOXEL, largest_plane: int | None = None) -> list[Roi]:
        """Return boxes that cover the volume once, in the order in which they are best predicted.

        Whole planes, one after the other, where a plane has no more voxels than `largest_plane` (`LARGEST_PLANE`) or
        the rules scale each plane by itself; else tiles of planes. Where results are written as chunks, as many planes
        as these are deep at a time, and one tile through all of them, so that what is deep on disk is read once.
        """
        planes, height, width = self.shape
        if self.rules.scales_planes_alone or not _by_tiles(self.shape, chunks, largest_plane or LARGEST_PLANE):
            ranges = [((0, height), (0, width))]
        else:
            ranges = [(y, x) for y in self._owned(self._y_spans) for x in self._owned(self._x_spans)]
        depth = chunks[0]
        places = [(z, y, x) for z in range(0, planes, depth) for y, x in ranges]
        if depth > 1:
            places = [(z, y, x) for y, x in ranges for z in range(0, planes, depth)]
        return [Roi((z, y[0], x[0]), (min(z + depth, planes), y[1], x[1])) for z, y, x in places]

    @property
    def seams(self) -> tuple[list[int], list[int]]:
        """Rows, and columns, from which on the next tile is trusted, or trusted more than the one before."""
        rows, columns = (
            [span.write[0] + self.blend // 2 for span in spans[1:]] for spans in (self._y_spans, self._x_spans)
        )
        return rows, columns

    def weights(self, package: Package) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights along y, and along x, of what a package is trusted for; see `blending.weights`."""
        row, column = divmod(package.tile - 1, len(self.columns))
        return self._weights[0][row], self._weights[1][column]

    def package(self, tile: int, z_block: int) -> Package:
        """Return the package of a tile and a z-block, both counted from 1.

        Raises
        ------
        InputError
            When the volume has no such package.
        """
        if not (1 <= tile <= self.tiles and 1 <= z_block <= self.z_blocks):
            raise InputError(
                f"no package {tile} of z-block {z_block}: the volume has {self.tiles} packages and {self.z_blocks} "
                "z-blocks"
            )
        z0, z1 = self.z_cuts[z_block - 1], self.z_cuts[z_block]
        row, column = divmod(tile - 1, len(self.columns))
        y, x = self._y_spans[row], self._x_spans[column]
        return Package(
            tile=tile,
            z_block=z_block,
            read=Roi((z0, y.read[0], x.read[0]), (z1, y.read[1], x.read[1])),
            write=Roi((z0, y.write[0], x.write[0]), (z1, y.write[1], x.write[1])),
            canvas_begin=(y.canvas_begin, x.canvas_begin),
            rules=self.rules,
            fit=self.fit,
            fill=self.fill,
        )

    @cached_property
    def _y_spans(self) -> tuple[Span, ...]:
        return self._spans(self.rows, self.shape[1])

    @cached_property
    def _x_spans(self) -> tuple[Span, ...]:
        return self._spans(self.columns, self.shape[2])

    def _spans(self, reads: tuple[Range, ...], side: int) -> tuple[Span, ...]:
        if self.rules.octave_areas:
            return tuple(self._original_span(read, side) for read in reads)
        ends = [*(begin + self.halo + self.blend for begin, _ in reads[1:]), side]
        return tuple(_span(read, end, side, self.halo) for read, end in zip(reads, ends, strict=True))

    def _owned(self, spans: tuple[Span, ...]) -> list[Range]:
        """Return the parts of an axis that belong to one tile each: up to the middle of where two are averaged."""
        cut = self.blend // 2
        last = len(spans) - 1
        return [
            (span.write[0] + (cut if k else 0), span.write[1] - (self.blend - cut if k < last else 0))
            for k, span in enumerate(spans)
        ]

    @cached_property
    def _weights(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        along_y, along_x = (
            [
                weights(end - begin, self.blend, first=k == 0, last=k == len(spans) - 1)
                for k, (begin, end) in enumerate(span.write for span in spans)
            ]
            for spans in (self._y_spans, self._x_spans)
        )
        return along_y, along_x

    def _original_span(self, read: Range, side: int) -> Span:
        """Return what Merge_LargeData.m writes of a tile, and from where in its canvas (defects 1 to 3 included)."""
        begin, end = lose_last_voxel(read) if self.folder_input else read
        loaded = begin, min(end, side)
        if self.tiles == 1:
            return Span(loaded, (0, side), merge_large_data.crop_begin(side))
        return Span(loaded, merge_large_data.trusted_range(*read, side), HALO)


def _by_tiles(shape: Coordinate, chunks: Coordinate, largest_plane: int) -> bool:
    """Return whether planes, as many as a chunk is deep, are predicted tile by tile rather than whole."""
    voxels = shape[1] * shape[2] * min(chunks[0], shape[0])
    return voxels > (largest_plane if chunks == EVERY_VOXEL else 2 * largest_plane)


def _aligned_ranges(side: int, chunk: int, halo: int = HALO) -> tuple[Range, ...]:
    """Return what the tiles of an axis read, so that what they are trusted for ends where chunks do.

    Examples
    --------
    >>> _aligned_ranges(2000, 64)
    ((0, 972), (948, 1932), (1908, 2000))
    >>> _aligned_ranges(2000, 64, halo=76)
    ((0, 908), (756, 1740), (1588, 2000))
    """
    step = max(1, (CANVAS - 2 * halo) // chunk) * chunk
    if side <= step:
        return ((0, side),)
    begins = [begin for begin in range(0, side, step) if side - begin >= SMALLEST_SIDE or begin == 0]
    ends = [*begins[1:], side]
    return tuple((max(0, b - halo), min(e + halo, side)) for b, e in zip(begins, ends, strict=True))


def _span(read: Range, end: int, side: int, halo: int = HALO) -> Span:
    """Return what a tile is trusted for up to `end`, so that the tiles cover each voxel of the axis.

    Examples
    --------
    >>> _span((988, 2012), 2000, 2012).write
    (1000, 2000)
    """
    loaded = read[0], min(read[1], side)
    begin = read[0] if read[0] < HALO else read[0] + halo
    padding = padding_before(loaded[1] - read[0], at_edge=read[0] == 0)
    return Span(loaded, (begin, end), begin - read[0] + padding)


@dataclass(frozen=True)
class Packages(Sequence[Package]):
    """Packages of a tiling, each made when it is asked for; nothing grows with their number.

    Attributes
    ----------
    tiling : Tiling
    blocks : range
        Numbers of their z-blocks.
    """

    tiling: Tiling
    blocks: range

    def __len__(self) -> int:
        return self.tiling.tiles * len(self.blocks)

    @overload
    def __getitem__(self, index: int) -> Package: ...

    @overload
    def __getitem__(self, index: slice) -> list[Package]: ...

    def __getitem__(self, index: int | slice) -> Package | list[Package]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        tile, block = divmod(range(len(self))[index], len(self.blocks))
        return self.tiling.package(tile + 1, self.blocks[block])

    def __iter__(self) -> Iterator[Package]:
        return (self.tiling.package(tile, block) for tile in range(1, self.tiling.tiles + 1) for block in self.blocks)


def require_sides(height: int, width: int) -> None:
    """Raise InputError for images too small to be predicted (correction 4)."""
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(
            f"the images are {height} x {width} (rows x columns); the smallest size is {SMALLEST_SIDE} x "
            f"{SMALLEST_SIDE}. Pad them, or choose a larger area"
        )
