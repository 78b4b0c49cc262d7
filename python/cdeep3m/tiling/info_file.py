"""The files that tell how a volume is divided: de_augmentation_info.mat and package_processing_info.txt."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m import __version__
from cdeep3m.errors import FormatError, MissingFileError
from cdeep3m.matlab_ports.break_large_img import Area, Range, from_octave_area, to_octave_area
from cdeep3m.rules import CORRECTED, Rules
from cdeep3m.system.files import small_text, write_text
from cdeep3m.tiling.grid import Tiling

if TYPE_CHECKING:
    import os

    from cdeep3m.geometry import Coordinate


INFO = "de_augmentation_info.mat"
JSON = "de_augmentation_info.json"
"""What CDeep3M2 writes instead."""
NUMBER = re.compile(r"\d+(\.\d*)?([eE]\+?\d+)?")
"""As Octave writes it."""
COUNTS = "package_processing_info.txt"


def read_tiling(folder: str | os.PathLike[str], *, rules: Rules = CORRECTED, folder_input: bool = False) -> Tiling:
    """Read the tiling that `de_augmentation_info.mat` in `folder` describes, whether the original wrote it or we.

    Raises
    ------
    MissingFileError
        When the file is not there.
    FormatError
        When it is not such a file.
    """
    path = Path(folder) / INFO
    if not path.is_file() and (Path(folder) / JSON).is_file():
        return _of_edition_2(Path(folder) / JSON, rules=rules, folder_input=folder_input)
    try:
        text = small_text(path, errors="replace")
    except FileNotFoundError:
        raise MissingFileError(f"no {INFO} in {folder}; run DefDataPackages IMAGES {folder} first") from None
    said = parse_info(text, path)
    return Tiling(
        shape=said.shape,
        rows=said.rows,
        columns=said.columns,
        z_cuts=said.z_cuts,
        rules=rules,
        folder_input=folder_input,
    )


def _of_edition_2(path: Path, *, rules: Rules, folder_input: bool) -> Tiling:
    """Read the tiling that CDeep3M2 wrote; its tiles are those of the first edition, its z-blocks begin otherwise.

    Raises
    ------
    FormatError
        When it is not such a file, or the packages form no grid.
    """
    try:
        content = json.loads(small_text(path))
        areas = [tuple(int(side) for side in area) for area in content["packages"]]
        height, width, planes = (int(side) for side in content["imagesize"])
        cuts = tuple(int(cut) for cut in content["z_blocks"])
        rows, columns = (tuple(dict.fromkeys((area[k], area[k + 1]) for area in areas)) for k in (0, 2))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise FormatError(f"{path} does not describe packages ({error}). Run DefDataPackages again") from None
    if areas != [(*row, *column) for row in rows for column in columns] or cuts[-1:] != (planes,):
        raise FormatError(
            f"{path} contradicts itself ({len(areas)} packages, {planes} planes). Run DefDataPackages again"
        )
    return Tiling(
        shape=(planes, height, width),
        rows=rows,
        columns=columns,
        z_cuts=cuts,
        rules=rules,
        folder_input=folder_input,
    )


def write_tiling(tiling: Tiling, folder: str | os.PathLike[str]) -> None:
    """Write `de_augmentation_info.mat` and `package_processing_info.txt` to `folder`, as DefDataPackages.m does."""
    write_text(Path(folder) / INFO, info_text(tiling))
    write_text(Path(folder) / COUNTS, counts_text(tiling))


def info_text(tiling: Tiling) -> str:
    """Return the content of `de_augmentation_info.mat`: Octave's text format; areas and cuts counted from 1."""
    planes, height, width = tiling.shape
    areas = tiling.areas
    cells = "".join(f"{_matrix('<cell-element>', to_octave_area(area))}\n" for area in areas)
    return (
        f"# Created by cdeep3m {__version__}\n"
        f"# name: packages\n# type: cell\n# rows: 1\n# columns: {len(areas)}\n{cells}\n\n"
        f"# name: num_of_pkg\n# type: scalar\n{len(areas)}\n\n\n"
        + _matrix("imagesize", (height, width, planes))
        + _matrix("z_blocks", (1, *tiling.z_cuts[1:]))
    )


def counts_text(tiling: Tiling) -> str:
    """Return the content of `package_processing_info.txt`."""
    return f"\nNumber of XY Packages\n{tiling.tiles}\nNumber of z-blocks\n{tiling.z_blocks}"


