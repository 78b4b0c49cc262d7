"""Units of length as formats spell them, and lengths in another unit."""

from __future__ import annotations

from cdeep3m.errors import InputError
from cdeep3m.geometry import Placement

METRES = {
    "angstrom": 1e-10,
    "picometer": 1e-12,
    "nanometer": 1e-9,
    "micrometer": 1e-6,
    "millimeter": 1e-3,
    "centimeter": 1e-2,
    "inch": 0.0254,
    "meter": 1.0,
}
"""Length of each unit; the names are those of OME-Zarr."""
SPELLINGS = {
    "angstrom": ("å", "a", "ang", "angstroms", "\u212b"),
    "picometer": ("pm", "picometre"),
    "nanometer": ("nm", "nanometre", "nanometers", "nanometres"),
    "micrometer": ("um", "µm", "\u03bcm", "\\u00b5m", "micron", "microns", "micrometre", "micrometers", "micrometres"),
    "millimeter": ("mm", "millimetre", "millimeters"),
    "centimeter": ("cm", "centimetre", "centimeters"),
    "inch": ("in", "inches"),
    "meter": ("m", "metre", "meters", "metres"),
}
NOT_LENGTHS = ("", "pixel", "pixels", "px", "voxel", "none", "null", "reference frame")
"""What files write where nothing is known."""
SYMBOLS = {"angstrom": "Å", "nanometer": "nm", "micrometer": "µm", "millimeter": "mm", "meter": "m"}


def known_unit(spelled: str | None) -> str | None:
    """Return the name of a unit of length; None where a file says that it knows none.

    Raises
    ------
    InputError
        The unit is none of length.

    Examples
    --------
    >>> known_unit("µm"), known_unit("Nanometer"), known_unit("pixel"), known_unit(None)
    ('micrometer', 'nanometer', None, None)
    """
    word = (spelled or "").strip().lower()
    if word in NOT_LENGTHS:
        return None
    for name, spellings in SPELLINGS.items():
        if word == name or word in spellings:
            return name
    raise InputError(f"found the unit {spelled!r}; expected one of {', '.join(METRES)}")


def in_unit(lengths: tuple[float, float, float], unit: str, wanted: str) -> tuple[float, float, float]:
    """Return lengths given in `unit` in the unit `wanted`.

    Examples
    --------
    >>> in_unit((0.03, 0.008, 0.008), "micrometer", "nanometer")
    (30.0, 8.0, 8.0)
    """
    if unit == wanted:
        return lengths
    ratio = METRES[unit] / METRES[wanted]
    z, y, x = (float(f"{length * ratio:.12g}") for length in lengths)
    return z, y, x


def in_nanometers(placement: Placement) -> tuple[float, float, float] | None:
    """Return the size of a voxel along (z, y, x) in nanometres; None where it is not known.

    Examples
    --------
    >>> in_nanometers(Placement((0.03, 0.008, 0.008), "micrometer")), in_nanometers(Placement())
    ((30.0, 8.0, 8.0), None)
    """
    if placement.voxel_size is None or placement.unit is None:
        return None
    z, y, x = (round(side, 6) for side in in_unit(placement.voxel_size, placement.unit, "nanometer"))
    return z, y, x


def placed(
    voxel_size: tuple[float, float, float], unit: str | None, offset: tuple[float, float, float], *, name: str
) -> Placement:
    """Return where a volume lies by what its file says.

    Raises
    ------
    InputError
        A voxel has no size, or a negative one.
    """
    if not all(0 < side < float("inf") for side in voxel_size):
        raise InputError(f"{name} says that voxels are {voxel_size} along (z, y, x); expected sides above 0")
    return Placement(voxel_size, unit, offset)
