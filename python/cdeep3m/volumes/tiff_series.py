"""What ImageJ and OME say in a TIFF file: which pages are the planes of a volume, and how large voxels are."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from cdeep3m.errors import FormatError, InputError, MissingFileError
from cdeep3m.geometry import Placement
from cdeep3m.volumes import tiff
from cdeep3m.volumes.axes import Layout, Selection, layout_of
from cdeep3m.volumes.damage import decoding
from cdeep3m.volumes.planes import open_planes
from cdeep3m.volumes.tiff import TiffStack
from cdeep3m.volumes.tiff_directories import directories
from cdeep3m.volumes.tiff_promises import check_promises
from cdeep3m.volumes.units import in_unit, known_unit, placed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cdeep3m.volumes.address import Address
    from cdeep3m.volumes.base import Reading, Volume

logger = logging.getLogger(__name__)

PLAIN = ("generic", "uniform")
"""Files that say nothing of their pages, in tifffile's words: a plane a page."""
DESCRIBED = ("imagej", "ome", "shaped", "lsm", "stk", "mmstack", "scanimage", "fluoview")
"""Kinds of files, in tifffile's words, that say something of their pages; others are not looked through."""
OME = "ome"
SAMPLES = "S"
CENTIMETER = 3
"""A value of the tag `ResolutionUnit`."""
UNKNOWN = "IQ"
"""Letters of tifffile for axes of which a file does not say what they are."""


@dataclass(frozen=True, kw_only=True)
class ChosenPages:
    """The pages that are the planes of a volume.

    Attributes
    ----------
    pages : sequence of int, optional
        Numbers of pages, in the order of the planes; None: all, and nothing is said of them.
    level : int
        Which of the smaller images that hang from each page; 0 is the page itself.
    placement : Placement
    """

    pages: Sequence[int] | None
    level: int
    placement: Placement


def open_address(address: Address, reading: Reading) -> Volume:
    """Open a stack file; what ImageJ or OME say in it of channels, times and voxels counts, but not in exact mode."""
    path = address.path
    if reading.rules.octave_images:
        return tiff.open_address(address, reading)
    with decoding(path, "TIFF"):
        pages = directories(path)
        check_promises(path, pages, chosen=True)
        found = chosen_pages(path, address.dataset, reading.selection, str(address))
    return open_planes(TiffStack(path, found.pages, level=found.level, placement=found.placement, pages=pages), reading)


def chosen_pages(path: Path, dataset: str, selection: Selection, name: str) -> ChosenPages:
    """Return which pages of a file are the volume that is asked for.

    Parameters
    ----------
    path : Path
    dataset : str
        Number of an image of the file, counted from 0; empty where there is only one.
    selection : Selection
    name : str
        The file, for messages.

    Raises
    ------
    InputError
        There are several images, channels or times and none is chosen, or planes are missing.
    """
    with tifffile.TiffFile(path) as file:
        if not any(getattr(file, f"is_{kind}") for kind in DESCRIBED):
            return _plain(file, dataset, selection, name)
        found = file.series
        if not found or found[0].kind in PLAIN or (len(found) > 1 and found[0].kind != OME and not dataset):
            _say_of_several(found, name)
            return _plain(file, dataset, selection, name)
        number = _number(dataset, len(found), name)
        level = selection.level or 0
        if level >= len(found[number].levels):
            raise InputError(f"{name} has levels 0 to {len(found[number].levels) - 1}; found --level {level}")
        series = found[number].levels[level]
        full = found[number]
        said, sides = _planes(series)
        if series.kind != OME:
            said = _as_planes(said, selection, name)
            _say_who_ordered_the_planes(file, sides, name)
        layout = layout_of(sides, said, _without_level(selection), name=name)
        order = _order(layout)
        pages = order if is_contiguous(file) else [_page_number(full, at, path, name) for at in order]
        return ChosenPages(pages=pages, level=level, placement=_placement(file, number, level, full, series, name))


def _say_of_several(found: Sequence[tifffile.TiffPageSeries], name: str) -> None:
    """Say that a file holds several series of planes, which are read as one; planes that are one each are no series."""
    counts = [len(series.pages) for series in found]
    if len(found) > 1 and max(counts) > 1:
        logger.warning(
            "Warning: %s holds %d series (of %s planes), read as one volume; name the one that is meant, such as %s::0",
            name,
            len(found),
            ", ".join(map(str, counts[:5])) + ", ..." * (len(counts) > 5),
            name,
        )


