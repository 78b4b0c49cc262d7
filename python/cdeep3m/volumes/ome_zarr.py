"""OME-Zarr 0.4 and 0.5: what their metadata say of axes, voxel sizes and levels, and how we write it."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdeep3m import __version__
from cdeep3m.errors import FormatError, InputError, needing
from cdeep3m.geometry import Placement
from cdeep3m.volumes.units import in_unit, known_unit, placed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.volumes.stores import Attributes

logger = logging.getLogger(__name__)

READ = ("0.4", "0.5")
OF_TYPE = {"time": "t", "channel": "c"}


@dataclass(frozen=True, kw_only=True)
class Level:
    """One array of a pyramid.

    Attributes
    ----------
    path : str
        Below the group.
    scale, translation : tuple of float
        For each axis.
    """

    path: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """What a group says of an image.

    Attributes
    ----------
    axes : str
        A letter for each axis.
    units : tuple of (str or None)
        For each axis; None where it is not said, or no length.
    levels : tuple of Level
        The largest first.
    """

    axes: str
    units: tuple[str | None, ...]
    levels: tuple[Level, ...]

    def place(self, level: int, *, name: str) -> Placement:
        """Return where the volume of a level lies; a single plane is taken to be as deep as its voxels are wide.

        Raises
        ------
        InputError
            A unit is none of length, or a voxel has no size.
        """
        found = self.levels[level]
        units = {axis: self._unit(axis) for axis in "zyx" if axis in self.axes}
        known = [unit for unit in units.values() if unit]
        unit = known[-1] if known else None
        if known and len(known) < len(units):
            lacking = ", ".join(axis for axis, one in units.items() if not one)
            logger.warning("%s says no unit of %s; that of the others is taken for it, %s", name, lacking, unit)
        sizes, begins = [], []
        for axis in "zyx":
            at = self.axes.find(axis)
            size, begins_at = (found.scale[at], found.translation[at]) if at >= 0 else (1.0, 0.0)
            own = units.get(axis)
            if own and unit and own != unit:
                size, begins_at, _ = in_unit((size, begins_at, 0.0), own, unit)
            sizes.append(size)
            begins.append(begins_at)
        if "z" not in self.axes:
            sizes[0] = sizes[2]
        said = unit is not None or any(size != 1 for size in self.levels[0].scale) or any(begins)
        begin = (begins[0], begins[1], begins[2])
        return placed((sizes[0], sizes[1], sizes[2]), unit, begin, name=name) if said else Placement()

    def level_of(self, path: str) -> int | None:
        """Return the number of the level at `path`; None where it is none of them."""
        paths = [level.path.strip("/") for level in self.levels]
        return paths.index(path) if path in paths else None

    def _unit(self, axis: str) -> str | None:
        return known_unit(self.units[self.axes.index(axis)])


def read_pyramid(attributes: Attributes, name: str) -> Pyramid | None:
    """Return what the attributes of a group say of an image; None where they are not of an OME-Zarr image.

    Parameters
    ----------
    attributes : dict
        `.zattrs` of Zarr 2, or the attributes in `zarr.json` of Zarr 3.
    name : str
        The group, for messages.

    Raises
    ------
    InputError
        It is of another version, a plate, or several images.
    FormatError
        The metadata break the rules of OME-Zarr.
    """
    ome = attributes.get("ome") if isinstance(attributes.get("ome"), dict) else None
    said: Attributes = attributes if ome is None else ome
    for key, what in (("plate", "a plate"), ("well", "a well"), ("bioformats2raw.layout", "several images")):
        if key in said and "multiscales" not in said:
            raise InputError(f"{name} holds {what}; expected one image. Name it, such as {name}::0")
    if "multiscales" not in said:
        return None
    multiscale = _checked(said, name, version="0.5" if ome is not None else "0.4")
    axes = [_letter(axis, name) for axis in multiscale["axes"]]
    units = tuple(axis.get("unit") if axis.get("type", "space") == "space" else None for axis in multiscale["axes"])
    shared = multiscale.get("coordinateTransformations") or []
    levels = tuple(_level(dataset, shared, len(axes), name) for dataset in multiscale["datasets"])
    return Pyramid(axes="".join(axes), units=units, levels=levels)


def pyramid_attributes(pyramid: Pyramid, *, version: str, name: str, method: str) -> Attributes:
    """Return the attributes of a group that describe an image; the inverse of `read_pyramid`.

    Parameters
    ----------
    pyramid : Pyramid
    version : {"0.4", "0.5"}
    name : str
        Of the image.
    method : str
        How levels are made of each other.
    """
    axes = [
        {"name": axis, "type": "space", **({"unit": unit} if unit else {})}
        for axis, unit in zip(pyramid.axes, pyramid.units, strict=True)
    ]
    datasets = [
        {
            "path": level.path,
            "coordinateTransformations": [
                {"type": "scale", "scale": list(level.scale)},
                {"type": "translation", "translation": list(level.translation)},
            ],
        }
        for level in pyramid.levels
    ]
    multiscale = {
        "name": name,
        "axes": axes,
        "datasets": datasets,
        "type": method,
        "metadata": {"method": f"cdeep3m {__version__}"},
    }
    if version == "0.4":
        return {"multiscales": [{"version": version, **multiscale}]}
    return {"ome": {"version": version, "multiscales": [multiscale]}}


def _checked(said: Attributes, name: str, *, version: str) -> Attributes:
    """Return the first multiscale image, after yaozarrs has looked at it."""
    multiscales = said["multiscales"]
    first = multiscales[0] if isinstance(multiscales, list) and multiscales else None
    if not isinstance(first, dict):
        raise FormatError(f"{name} breaks the rules of OME-Zarr (multiscales is {multiscales!r:.60}). Export it again")
    if len(multiscales) > 1:
        logger.warning("%s holds %d images (multiscales); the first of them is read", name, len(multiscales))
    found = _version(said, first, version)
    if found not in READ:
        raise InputError(
            f"{name} is OME-Zarr {found}; expected {' or '.join(READ)}. Convert it, or name an array in it"
        )
    with needing("yaozarrs", extra="zarr", module="yaozarrs"):
        from pydantic import ValidationError
        from yaozarrs import v04, v05
    part = {"version": found, "multiscales": [first if version == "0.4" else {**first}]}
    try:
        (v04 if version == "0.4" else v05).Image.model_validate(part)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise FormatError(
            f"{name} breaks the rules of OME-Zarr {found} ({where}: {' '.join(problem['msg'].split())[:200]}). "
            "Export it again"
        ) from error
    return first


def is_read(attributes: Attributes) -> bool:
    """Return whether the image that attributes describe is of a version that is read."""
    ome = attributes.get("ome")
    said: Attributes = ome if isinstance(ome, dict) else attributes
    multiscales = said.get("multiscales")
    first = multiscales[0] if isinstance(multiscales, list) and multiscales else None
    return not isinstance(first, dict) or _version(said, first, READ[0]) in READ


def _version(said: Attributes, image: Attributes, usual: str) -> str:
    return str(said.get("version", image.get("version", usual)))


def _letter(axis: Attributes, name: str) -> str:
    """Return the letter of an axis: its name where that is one of ours, or else by its type."""
    word = str(axis.get("name", "")).lower()
    letter = OF_TYPE.get(str(axis.get("type", "")), word if len(word) == 1 else "?")
    if letter == "?":
        raise InputError(f"{name} has an axis {axis.get('name')!r}; expected t, c, z, y, x")
    return letter


def _level(dataset: Attributes, shared: list[Attributes], count: int, name: str) -> Level:
    scale, translation = [1.0] * count, [0.0] * count
    for step in [*dataset["coordinateTransformations"], *shared]:
        values = step.get("scale") or step.get("translation")
        if not isinstance(values, list) or len(values) != count:
            raise FormatError(f"{name} says {step!r:.80} of {count} axes; expected a number for each. Export it again")
        if not all(math.isfinite(value) for value in values):
            raise FormatError(f"{name} says {step!r:.80}; expected finite numbers. Export it again")
        if step["type"] == "scale":
            scale = [a * b for a, b in zip(scale, values, strict=True)]
            translation = [a * b for a, b in zip(translation, values, strict=True)]
        else:
            translation = [a + b for a, b in zip(translation, values, strict=True)]
    return Level(path=str(dataset["path"]), scale=tuple(scale), translation=tuple(translation))


def downsampled(place: Placement, factors: Sequence[int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return scale and translation of a level whose voxels are means of `factors` voxels.

    The centre of the first one lies half of what it covers away from where that begins.

    Examples
    --------
    >>> downsampled(Placement(voxel_size=(30, 8, 8), unit="nanometer", offset=(0, 100, 200)), (1, 2, 4))
    ((30.0, 16.0, 32.0), (0.0, 104.0, 212.0))
    """
    sizes = place.voxel_size or (1.0, 1.0, 1.0)
    scale = tuple(float(size * factor) for size, factor in zip(sizes, factors, strict=True))
    translation = tuple(
        float(begin + (factor - 1) / 2 * size) for begin, factor, size in zip(place.offset, factors, sizes, strict=True)
    )
    return scale, translation
