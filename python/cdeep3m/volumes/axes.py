"""What the axes of a stored array mean, and which part of it is the volume (z, y, x) that was asked for."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from cdeep3m.errors import InputError
from cdeep3m.geometry import Roi

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

logger = logging.getLogger(__name__)

T = TypeVar("T")

SPACE = "zyx"
CHOSEN_BY = {"c": "--channel", "t": "--time"}
"""Axes of which one index is read, and the option that names it."""
WORDS = {"c": "channels", "t": "times"}
KNOWN = "tczyx"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which part of a file is asked for; what it leaves open has to be plain from the file.

    Attributes
    ----------
    axes : str, optional
        One letter of t, c, z, y, x for each axis of the array, the slowest first, for files that do not say.
    channel, time : int, optional
        Counted from 0.
    level : int, optional
        Level of a pyramid, counted from 0 (full size).
    roi : Roi, optional
        Box of the chosen volume; all of it by default.
    """

    axes: str | None = None
    channel: int | None = None
    time: int | None = None
    level: int | None = None
    roi: Roi | None = None

    def __post_init__(self) -> None:
        if self.axes is not None:
            _check_letters(self.axes, "--axes")
        for option, number in (("--channel", self.channel), ("--time", self.time), ("--level", self.level)):
            if number is not None and number < 0:
                raise InputError(f"{option} {number}: expected a number from 0 on")


