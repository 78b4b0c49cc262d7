"""HDF5 files of other programs: ilastik's axis tags, CREMI's resolution, BigDataViewer's levels, Fiji's sizes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from cdeep3m.errors import FormatError, InputError, MissingFileError
from cdeep3m.geometry import Placement
from cdeep3m.volumes import bigdataviewer, hdf5
from cdeep3m.volumes.axes import SPACE, Selection, layout_of, refuse_unused
from cdeep3m.volumes.chunked import boxes_of_chunks
from cdeep3m.volumes.hdf5 import MOST_DATASETS, demand_stored, labelled_axes, opened, say_how_read
from cdeep3m.volumes.units import known_unit, placed
from cdeep3m.volumes.values import in_role

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cdeep3m.geometry import Roi
    from cdeep3m.volumes.address import Address
    from cdeep3m.volumes.axes import Layout
    from cdeep3m.volumes.base import Reading, Volume

OF_THE_ORIGINAL = "xyz"
"""Axes of a file with one dataset and nothing said of it, as the original writes it."""
NUMBERS = "uif"
FIJI_SIZE, CREMI_SIZE = "element_size_um", "resolution"


@dataclass(frozen=True, kw_only=True)
class Found:
    """A dataset, and what the file says of it.

    Attributes
    ----------
    path : str
        Of the dataset.
    axes : str or None
        A letter for each axis; None where nothing is said.
    place : Placement
    as_unsigned : bool
        Whether its 16-bit numbers are meant without a sign, as BigDataViewer stores them.
    """

    path: str
    axes: str | None
    place: Placement
    as_unsigned: bool = False


class Hdf5Dataset:
    """One dataset of an HDF5 file.

    Parameters
    ----------
    path : Path
    dataset : str
        Its path, or that of a group with one dataset; empty where the file has one.
    selection : Selection

    Raises
    ------
    MissingFileError
        There is no such dataset.
    InputError
        There are several, their axes are not said, or the values are no numbers.
    FormatError
        The file is damaged.
    """

    is_folder = False

    def __init__(self, path: Path, dataset: str = "", selection: Selection | None = None) -> None:
        self._path = path
        self._name = f"{path}::{dataset}" if dataset else str(path)
        wanted = selection or Selection()
        with opened(path) as file:
            found = _find(file, path, dataset, wanted, self._name)
            stored = file[found.path]
            demand_stored(stored, path)
            chunks = stored.chunks or (*(1,) * (stored.ndim - 2), *stored.shape[-2:])
            shape, dtype = stored.shape, stored.dtype
        if dtype.kind not in NUMBERS:
            raise InputError(f"{self._name} holds {dtype} values; expected whole numbers or floating point")
        if len(shape) < 2:
            raise InputError(f"{self._name} has the shape {shape}; expected two axes or more")
        rest = Selection(axes=wanted.axes) if found.as_unsigned else wanted
        self._dataset = found.path
        self._layout: Layout = layout_of(shape, found.axes, rest, name=self._name)
        self._stored = np.dtype(f"u{dtype.itemsize}") if found.as_unsigned and dtype.kind == "i" else dtype
        self._stored = self._stored.newbyteorder("=")
        self.shape = self._layout.shape
        self.dtype = np.dtype(np.float32) if self._stored == np.float16 else self._stored
        self.chunks = self._layout.in_space(
            [min(chunk, side) for chunk, side in zip(chunks, shape, strict=True)], missing=1
        )
        self.placement = found.place

    def read(self, roi: Roi) -> np.ndarray:
        """Return the voxels of `roi`, axes (z, y, x); only the chunks that they need are read."""
        with opened(self._path) as file:
            values = file[self._dataset][self._layout.index(roi)]
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        if values.dtype != self._stored:
            values = values.view(self._stored)
        return self._layout.arrange(values).astype(self.dtype, copy=False)

    def blocks(self, limit: int) -> Iterator[tuple[Roi, np.ndarray]]:
        """Yield the whole volume in boxes of about `limit` bytes, each of whole chunks."""
        for roi in boxes_of_chunks(self.shape, self.chunks, limit // self.dtype.itemsize):
            yield roi, self.read(roi)

    def planes(self, roi: Roi) -> Iterator[np.ndarray]:
        """Yield the planes of `roi`, which are all in memory at once."""
        return iter(self.read(roi))


def open_address(address: Address, reading: Reading) -> Volume:
    """Open the one dataset of a file as the original lays it out, or another one as its file describes it."""
    octave = reading.rules.octave_images
    if octave or (not address.dataset and is_of_the_original(address.path)):
        refuse_unused(Selection(level=reading.selection.level), name=str(address), kind="one dataset")
        return hdf5.open_address(address, reading)
    return in_role(Hdf5Dataset(address.path, address.dataset, reading.selection), reading.role, str(address))


def is_of_the_original(path: Path) -> bool:
    """Return whether a file has one dataset of three axes, and says nothing of it: the original's own kind.

    Raises
    ------
    FormatError
        The file is damaged.
    """
    with opened(path) as file:
        datasets = _datasets(file)
        return len(datasets) == 1 and file[datasets[0]].ndim == 3 and _said(file[datasets[0]], str(path)).axes is None


def _find(file: h5py.File, path: Path, dataset: str, selection: Selection, name: str) -> Found:
    item = file.get(dataset or "/")
    if item is None:
        listed = ", ".join(_datasets(file)) or "none"
        raise MissingFileError(f"{path} holds no {dataset!r}; found the datasets {listed}")
    if isinstance(item, h5py.Group) and (re.search(r"(^|/)t\d{5,}", item.name) or _times(item)):
        return _of_bigdataviewer(file, path, item, selection, name)
    if isinstance(item, h5py.Dataset) and re.fullmatch(r"/t\d{5,}/s\d{2,}/\d+/cells", item.name):
        return _level(file, path, *(int(number) for number in re.findall(r"\d+", item.name)))
    if selection.level:
        raise InputError(f"{name} is one dataset and has no level {selection.level}; leave out --level")
    if isinstance(item, h5py.Group):
        below = _datasets(item)
        if len(below) != 1:
            listed = ", ".join(below) or "none"
            raise InputError(
                f"{name} holds {len(below)} datasets ({listed}); expected one to be named, such as "
                f"{path}::{below[0] if below else 'NAME'}"
            )
        item = file[below[0]]
    found = _said(item, name)
    if found.axes is None and item.ndim == 3 and len(_datasets(file)) == 1:
        if selection.axes is None:
            say_how_read(item.shape, name)
        return Found(path=found.path, axes=selection.axes or OF_THE_ORIGINAL, place=found.place)
    return found


def _datasets(group: h5py.Group) -> list[str]:
    found: list[str] = []

    def collect(_: str, item: h5py.HLObject) -> bool | None:
        if isinstance(item, h5py.Dataset):
            found.append(item.name.lstrip("/"))
        return True if len(found) >= MOST_DATASETS else None

    group.visititems(collect)
    return found


def _said(dataset: h5py.Dataset, name: str) -> Found:
    """Return what a dataset says of itself."""
    attributes = dataset.attrs
    place = Placement()
    tagged = "axistags" in attributes
    axes = _of_axistags(attributes["axistags"], name) if tagged else labelled_axes(dataset)
    if CREMI_SIZE in attributes and len(np.ravel(attributes[CREMI_SIZE])) == 3:
        unit = _text(attributes.get("unit", "nanometer"))
        axes = axes or ("zyx" if dataset.ndim == 3 else None)
        place = _place(attributes[CREMI_SIZE], attributes.get("offset"), unit or "", name, order=_space(axes))
    elif FIJI_SIZE in attributes:
        place = _place(attributes[FIJI_SIZE], None, "micrometer", name)
        axes = axes or ("zyx" if dataset.ndim == 3 else None)
    return Found(path=dataset.name, axes=axes, place=place)


def _space(axes: str | None) -> str:
    """Return the order in which a dataset's numbers for its axes of space come."""
    found = "".join(axis for axis in axes or "" if axis in SPACE)
    return found if len(found) == len(SPACE) else SPACE