def is_contiguous(file: tifffile.TiffFile) -> bool:
    """Return whether ImageJ wrote one page and all further planes behind it, as it does beyond 4 GB."""
    if len(file.pages) != 1 or not file.is_imagej:
        return False
    series = file.series[0]
    return series.ndim >= 3 and series.dataoffset is not None and SAMPLES not in series.axes


def _plain(file: tifffile.TiffFile, dataset: str, selection: Selection, name: str) -> ChosenPages:
    """Return all pages, or the one that the user's axes make of them."""
    if dataset:
        raise MissingFileError(f"{name}: the file has no images by name or number; leave out ::{dataset}")
    first = file.pages.first
    sides = (len(file.pages), first.imagelength, first.imagewidth)
    layout = layout_of(sides, "zyx", _without_level(selection), name=name)
    if selection.level:
        raise InputError(f"{name} has no level {selection.level}; leave out --level")
    order = None if selection == Selection() else _order(layout)
    return ChosenPages(pages=order, level=0, placement=Placement())


def _without_level(selection: Selection) -> Selection:
    return Selection(axes=selection.axes, channel=selection.channel, time=selection.time)


def _number(dataset: str, count: int, name: str) -> int:
    if not dataset and count == 1:
        return 0
    if not dataset:
        raise InputError(f"{name} holds {count} images; expected one to be named: {name}::0 to {name}::{count - 1}")
    if not dataset.isdecimal() or int(dataset) >= count:
        raise MissingFileError(f"{name}: found the image {dataset!r}; expected 0 to {count - 1}")
    return int(dataset)


def _planes(series: tifffile.TiffPageSeries) -> tuple[str | None, tuple[int, ...]]:
    """Return the axes of a series and their lengths, without those of colours; None where the file does not say."""
    pairs = [(a, n) for a, n in zip(series.axes, series.shape, strict=True) if a != SAMPLES]
    if "".join(axis for axis, _ in pairs[-2:]) != "YX":
        raise InputError(f"found a TIFF file with the axes {series.axes}; expected planes along y and x")
    lead = [(axis, side) for axis, side in pairs[:-2] if axis not in UNKNOWN or side > 1]
    sides = tuple(side for _, side in [*lead, *pairs[-2:]])
    unknown = [axis for axis, _ in lead if axis in UNKNOWN]
    if not unknown:
        return "".join(axis for axis, _ in lead).lower() + "yx", sides
    return ("zyx" if len(lead) == 1 else None), sides


def _as_planes(said: str | None, selection: Selection, name: str) -> str | None:
    """Take the only channels or times of an ImageJ file for planes along z, and say so."""
    if said not in ("cyx", "tyx") or selection.axes or selection.channel is not None or selection.time is not None:
        return said
    logger.warning(
        "%s says that its planes are %s; they are read as planes along z. --%s N would read one of them",
        name,
        *(("channels", "channel") if said == "cyx" else ("times", "time")),
    )
    return "zyx"


def _say_who_ordered_the_planes(file: tifffile.TiffFile, sides: tuple[int, ...], name: str) -> None:
    """Warn of hyperstacks that Bio-Formats wrote as ImageJ's, which it signs without a version.

    It leaves the planes in the order of what it converts, and notes none: it reads them otherwise itself then.
    """
    unsigned = file.is_imagej and not (file.imagej_metadata or {}).get("ImageJ")
    if unsigned and sum(side > 1 for side in sides[:-2]) > 1:
        logger.warning(
            "%s was written by Bio-Formats, which does not note the order of channels, planes and times; they are "
            "read in ImageJ's. If they are mixed up, convert to .ome.tif instead",
            name,
        )


def _order(layout: Layout) -> list[int]:
    """Return the number of each plane among all planes of the array."""
    if not layout.axes.endswith("yx"):
        raise InputError(f"--axes {layout.axes}: the pages of a TIFF file are planes; expected axes that end with yx")
    lead = layout.axes[:-2]
    numbers = np.arange(int(np.prod(layout.stored[:-2], dtype=np.int64))).reshape(layout.stored[:-2])
    index: tuple[Any, ...] = tuple(slice(None) if axis == "z" else layout.fixed[axis] for axis in lead)
    return [int(number) for number in np.ravel(numbers[index])]


def _page_number(series: tifffile.TiffPageSeries, at: int, path: Path, name: str) -> int:
    page = series.pages[at]
    if page is None:
        raise FormatError(f"{name} lacks the plane {at} that its metadata list. Copy or export it again")
    if page.parent.filehandle.name != path.name:
        raise InputError(f"{name} is spread over several files; found {page.parent.filehandle.name}. Make one of them")
    return int(page.index)


