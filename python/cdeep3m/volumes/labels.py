"""Labels: volumes of two values, background and foreground, whatever numbers stand for them; or of several classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.errors import InputError
from cdeep3m.matlab_ports.check_training_data import values_of_plane
from cdeep3m.volumes.gray import demand_finite

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cdeep3m.geometry import Roi
    from cdeep3m.volumes.base import PlaneVolume, Volume

IGNORED = 255
"""What voxels that do not count read as."""
SHOWN = 8
"""So many values are listed in a message."""


class LabelVolume:
    """A volume that holds 0 (background) and one other value; it reads as 0 and 1.

    Parameters
    ----------
    volume : PlaneVolume
        The labels as they are on disk.
    name : str
        File or folder, for messages.
    """

    def __init__(self, volume: PlaneVolume, name: str) -> None:
        self.shape = volume.shape
        self.is_folder = volume.is_folder
        self.chunks, self.placement = volume.chunks, volume.placement
        self.dtype = np.dtype(np.uint8)
        self._volume = volume
        self._name = name

    def read(self, roi: Roi) -> np.ndarray:
        """Return the labels of `roi` as uint8 0 and 1, axes (z, y, x).

        Raises
        ------
        InputError
            When these planes hold more than 0 and one other value.
        """
        labels = np.empty(roi.shape, np.uint8)
        found = []
        for z, plane in enumerate(self._volume.planes(roi)):
            demand_finite(plane, self._name)
            found.append(values_of_plane(plane))
            labels[z] = plane != 0
        check_two_values(found, self._name)
        return labels

    def blocks(self, limit: int) -> Iterator[tuple[Roi, np.ndarray]]:
        """Yield the whole volume as uint8 0 and 1; the values are checked after the last box."""
        found = [np.empty(0, self._volume.dtype)] * self.shape[0]
        for roi, block in self._volume.blocks(limit):
            demand_finite(block, self._name)
            foreground = block != 0
            for z, values in enumerate(values_of_planes(block, foreground), start=roi.begin[0]):
                found[z] = np.union1d(found[z], values)
            del block  # or it is in memory while its labels are used, and these while the next one is read
            yield roi, foreground.view(np.uint8)
            del foreground
        check_two_values(found, self._name)


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """What the numbers in labels stand for.

    Attributes
    ----------
    classes : int
        2: 0 is background and any one other number foreground; more: the numbers are the classes, from 0.
    ignore : int, optional
        The number of voxels that nobody has labelled.

    Raises
    ------
    InputError
        Fewer classes than 2 or more than fit into a byte, or background is to be ignored.
    """

    classes: int = 2
    ignore: int | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.classes <= IGNORED:
            raise InputError(f"--classes {self.classes}: expected a number from 2 to {IGNORED}")
        if self.ignore is not None and (self.ignore == 0 or 0 < self.ignore < self.classes != 2):
            raise InputError(
                f"--ignore {self.ignore}: {self.ignore} is a class; expected a number that is none, as in "
                f"{max(self.classes, 2)}"
            )

    def __bool__(self) -> bool:
        """Return whether labels are anything but two numbers."""
        return self != Labelling()


class ClassVolume:
    """Labels of several classes, or with voxels that do not count: they read as the classes, and as `IGNORED`.

    Parameters
    ----------
    volume : Volume
        The labels as they are on disk, in whole numbers.
    name : str
        File or folder, for messages.
    labelling : Labelling
        What the numbers stand for.

    Attributes
    ----------
    labelling : Labelling
    """

    def __init__(self, volume: Volume, name: str, labelling: Labelling) -> None:
        self.shape = volume.shape
        self.is_folder = volume.is_folder
        self.chunks, self.placement = volume.chunks, volume.placement
        self.dtype = np.dtype(np.uint8)
        self._volume, self._name, self.labelling = volume, name, labelling

    def read(self, roi: Roi) -> np.ndarray:
        """Return the labels of `roi` as uint8, axes (z, y, x).

        Raises
        ------
        InputError
            There is a number that stands for nothing.
        """
        return self._classes(self._volume.read(roi), [])

    def blocks(self, limit: int) -> Iterator[tuple[Roi, np.ndarray]]:
        """Yield the whole volume as uint8; of two classes, the values are checked after the last box."""
        found: list[np.ndarray] = []
        for roi, block in self._volume.blocks(limit):
            yield roi, self._classes(block, found)
        check_two_values(found, self._name)

    def _classes(self, labels: np.ndarray, found: list[np.ndarray]) -> np.ndarray:
        ignored = labels == self.labelling.ignore if self.labelling.ignore is not None else np.zeros(1, bool)
        if self.labelling.classes == 2:
            values = [np.unique(plane) for plane in np.where(ignored, 0, labels)]
            found += values
            check_two_values(found, self._name)
            return np.where(ignored, IGNORED, labels != 0).astype(np.uint8)
        self._demand_classes(labels[~ignored & ((labels < 0) | (labels >= self.labelling.classes))])
        return np.where(ignored, IGNORED, labels).astype(np.uint8)

    def _demand_classes(self, others: np.ndarray) -> None:
        if len(others):
            listed = ", ".join(map(str, np.unique(others)[:SHOWN].tolist()))
            last = self.labelling.classes - 1
            raise InputError(
                f"{self._name}: labels hold {listed}; expected 0 to {last} for {last + 1} classes. Give more "
                "--classes, or --ignore for a label that does not count"
            )


class OneClass:
    """One class of several against all others: it reads as 1, the others as 0, and what does not count as `IGNORED`.

    Parameters
    ----------
    volume : Volume
        The labels as they are on disk, in whole numbers.
    label : int
        The class.
    ignore : int, optional
        The number of voxels that nobody has labelled.
    """

    def __init__(self, volume: Volume, label: int, ignore: int | None = None) -> None:
        self.shape = volume.shape
        self.is_folder = volume.is_folder
        self.chunks, self.placement = volume.chunks, volume.placement
        self.dtype = np.dtype(np.uint8)
        self._volume, self._label, self._ignore = volume, label, ignore

    def read(self, roi: Roi) -> np.ndarray:
        """Return `roi` as uint8, axes (z, y, x)."""
        return self._of_class(self._volume.read(roi))

    def blocks(self, limit: int) -> Iterator[tuple[Roi, np.ndarray]]:
        """Yield the whole volume as uint8."""
        return ((roi, self._of_class(block)) for roi, block in self._volume.blocks(limit))

    def _of_class(self, labels: np.ndarray) -> np.ndarray:
        of_class = (labels == self._label).astype(np.uint8)
        return of_class if self._ignore is None else np.where(labels == self._ignore, np.uint8(IGNORED), of_class)


def values_of_planes(stack: np.ndarray, foreground: np.ndarray) -> list[np.ndarray]:
    """Return the different values of every plane of labels; fast where each has one value beside 0.

    Parameters
    ----------
    stack : ndarray, shape (z, y, x)
        In any order in memory.
    foreground : ndarray of bool, shape (z, y, x)
        Where it is not 0.

    Returns
    -------
    list of ndarray
        0 may be listed for a plane that lacks it, where another plane has it.

    Examples
    --------
    >>> stack = np.uint8([[[0, 1]], [[255, 255]], [[1, 2]]])
    >>> [values.tolist() for values in values_of_planes(stack, stack != 0)]
    [[0, 1], [255], [1, 2]]
    >>> [values.tolist() for values in values_of_planes(stack[:2], stack[:2] != 0)]
    [[0, 1], [0, 255]]
    """
    marks = stack.max(axis=(1, 2), keepdims=True)
    further = stack != marks
    further &= foreground
    if further.any():
        return [values_of_plane(plane) for plane in stack]
    background = np.zeros(int(not foreground.all()), stack.dtype)
    return [np.union1d(background, mark.ravel()) for mark in marks]


class SegmentationVolume:
    """A volume of labels as they are, whole numbers of any type on disk.

    Parameters
    ----------
    volume : PlaneVolume
        The labels as they are on disk.
    name : str
        File or folder, for messages.
    """

    def __init__(self, volume: PlaneVolume, name: str) -> None:
        self.shape = volume.shape
        self.is_folder = volume.is_folder
        self.chunks, self.placement = volume.chunks, volume.placement
        self.dtype = np.dtype(np.int64)
        self._volume = volume
        self._name = name

    def read(self, roi: Roi) -> np.ndarray:
        """Return the labels of `roi` as int64, axes (z, y, x).

        Raises
        ------
        InputError
            When a value has a fraction.
        """
        return whole_numbers(self._volume.read(roi), self._name)

    def blocks(self, limit: int) -> Iterator[tuple[Roi, np.ndarray]]:
        """Yield the whole volume as int64."""
        step = max(1, self._volume.dtype.itemsize * limit // self.dtype.itemsize)
        return ((roi, whole_numbers(block, self._name)) for roi, block in self._volume.blocks(step))


def whole_numbers(labels: np.ndarray, name: str) -> np.ndarray:
    """Return labels as int64.

    Parameters
    ----------
    labels : ndarray of any type and shape
    name : str
        Where they are from, for the message.

    Raises
    ------
    InputError
        When a value has a fraction, or does not fit.

    Examples
    --------
    >>> whole_numbers(np.float32([0, 70000]), "labels").tolist()
    [0, 70000]
    """
    if labels.dtype.kind not in "buif":
        raise InputError(f"{name} holds {labels.dtype} values; expected labels, in whole numbers")
    demand_finite(labels, name)
    with np.errstate(invalid="ignore"):
        whole = labels.astype(np.int64)
    if (whole != labels).any():
        value = labels[whole != labels][0]
        raise InputError(f"{name} holds {labels.dtype} values such as {value}; expected labels, in whole numbers")
    return whole


def check_two_values(of_planes: Iterable[np.ndarray], name: str) -> None:
    """Make sure that labels hold 0 and at most one other value.

    Planes of {0, 1} and planes of {0, 255} may follow each other, as the original reads both as 0 and 1.

    Parameters
    ----------
    of_planes : iterable of ndarray of a number type, shape (values,)
        The different values of every plane.
    name : str
        File or folder, for the message.

    Raises
    ------
    InputError
        Lists the values.

    Examples
    --------
    >>> check_two_values([np.array([0, 1]), np.array([0, 255]), np.array([0])], "labels")
    >>> check_two_values([np.array([0, 1, 2])], "labels")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    cdeep3m.errors.InputError: labels: labels hold 3 values (0, 1, 2); expected 0 for background and one other value ...
    """
    sets = [{value.item() for value in values} for values in of_planes]
    marks = {1 if values <= {0, 255} and value else value for values in sets for value in values if value != 0}
    if len(marks) > 1:
        values = sorted(set().union(*sets))
        listed = ", ".join(map(str, values[:SHOWN])) + (", ..." if len(values) > SHOWN else "")
        raise InputError(
            f"{name}: labels hold {len(values)} values ({listed}); expected 0 for background and one other value "
            "for foreground. Threshold them, or train on all of them by cdeep3m train --classes"
        )
