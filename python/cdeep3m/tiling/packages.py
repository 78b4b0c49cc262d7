"""A volume's division into packages: what each reads, what it is trusted for, and what the net sees of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m import __version__
from cdeep3m.errors import FormatError, InputError, MissingFileError
from cdeep3m.geometry import Coordinate, Roi
from cdeep3m.matlab_ports import merge_large_data
from cdeep3m.matlab_ports.add_z_padding import FEWEST_PLANES, Z_PADDING, plane_order
from cdeep3m.matlab_ports.break_large_img import (
    HALO,
    Area,
    Range,
    areas,
    from_octave_area,
    to_octave_area,
    z_cuts,
)
from cdeep3m.matlab_ports.preprocess_package import (
    SMALLEST,
    canvas,
    fitting_side,
    lose_last_row_and_column,
    padding_before,
    zero_fill_as_double,
)
from cdeep3m.rules import CORRECTED, ORIGINAL, Rules
from cdeep3m.system.files import write_text

if TYPE_CHECKING:
    import os

    import numpy as np

INFO = "de_augmentation_info.mat"
COUNTS = "package_processing_info.txt"
SMALLEST_SIDE = 14
"""The smallest height and width that can be predicted."""
LARGEST_FRAMES = 2 * Z_PADDING + 1


@dataclass(frozen=True)
class Package:
    """The unit of prediction: one tile of one z-block, with its halo.

    Attributes
    ----------
    tile, z_block : int
        Numbers from 1, as in the name.
    read, write : Roi
        What it loads; what its prediction is trusted for. Axes (z, y, x) of the volume.
    canvas_begin : tuple of int
        Row and column of the canvas where `write` begins.
    rules : Rules
        Fill with zeros as the original does (defect 10).
    fit : bool
        Fill with zeros up to multiples of 32 instead of 1024.
    """

    tile: int
    z_block: int
    read: Roi
    write: Roi
    canvas_begin: tuple[int, int]
    rules: Rules = CORRECTED
    fit: bool = False

    @property
    def name(self) -> str:
        """Name of its folder, as in `Pkg001_Z02`."""
        return f"Pkg{self.tile:03d}_Z{self.z_block:02d}"

    @property
    def canvas_write(self) -> tuple[slice, slice]:
        """Where `write` lies in the canvas, (y, x)."""
        _, height, width = self.write.shape
        y, x = self.canvas_begin
        return slice(y, y + height), slice(x, x + width)

    @property
    def planes(self) -> range:
        """The z of its planes, padding excluded."""
        return range(self.read.begin[0], self.read.end[0])

    @cached_property
    def padded_planes(self) -> tuple[int, ...]:
        """The z of every plane of the padded stack, in order: two invented ones, its own, two invented ones.

        Raises
        ------
        InputError
            In exact mode, for fewer than three planes (defect 5).
        """
        if len(self.planes) < self.rules.shortest_stack:
            raise InputError(
                f"package {self.name} has {len(self.planes)} planes; the original needs {FEWEST_PLANES}. "
                "Run without --exact."
            )
        return tuple(self.planes[i] for i in plane_order(len(self.planes)))

    def canvas(self, planes: np.ndarray) -> np.ndarray:
        """Return what the net sees of planes of `read`: reflected up to 12 voxels around, then zeros.

        Parameters
        ----------
        planes : ndarray, shape (z, y, x)
            Any number of planes, of the height and width of `read`.

        Returns
        -------
        ndarray, shape (z, 1024, 1024) or, when it fits, smaller ones
            Of the dtype of `planes`; in exact mode float64 where zeros were added. `planes` itself where nothing is
            missing.

        Raises
        ------
        InputError
            When a side is too short to be reflected.
        """
        _, height, width = self.read.shape
        if planes.shape[1:] != (height, width):
            raise ValueError(f"planes of {planes.shape[1:]} for package {self.name}, which reads {(height, width)}")
        if min(height, width) < SMALLEST:
            raise InputError(
                f"package {self.name} is {height} x {width} voxels; a package needs at least {SMALLEST} along y and x. "
                "Run without --exact, or pad the images."
            )
        top, left = (begin == 0 for begin in self.read.begin[1:])
        if self.rules.fills_as_double:
            return zero_fill_as_double(planes, top=top, left=left)
        if not self.fit:
            return canvas(planes, top=top, left=left)
        sides = fitting_side(height, at_edge=top), fitting_side(width, at_edge=left)
        return canvas(planes, top=top, left=left, sides=sides)

    def z_window(self, z: int, frames: int) -> tuple[int, ...]:
        """Return which planes the net sees when it predicts plane `z` (all absolute).

        Parameters
        ----------
        z : int
            One of `planes`.
        frames : int
            Planes that the net sees at once: 1 to 5.

        Examples
        --------
        >>> first, second = Division.of((106, 20, 30)).packages
        >>> first.z_window(0, 5), second.z_window(101, 3)
        ((2, 1, 0, 1, 2), (102, 101, 102))
        """
        if z not in self.planes:
            raise ValueError(f"plane {z} is not of package {self.name}, which holds {self.planes}")
        if not 1 <= frames <= LARGEST_FRAMES:
            raise InputError(
                f"the net sees {frames} planes at once, but a package has {Z_PADDING} padding planes at each end: "
                f"nets of 1 to {LARGEST_FRAMES} frames can be used."
            )
        begin = z - self.planes[0] + Z_PADDING - frames // 2
        return self.padded_planes[begin : begin + frames]


@dataclass(frozen=True, kw_only=True)
class Division:
    """How a volume is cut into packages.

    Attributes
    ----------
    shape : tuple of int
        The volume's voxels along (z, y, x).
    areas : tuple of (y0, y1, x0, x1)
        What each tile reads of a plane. An area may end beyond the image, as the original writes it.
    z_cuts : tuple of int
        Where z is cut, both ends included.
    rules : Rules
        Reproduce the original's packages, defects included.
    folder_input : bool
        The images are a folder: in exact mode each package loses its last row and column (defect 1).
    fit : bool
        Packages have the smallest canvas that holds them, instead of 1024 x 1024.

    Raises
    ------
    InputError
        Both `ORIGINAL` and `fit`.
    """

    shape: Coordinate
    areas: tuple[Area, ...]
    z_cuts: tuple[int, ...]
    rules: Rules = CORRECTED
    folder_input: bool = False
    fit: bool = False

    def __post_init__(self) -> None:
        if self.rules is ORIGINAL and self.fit:
            raise InputError("the original's canvas is 1024 x 1024 always: use either --exact or --fit")

    @classmethod
    def of(
        cls, shape: Coordinate, *, rules: Rules = CORRECTED, folder_input: bool = False, fit: bool = False
    ) -> Division:
        """Divide a volume of `shape` (z, y, x) as DefDataPackages.m does.

        In corrected mode an axis that is not cut is read whole (correction 3).

        Raises
        ------
        InputError
            In corrected mode, when a side is too short (correction 4).

        Examples
        --------
        >>> [package.name for package in Division.of((3, 1025, 500)).packages]
        ['Pkg001_Z01', 'Pkg002_Z01']
        """
        planes, height, width = shape
        if not rules.octave_areas:
            require_sides(height, width)
        return cls(
            shape=shape,
            areas=areas(height, width, exact=rules.octave_areas),
            z_cuts=z_cuts(planes),
            rules=rules,
            folder_input=folder_input,
            fit=fit,
        )

    @classmethod
    def read(cls, folder: str | os.PathLike[str], *, rules: Rules = CORRECTED, folder_input: bool = False) -> Division:
        """Read the division that `de_augmentation_info.mat` in `folder` describes, whether the original wrote it or we.

        Raises
        ------
        MissingFileError
            When the file is not there.
        FormatError
            When it is not such a file.
        """
        path = Path(folder) / INFO
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            raise MissingFileError(f"no {INFO} in {folder}; run DefDataPackages IMAGES {folder} first.") from None
        shape, tiles, cuts = parse_info(text, path)
        return cls(shape=shape, areas=tiles, z_cuts=cuts, rules=rules, folder_input=folder_input)

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write `de_augmentation_info.mat` and `package_processing_info.txt` to `folder`, as DefDataPackages.m does."""
        write_text(Path(folder) / INFO, self.info_text)
        write_text(Path(folder) / COUNTS, self.counts_text)

    @property
    def info_text(self) -> str:
        """Content of `de_augmentation_info.mat`: Octave's text format; areas and cuts counted from 1."""
        planes, height, width = self.shape
        cells = "".join(f"{_matrix('<cell-element>', to_octave_area(area))}\n" for area in self.areas)
        return (
            f"# Created by cdeep3m {__version__}\n"
            f"# name: packages\n# type: cell\n# rows: 1\n# columns: {len(self.areas)}\n{cells}\n\n"
            f"# name: num_of_pkg\n# type: scalar\n{len(self.areas)}\n\n\n"
            + _matrix("imagesize", (height, width, planes))
            + _matrix("z_blocks", (1, *self.z_cuts[1:]))
        )

    @property
    def counts_text(self) -> str:
        """Content of `package_processing_info.txt`."""
        return f"\nNumber of XY Packages\n{len(self.areas)}\nNumber of z-blocks\n{len(self.z_cuts) - 1}"

    @cached_property
    def packages(self) -> tuple[Package, ...]:
        """All packages, in the original's order: tile after tile, each through all its z-blocks."""
        return tuple(
            self.package(tile, z_block)
            for tile in range(1, len(self.areas) + 1)
            for z_block in range(1, len(self.z_cuts))
        )

    def packages_at(self, z: int) -> tuple[Package, ...]:
        """Return the packages that hold plane `z`, in ascending tile order: the order in which they are pasted."""
        return tuple(package for package in self.packages if z in package.planes)

    def package(self, tile: int, z_block: int) -> Package:
        """Return the package of a tile and a z-block, both counted from 1.

        Raises
        ------
        InputError
            When the volume has no such package.
        """
        if not (1 <= tile <= len(self.areas) and 1 <= z_block < len(self.z_cuts)):
            raise InputError(
                f"no package {tile} of z-block {z_block}: the volume has {len(self.areas)} packages "
                f"and {len(self.z_cuts) - 1} z-blocks."
            )
        z0, z1 = self.z_cuts[z_block - 1], self.z_cuts[z_block]
        read, write, begin = self._in_plane(self.areas[tile - 1])
        return Package(
            tile=tile,
            z_block=z_block,
            read=Roi((z0, read[0], read[2]), (z1, read[1], read[3])),
            write=Roi((z0, write[0], write[2]), (z1, write[1], write[3])),
            canvas_begin=begin,
            rules=self.rules,
            fit=self.fit,
        )

    def _in_plane(self, area: Area) -> tuple[Area, Area, tuple[int, int]]:
        _, height, width = self.shape
        y0, y1, x0, x1 = area
        if self.rules.octave_areas:
            loaded = lose_last_row_and_column(area) if self.folder_input else area
            return inside(loaded, height, width), *self._original_placement(area)
        read = inside(area, height, width)
        rows = trusted_range((y0, y1), {(a[0], a[1]) for a in self.areas}, height)
        columns = trusted_range((x0, x1), {(a[2], a[3]) for a in self.areas}, width)
        begin = (
            rows[0] - y0 + padding_before(read[1] - y0, at_edge=y0 == 0),
            columns[0] - x0 + padding_before(read[3] - x0, at_edge=x0 == 0),
        )
        return read, (*rows, *columns), begin

    def _original_placement(self, area: Area) -> tuple[Area, tuple[int, int]]:
        """Return what Merge_LargeData.m writes of a tile, and from where in its canvas (defects 2 and 3 included)."""
        _, height, width = self.shape
        if len(self.areas) == 1:
            return (0, height, 0, width), (merge_large_data.crop_begin(height), merge_large_data.crop_begin(width))
        y0, y1, x0, x1 = area
        rows, columns = merge_large_data.trusted_range(y0, y1, height), merge_large_data.trusted_range(x0, x1, width)
        return (*rows, *columns), (merge_large_data.HALO, merge_large_data.HALO)