def _placement(
    file: tifffile.TiffFile,
    number: int,
    level: int,
    full: tifffile.TiffPageSeries,
    series: tifffile.TiffPageSeries,
    name: str,
) -> Placement:
    found = _of_ome(file.ome_metadata, number, name) if file.is_ome and file.ome_metadata else _of_imagej(file, name)
    if not level or found.voxel_size is None:
        return found
    by = {
        axis: full.shape[full.axes.index(axis)] / series.shape[series.axes.index(axis)]
        for axis in "ZYX"
        if axis in full.axes
    }
    z, y, x = (size * by.get(axis, 1.0) for axis, size in zip("ZYX", found.voxel_size, strict=True))
    return placed((z, y, x), found.unit, (0.0, 0.0, 0.0), name=name)


def _of_imagej(file: tifffile.TiffFile, name: str) -> Placement:
    """Return what ImageJ says, and what it takes for granted: pixels per unit as the resolution, `spacing` of planes.

    Without a spacing planes are 1 unit apart: ImageJ leaves the number out then (FileSaver.java). It takes pixels per
    centimeter for such where the unit is um (FileOpener.java).
    """
    said = file.imagej_metadata if file.is_imagej else None
    unit = _unit(said.get("unit")) if said else None
    if not said or unit is None:
        return Placement()
    tags = file.pages.first.tags
    per_unit = [tags[tag].value if tag in tags else (0, 1) for tag in ("YResolution", "XResolution")]
    in_centimeters = "ResolutionUnit" in tags and tags["ResolutionUnit"].value == CENTIMETER and said["unit"] == "um"
    y, x = (
        float(f"{parts / count * (1e4 if in_centimeters else 1):.9g}") if count else 0.0 for count, parts in per_unit
    )
    z = abs(_number_in(said, "spacing", 1.0)) or 1.0
    if min(y, x) <= 0:
        return Placement()
    z, y = (
        in_unit((side, 0.0, 0.0), _unit(said.get(f"{axis}unit")) or unit, unit)[0]
        for axis, side in (("z", z), ("y", y))
    )
    oz, oy, ox = (
        float(f"{-_number_in(said, f'{a}origin', 0.0) * size:.9g}") + 0.0
        for a, size in zip("zyx", (z, y, x), strict=True)
    )
    return placed((z, y, x), unit, (oz, oy, ox), name=name)


def _number_in(said: Mapping[str, Any], key: str, default: float) -> float:
    """Return a number that ImageJ wrote; what is none counts as not said."""
    try:
        number = float(said.get(key, default))
    except (TypeError, ValueError):
        return default
    return number if math.isfinite(number) else default


def _of_ome(text: str, number: int, name: str) -> Placement:
    """Return what OME-XML says of an image: PhysicalSizeX and so on, in micrometers unless it says else."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise FormatError(f"{name} declares entities in its OME-XML; expected none")
    try:
        images = [node for node in ElementTree.fromstring(text) if node.tag.endswith("}Image") or node.tag == "Image"]
    except ElementTree.ParseError as error:
        raise FormatError(f"{name} has OME-XML that cannot be read ({error}). Export it again") from error
    pixels = next((node for node in images[number] if node.tag.endswith("Pixels")), None) if images[number:] else None
    if pixels is None or "PhysicalSizeX" not in pixels.attrib:
        return Placement()
    said = pixels.attrib
    sizes = {axis: float(said[f"PhysicalSize{axis}"]) for axis in "ZYX" if f"PhysicalSize{axis}" in said}
    units = {axis: _unit(said.get(f"PhysicalSize{axis}Unit", "µm")) for axis in sizes}
    unit = units["X"]
    if unit is None:
        return Placement()
    missing = [axis for axis in "ZY" if units.get(axis) is None]
    if missing and (missing != ["Z"] or said.get("SizeZ", "1") != "1"):
        logger.warning(
            "%s does not say how long its voxels are along %s: as long as along x is taken for it",
            name,
            " and ".join(missing).lower(),
        )
    z, y, x = (
        sizes["X"] if axis in missing else in_unit((sizes[axis], 0.0, 0.0), units[axis] or unit, unit)[0]
        for axis in "ZYX"
    )
    return placed((z, y, x), unit, (0.0, 0.0, 0.0), name=name)


def _unit(spelled: Any) -> str | None:
    """Return the unit; None where it is none of length, which does not keep an image from being read."""
    try:
        return known_unit(str(spelled) if spelled is not None else None)
    except InputError:
        return None