def _place(sizes: Any, begins: Any, unit: str, name: str, *, order: str = SPACE) -> Placement:
    where = [order.index(axis) for axis in SPACE]
    z, y, x = (float(f"{np.ravel(sizes)[at]:.7g}") for at in where)
    oz, oy, ox = (0.0 if begins is None else float(np.ravel(begins)[at]) for at in where)
    return placed((z, y, x), known_unit(unit), (oz, oy, ox), name=name)


def _of_axistags(value: Any, name: str) -> str:
    try:
        return "".join(str(axis["key"]).lower() for axis in json.loads(_text(value) or "")["axes"])
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{name} has axistags that cannot be read ({error}). Export it again") from error


def _text(value: Any) -> str | None:
    if isinstance(value, np.ndarray):
        value = value.item() if value.size == 1 else ""
    return value.decode() if isinstance(value, bytes) else value


def _times(group: h5py.Group) -> list[int]:
    return sorted(int(key[1:]) for key in group if re.fullmatch(r"t\d{5,}", key))


def _of_bigdataviewer(file: h5py.File, path: Path, group: h5py.Group, selection: Selection, name: str) -> Found:
    """Find t<time>/s<setup>/<level>/cells; a group below the root has chosen the first of them already."""
    chosen = re.fullmatch(r"/(?:t(\d{5,})(?:/s(\d{2,})(?:/(\d+))?)?)?", group.name)
    time, setup, level = chosen.groups() if chosen else (None, None, None)
    asked = selection.time if time is None else int(time)
    time = bigdataviewer.chosen(_times(file), asked, what="times", option="--time", name=name)
    setups = sorted(int(key[1:]) for key in file[f"t{time:05d}"] if re.fullmatch(r"s\d{2,}", key))
    asked = selection.channel if setup is None else int(setup)
    setup = bigdataviewer.chosen(setups, asked, what="setups", option="--channel", name=name)
    levels = len(file[f"t{time:05d}/s{setup:02d}"])
    number = bigdataviewer.level_of(levels, selection, name) if level is None else int(level)
    return _level(file, path, time, setup, number)


def _level(file: h5py.File, path: Path, time: int, setup: int, level: int) -> Found:
    resolutions = file.get(f"s{setup:02d}/resolutions")
    factors = np.ones(3) if resolutions is None or level >= len(resolutions) else resolutions[level]
    xml = path.with_suffix(".xml")
    known = bigdataviewer.read_setups(xml.read_bytes(), str(xml)) if xml.is_file() else {}
    place = bigdataviewer.place_of(known.get(setup), [float(factor) for factor in factors[::-1]])
    return Found(path=f"/t{time:05d}/s{setup:02d}/{level}/cells", axes="zyx", place=place, as_unsigned=True)