def inside(area: Area, height: int, width: int) -> Area:
    """Return the part of an area that lies in a plane of `height` x `width`."""
    y0, y1, x0, x1 = area
    return y0, min(y1, height), x0, min(x1, width)


def trusted_range(read: Range, all_reads: set[Range], side: int) -> Range:
    """Return what one tile of an axis is trusted for, so that the tiles cover each voxel of the axis once.

    Parameters
    ----------
    read : (begin, end)
        What the tile reads.
    all_reads : set of (begin, end)
        What all tiles of the axis read.
    side : int
        Voxels along the axis.

    Examples
    --------
    >>> trusted_range((988, 2012), {(0, 1012), (988, 2012), (1988, 2012)}, 2012)
    (1000, 2000)
    """
    later = [begin for begin, _ in all_reads if begin > read[0]]
    begin = read[0] if read[0] < HALO else read[0] + HALO
    return begin, min(later) + HALO if later else side


def require_sides(height: int, width: int) -> None:
    """Raise InputError for images too small to be predicted (correction 4)."""
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(
            f"the images are {height} x {width} (rows x columns); the smallest size is {SMALLEST_SIDE} x "
            f"{SMALLEST_SIDE}. Pad them, or choose a larger area."
        )


def parse_info(text: str, path: Path) -> tuple[Coordinate, tuple[Area, ...], tuple[int, ...]]:
    """Read the text of a `de_augmentation_info.mat`; white space, order and further variables do not matter.

    Returns
    -------
    shape : (z, y, x)
    areas : tuple of (y0, y1, x0, x1)
    z_cuts : tuple of int

    Raises
    ------
    FormatError
        When a variable is missing or does not fit the others.
    """
    found = _variables(text)
    packages, sizes, blocks = (found.get(name, []) for name in ("packages", "imagesize", "z_blocks"))
    if len(sizes) != 3 or len(blocks) < 2 or not packages or len(packages) % 4:
        raise FormatError(
            f"{path} does not describe packages (found {', '.join(found) or 'no variables'}; expected packages, "
            "num_of_pkg, imagesize and z_blocks in Octave's text format). Run DefDataPackages again."
        )
    height, width, planes = sizes
    corners = [(packages[i], packages[i + 1], packages[i + 2], packages[i + 3]) for i in range(0, len(packages), 4)]
    cuts = (0, *blocks[1:])
    if (
        cuts[-1] != planes
        or list(cuts) != sorted(set(cuts))
        or found.get("num_of_pkg", [len(corners)]) != [len(corners)]
    ):
        raise FormatError(
            f"{path} contradicts itself ({len(corners)} packages, {planes} planes, z_blocks {blocks}). "
            "Run DefDataPackages again."
        )
    return (planes, height, width), tuple(from_octave_area(area) for area in corners), cuts


def _variables(text: str) -> dict[str, list[int]]:
    """Return the numbers under every `# name:` line; those of a cell's elements count as the cell's."""
    found: dict[str, list[int]] = {}
    numbers: list[int] = []
    for line in text.splitlines():
        name = re.match(r"#\s*name:\s*(\S+)", line)
        if name and name[1] != "<cell-element>":
            numbers = found.setdefault(name[1], [])
        elif not line.startswith("#"):
            numbers.extend(int(float(word)) for word in line.split() if re.fullmatch(r"[\d.eE+]+", word))
    return found


def _matrix(name: str, values: tuple[int, ...]) -> str:
    row = " ".join(str(value) for value in values)
    return f"# name: {name}\n# type: matrix\n# rows: 1\n# columns: {len(values)}\n {row}\n\n\n"