@dataclass(frozen=True)
class Info:
    """What a `de_augmentation_info.mat` says.

    Attributes
    ----------
    shape : tuple of int
        Voxels along (z, y, x).
    rows, columns : tuple of (begin, end)
        What the tiles read along y and along x.
    z_cuts : tuple of int
        Where z is cut, both ends included.
    """

    shape: Coordinate
    rows: tuple[Range, ...]
    columns: tuple[Range, ...]
    z_cuts: tuple[int, ...]


def parse_info(text: str, path: Path) -> Info:
    """Read the text of a `de_augmentation_info.mat`; white space, order and further variables do not matter.

    Raises
    ------
    FormatError
        When a variable is missing or does not fit the others, or the packages form no grid.
    """
    found = _variables(text)
    packages, sizes, blocks = (found.get(name, []) for name in ("packages", "imagesize", "z_blocks"))
    if len(sizes) != 3 or len(blocks) < 2 or not packages or len(packages) % 4:
        raise FormatError(
            f"{path} does not describe packages (found {', '.join(found) or 'no variables'}; expected packages, "
            "num_of_pkg, imagesize and z_blocks in Octave's text format). Run DefDataPackages again"
        )
    height, width, planes = sizes
    if min(sizes) < 1:
        raise FormatError(f"{path} names an image of {width} x {height} x {planes} voxels. Run DefDataPackages again")
    corners = [(packages[i], packages[i + 1], packages[i + 2], packages[i + 3]) for i in range(0, len(packages), 4)]
    cuts = (0, *blocks[1:])
    if (
        cuts[-1] != planes
        or list(cuts) != sorted(set(cuts))
        or found.get("num_of_pkg", [len(corners)]) != [len(corners)]
    ):
        raise FormatError(
            f"{path} contradicts itself ({len(corners)} packages, {planes} planes, z_blocks {blocks}). "
            "Run DefDataPackages again"
        )
    rows, columns = _grid([from_octave_area(area) for area in corners], path)
    for ranges, side in ((rows, height), (columns, width)):
        if not _covers(ranges, side):
            raise FormatError(
                f"{path} describes packages that do not fit {height} x {width}: run DefDataPackages again"
            )
    return Info((planes, height, width), rows, columns, cuts)


def _covers(ranges: tuple[Range, ...], side: int) -> bool:
    """Return whether tiles begin at 0, follow each other within a side, and reach its end.

    Those of the original begin at 1 along a side that it does not cut, where it cuts the other one (defect 3).
    """
    begins = [begin for begin, _ in ranges]
    joined = all(begin <= end for (begin, _), (_, end) in zip(ranges[1:], ranges, strict=False))
    whole = begins[:1] in ([0], [1]) and begins == sorted(set(begins)) and ranges[-1][1] >= side
    return whole and joined and all(0 <= begin < min(end, side) for begin, end in ranges)


def _grid(areas: list[Area], path: Path) -> tuple[tuple[Range, ...], tuple[Range, ...]]:
    """Return the rows and columns whose tiles `areas` lists, rows first."""
    rows = tuple(dict.fromkeys((y0, y1) for y0, y1, _, _ in areas))
    columns = tuple(dict.fromkeys((x0, x1) for _, _, x0, x1 in areas))
    if areas != [(*row, *column) for row in rows for column in columns]:
        raise FormatError(f"{path} describes packages that form no grid. Run DefDataPackages again")
    return rows, columns


def _variables(text: str) -> dict[str, list[int]]:
    """Return the numbers under every `# name:` line; those of a cell's elements count as the cell's."""
    found: dict[str, list[int]] = {}
    numbers: list[int] = []
    for line in text.splitlines():
        name = re.match(r"#\s*name:\s*(\S+)", line)
        if name and name[1] != "<cell-element>":
            numbers = found.setdefault(name[1], [])
        elif not line.startswith("#"):
            numbers.extend(_whole(word) for word in line.split() if NUMBER.fullmatch(word))
    return found


def _whole(word: str) -> int:
    """Return a number as an int; one that is too large to be a size as -1, which fits nothing."""
    value = float(word)
    return int(value) if abs(value) < 2**53 else -1


def _matrix(name: str, values: tuple[int, ...]) -> str:
    row = " ".join(str(value) for value in values)
    return f"# name: {name}\n# type: matrix\n# rows: 1\n# columns: {len(values)}\n {row}\n\n\n"
