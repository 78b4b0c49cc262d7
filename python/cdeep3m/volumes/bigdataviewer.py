"""BigDataViewer's XML files: the setups of the .n5 and .h5 files beside them, and how large their voxels are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from cdeep3m.errors import FormatError, InputError
from cdeep3m.geometry import Placement
from cdeep3m.volumes.units import known_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.volumes.axes import Selection


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What the XML file says of a setup: one channel, tile or angle.

    Attributes
    ----------
    number : int
    voxel_size : tuple of float
        Along (z, y, x).
    unit : str, optional
    """

    number: int
    voxel_size: tuple[float, float, float]
    unit: str | None


def read_setups(text: bytes, name: str) -> dict[int, Setup]:
    """Return the setups of an XML file that say their voxel size.

    Raises
    ------
    FormatError
        It is no such file.
    """
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise FormatError(f"{name} declares entities; expected a plain XML file of BigDataViewer")
    try:
        root = ElementTree.fromstring(text)
        setups = [_setup(node) for node in root.iter("ViewSetup")]
    except (ElementTree.ParseError, ValueError) as error:
        raise FormatError(f"{name} is no XML file of BigDataViewer ({error}). Export it again") from error
    return {setup.number: setup for setup in setups if setup is not None}


def place_of(setup: Setup | None, factors: Sequence[float]) -> Placement:
    """Return where a level lies, of which each voxel is a mean of `factors` voxels along (z, y, x)."""
    if setup is None:
        return Placement()
    sizes = setup.voxel_size
    scaled = [size * factor for size, factor in zip(sizes, factors, strict=True)]
    begins = [(factor - 1) / 2 * size for size, factor in zip(sizes, factors, strict=True)]
    return Placement(
        voxel_size=(scaled[0], scaled[1], scaled[2]), unit=setup.unit, offset=(begins[0], begins[1], begins[2])
    )


def chosen(found: Sequence[int], asked: int | None, *, what: str, option: str, name: str) -> int:
    """Return which setup or time is read: the one asked for, or the only one.

    Raises
    ------
    InputError
        There are several and none was asked for, or the one asked for is not there.
    """
    listed = ", ".join(map(str, found)) or "none"
    if asked is None and len(found) != 1:
        raise InputError(f"{name} holds the {what} {listed}; expected one to be chosen with {option}")
    if asked is not None and asked not in found:
        raise InputError(f"{name} holds the {what} {listed}; found {option} {asked}")
    return found[0] if asked is None else asked


def level_of(count: int, selection: Selection, name: str) -> int:
    """Return which level is read.

    Raises
    ------
    InputError
        It is not there.
    """
    level = selection.level or 0
    if level >= count:
        raise InputError(f"{name} has levels 0 to {count - 1}; found --level {level}")
    return level


def _setup(node: ElementTree.Element) -> Setup | None:
    number, size = node.findtext("id"), node.find("voxelSize")
    text = None if size is None else size.findtext("size")
    if number is None or size is None or text is None:
        return None
    x, y, z = (float(side) for side in text.split())
    return Setup(number=int(number), voxel_size=(z, y, x), unit=known_unit(size.findtext("unit")))