@dataclass(frozen=True)
class Layout:
    """How a volume (z, y, x) lies in a stored array.

    Attributes
    ----------
    stored : tuple of int
        Shape of the array.
    axes : str
        One letter for each of its axes.
    fixed : dict of str to int
        The index that is read along each axis that is not of space.

    Examples
    --------
    >>> layout = Layout((3, 4, 5, 2), "xyzc", {"c": 1})
    >>> layout.shape
    (5, 4, 3)
    """

    stored: tuple[int, ...]
    axes: str
    fixed: dict[str, int] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (z, y, x); 1 along z where the array has no such axis."""
        return self.in_space(self.stored, missing=1)

    def in_space(self, of_axes: Sequence[T], *, missing: T) -> tuple[T, T, T]:
        """Return what `of_axes` lists for each stored axis, for (z, y, x)."""
        z, y, x = (of_axes[self.axes.index(axis)] if axis in self.axes else missing for axis in SPACE)
        return z, y, x

    def index(self, roi: Roi) -> tuple[slice | int, ...]:
        """Return the index of a box (z, y, x) in the stored array."""
        return tuple(roi.slices[SPACE.index(axis)] if axis in SPACE else self.fixed[axis] for axis in self.axes)

    def arrange(self, values: np.ndarray) -> np.ndarray:
        """Return what `index` cut out of the stored array as a view with the axes (z, y, x).

        Parameters
        ----------
        values : ndarray of any type

        Returns
        -------
        ndarray of that type, shape (z, y, x)
        """
        left = [axis for axis in self.axes if axis in SPACE]
        values = values.transpose([left.index(axis) for axis in SPACE if axis in left])
        return values if "z" in left else values[None]

    def disarrange(self, values: np.ndarray) -> np.ndarray:
        """Return a view of `values` (z, y, x) with the axes that `index` leaves; the inverse of `arrange`.

        Parameters
        ----------
        values : ndarray of any type, shape (z, y, x)

        Returns
        -------
        ndarray of that type, in the file's axes
        """
        present = [axis for axis in SPACE if axis in self.axes]
        left = [axis for axis in self.axes if axis in SPACE]
        values = values if "z" in present else values[0]
        return values.transpose([present.index(axis) for axis in left])


def parse_roi(text: str) -> Roi:
    """Read a box as users write it: z0:z1,y0:y1,x0:x1, counted from 0, the ends not included.

    Raises
    ------
    InputError
        It is written in another way, or has no voxels.

    Examples
    --------
    >>> parse_roi("0:20,100:612,0:512")
    Roi(begin=(0, 100, 0), end=(20, 612, 512))
    """
    found = re.fullmatch(r"(\d+):(\d+),(\d+):(\d+),(\d+):(\d+)", text.replace(" ", ""))
    if found is None:
        raise InputError(f"--roi {text}: expected z0:z1,y0:y1,x0:x1, such as 0:20,0:512,0:512")
    z0, z1, y0, y1, x0, x1 = map(int, found.groups())
    if z0 >= z1 or y0 >= y1 or x0 >= x1:
        raise InputError(f"--roi {text}: expected each axis to end after it begins, such as 0:20,0:512,0:512")
    return Roi((z0, y0, x0), (z1, y1, x1))


def layout_of(stored: Sequence[int], said: str | None, selection: Selection, *, name: str) -> Layout:
    """Decide how a volume lies in an array: by what the user says, or else by what the file says, never by a guess.

    Parameters
    ----------
    stored : sequence of int
        Shape of the array.
    said : str or None
        What the file says of its axes, a letter each; letters beyond t, c, z, y and x may stand for axes of length 1.
    selection : Selection
        What the user says.
    name : str
        The file, for messages.

    Raises
    ------
    InputError
        The file does not say what its axes are and the user does not either, what they say does not fit the array, or
        there are several channels or times and none is chosen.
    """
    shape = tuple(int(side) for side in stored)
    axes = selection.axes or said
    if axes is None:
        raise InputError(
            f"{name} has the shape {shape} and does not say what its axes are; expected --axes, one letter of t, c, z, "
            "y, x for each axis, such as --axes zyx"
        )
    if len(axes) != len(shape):
        where = "--axes names" if selection.axes else "it names"
        raise InputError(f"{name} has the shape {shape}, {len(shape)} axes, but {where} {len(axes)} ({axes})")
    if said is not None and selection.axes not in (None, said):
        logger.warning("%s says that its axes are %s; they are read as %s, as --axes asks", name, said, selection.axes)
    _check_letters(_without_short_axes(axes, shape, name), name)
    if 0 in shape:
        raise InputError(f"{name} has the shape {shape}; expected voxels along every axis")
    return Layout(shape, axes, _fixed(axes, shape, selection, name))


def refuse_unused(selection: Selection, *, name: str, kind: str) -> None:
    """Raise InputError when a channel, time or level other than the first is asked of a file that has only one."""
    for option, number in (("--channel", selection.channel), ("--time", selection.time), ("--level", selection.level)):
        if number:
            raise InputError(f"{name} is {kind} and has no {option[2:]} {number}; leave out {option}")
    if selection.axes not in (None, "zyx"):
        raise InputError(f"{name} is {kind}, whose axes are z, y and x; leave out --axes {selection.axes}")


def _check_letters(axes: str, where: str) -> None:
    if not {"y", "x"} <= set(axes) <= set(KNOWN) or len(set(axes)) != len(axes):
        raise InputError(
            f"{where}: found the axes {axes!r}; expected one letter of t, c, z, y, x for each axis, y and x among them"
        )


def _without_short_axes(axes: str, shape: tuple[int, ...], name: str) -> str:
    """Return `axes` without those of unknown meaning, which must have one element."""
    for axis, side in zip(axes, shape, strict=True):
        if axis not in KNOWN and side > 1:
            raise InputError(
                f"{name} has {side} elements along an axis {axis!r}; expected axes of t, c, z, y, x. "
                "Say with --axes what it is"
            )
    return "".join(axis for axis in axes if axis in KNOWN)


def _fixed(axes: str, shape: tuple[int, ...], selection: Selection, name: str) -> dict[str, int]:
    asked = {"c": selection.channel, "t": selection.time}
    fixed = {axis: 0 for axis in axes if axis not in SPACE}
    for axis, option in CHOSEN_BY.items():
        side = shape[axes.index(axis)] if axis in axes else 1
        number = asked[axis]
        if number is None and side > 1:
            planes = "" if "z" in axes else f", or --axes {axes.replace(axis, 'z')} where they are planes"
            raise InputError(
                f"{name} holds {side} {WORDS[axis]}; expected one to be chosen: {option} 0 to {option} {side - 1}"
                f"{planes}"
            )
        if number is not None and number >= side:
            raise InputError(f"{name} has {WORDS[axis]} 0 to {side - 1}; found {option} {number}")
        if axis in axes:
            fixed[axis] = number or 0
    return fixed
