"""Copy a volume of any format into a map of any other, box by box."""

from __future__ import annotations

import math
import os
import re
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from cdeep3m.errors import CDeep3MError, InputError
from cdeep3m.geometry import Coordinate, Roi
from cdeep3m.maps.base import MapSpec
from cdeep3m.maps.chunked import run_of
from cdeep3m.maps.one_file import hidden_name
from cdeep3m.maps.open import open_maps
from cdeep3m.maps.png_folder import PngMaps
from cdeep3m.maps.progress import Finished
from cdeep3m.system.files import demand_apart
from cdeep3m.system.ledger import HEADER
from cdeep3m.system.threads import Behind, ahead
from cdeep3m.tiling.boxes import Grid
from cdeep3m.volumes import open_volume
from cdeep3m.volumes.address import Address
from cdeep3m.volumes.identity import fingerprint
from cdeep3m.volumes.mapped import release, zeros
from cdeep3m.volumes.stores import Store, demand_outside, ledger_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cdeep3m.maps.base import Maps, MapType
    from cdeep3m.volumes.axes import Selection
    from cdeep3m.volumes.base import Volume

VOXELS_OF_A_BOX = 2**24
"""Boxes grow up to so many voxels, whole chunks of both sides."""
OF_A_PYRAMID = 2
"""So many chunks along each axis make one of the next level."""
WAITING = 2
"""So many boxes are read ahead, and so many wait to be written."""

BYTES_COMPARED = 64 * 2**20


@dataclass(frozen=True)
class CopyPlan:
    """How a volume is copied.

    Attributes
    ----------
    grid : Grid
        The boxes.
    slab : int
        Planes that are decoded at a time and kept for all boxes that need them; 0 where chunks are read.
    bytes_of_box : int
    """

    grid: Grid
    slab: int
    bytes_of_box: int

    @property
    def memory(self) -> int:
        """Bytes of the boxes that are in memory at once."""
        return self.bytes_of_box * (2 * WAITING + 2)


def plan_copy(volume: Volume, maps: Maps) -> CopyPlan:
    """Return the boxes of a copy: of whole chunks of the target, and of the source where both fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from cdeep3m.volumes.arrays import ArrayVolume
    >>> class Target: chunks = (64, 64, 64)
    >>> plan_copy(ArrayVolume(np.zeros((100, 200, 300), np.uint8)), Target()).grid.step
    (100, 200, 300)
    """
    base = [
        _common(of_source, OF_A_PYRAMID * of_target if of_target > 1 else 1, side)
        for of_source, of_target, side in zip(volume.chunks, maps.chunks, volume.shape, strict=True)
    ]
    if math.prod(base) > 4 * VOXELS_OF_A_BOX:
        base = [min(chunk, side) for chunk, side in zip(maps.chunks, volume.shape, strict=True)]
    step = _grown(base, volume.shape)
    rows_are_split = volume.chunks[0] == 1 < volume.chunks[1] and volume.chunks[2] == volume.shape[2] > step[2]
    planes_are_split = rows_are_split or (volume.chunks[1:] == volume.shape[1:] and step[1:] != volume.shape[1:])
    return CopyPlan(
        Grid(volume.shape, step),
        slab=step[0] if planes_are_split else 0,
        bytes_of_box=math.prod(step) * volume.dtype.itemsize,
    )


def copy_volume(
    volume: Volume,
    maps: Maps,
    *,
    name: str,
    folder: Path | None = None,
    report: Callable[[int, int], None] | None = None,
) -> int:
    """Copy what a map lacks of a volume; go on where an earlier copy stopped.

    Parameters
    ----------
    volume : Volume
    maps : Maps
        Of the same shape.
    name : str
        The volume, for messages.
    folder : Path, optional
        Where planes are kept that many boxes need, in nameless files.
    report : callable, optional
        Told how many boxes are finished, and of how many.

    Returns
    -------
    int
        How many boxes were written; 0 where the map was whole.

    Raises
    ------
    InputError
        A value does not fit the type of the map.
    """
    plan = plan_copy(volume, maps)
    boxes = plan.grid
    todo = maps.missing(boxes)
    source = KeptSlab(volume, plan.slab, folder) if plan.slab else volume
    done = len(boxes) - len(todo)
    made = ahead(_read(source, todo, np.dtype(maps.spec.dtype), name), depth=WAITING)
    with closing(made), Behind(depth=WAITING) as writing:
        for box, values in made:
            writing.call(maps.write, box, values)
            done += 1
            if report:
                report(done, len(boxes))
    maps.finish()
    return len(todo)


def convert(
    address: str | Address,
    out: str | Address,
    *,
    selection: Selection | None = None,
    format_name: str | None = None,
    dtype: str | None = None,
    labels: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> Maps:
    """Write a volume in another format, or a part of it; go on where an earlier call stopped.

    Parameters
    ----------
    address : str or Address
        The volume.
    out : str or Address
        Where it goes: nothing may be there but what an interrupted call left.
    selection : Selection, optional
        What of the volume.
    format_name : str, optional
        Default: by the suffix of `out`, or a folder of PNG images.
    dtype : str, optional
        Default: as in the volume.
    labels : bool
        Whether values are labels, of which a pyramid must not make means.
    report : callable, optional
        Told how many boxes are finished, and of how many.

    Returns
    -------
    Maps
        What was written.

    Raises
    ------
    InputError
        The volume cannot be read, a value does not fit, or something else is at `out`.
    """
    source, target = Address.of(address), Address.of(out)
    wanted = selection or source.selection
    volume = open_volume(source, role="values", selection=wanted)
    spec = MapSpec(
        shape=volume.shape,
        dtype=cast("MapType", dtype or volume.dtype.name),
        placement=volume.placement,
        source=f"{source.absolute()} {wanted} {fingerprint(source) or ''}".strip(),
        labels=labels,
        planes="Plane",
    )
    places = _places_of(target)
    demand_outside(target, source)
    if places[0].is_local and not source.scheme:
        demand_apart(places[0].url, [source])
    fresh = all(place.is_empty() for place in places)
    try:
        maps = open_maps(target, spec, format_name=format_name)
        if _is_whole(maps, places):
            places[1].remove_all()
            _demand_equal(volume, target, spec)
            return maps
        folder = None if target.scheme else target.path.absolute().parent
        with _alone(maps, target):
            copy_volume(volume, maps, name=str(source), folder=folder, report=report)
        return maps
    except InputError:
        if fresh:
            for place in places:
                place.remove_all()
        raise


def _places_of(target: Address) -> list[Store]:
    """Return where a copy lies, until it is whole and then, and where its ledger does."""
    location = re.sub(r"^(zarr|n5|precomputed)://", "", target.location)
    places = [Store.at(location), ledger_beside(Store.at(location).url)]
    return [*places, Store(str(hidden_name(Path(location))))] if places[0].is_local else places


def _is_whole(maps: Maps, places: Sequence[Store]) -> bool:
    """Return whether something whole is there, which an earlier call may have made."""
    if isinstance(maps, PngMaps):
        return not places[0].is_empty() and places[1].read(HEADER) is None
    return bool(getattr(maps, "sealed", False))


def _demand_equal(volume: Volume, target: Address, spec: MapSpec) -> None:
    """Let a copy that is there be what was asked for, voxel by voxel: who was killed at the very end asks again.

    Raises
    ------
    InputError
        Something else is there.
    """
    there = InputError(f"{target} is there already; delete it, or choose another name")
    try:
        found = open_volume(target, role="values")
    except CDeep3MError:
        raise there from None
    if found.shape != spec.shape or found.dtype != np.dtype(spec.dtype):
        raise there
    for roi, block in found.blocks(BYTES_COMPARED):
        if not np.array_equal(block, volume.read(roi).astype(found.dtype), equal_nan=block.dtype.kind == "f"):
            raise there


@contextmanager
def _alone(maps: Maps, target: Address) -> Iterator[None]:
    """Keep a folder of images, which has no ledger, from being gone on with by a copy of another volume."""
    if not isinstance(maps, PngMaps):
        yield
        return
    ledger = ledger_beside(os.fspath(maps.folder))
    if ledger.read(HEADER) is None and maps.folder.exists() and any(maps.folder.iterdir()):
        raise InputError(f"{target} is there already; delete it, or choose another name")
    Finished(ledger, run_of(maps.spec, "PNG", maps.chunks)).begin([])
    yield
    ledger.remove_all()


class KeptSlab:
    """A volume of planes, some of which are decoded once and kept for all boxes that they are in.

    Parameters
    ----------
    volume : Volume
    depth : int
        Planes that are kept.
    folder : Path, optional
        Where they lie, beyond what fits into memory.
    """

    def __init__(self, volume: Volume, depth: int, folder: Path | None) -> None:
        self._volume = volume
        self._depth = depth
        self._begin = -1
        self._kept = zeros((min(depth, volume.shape[0]), *volume.shape[1:]), volume.dtype, folder=folder)

    def read(self, roi: Roi) -> np.ndarray:
        """Return the voxels of a box that lies within a multiple of `depth` planes."""
        begin = roi.begin[0] - roi.begin[0] % self._depth
        if begin != self._begin:
            _, height, width = self._volume.shape
            for z in range(begin, min(begin + self._depth, self._volume.shape[0])):
                self._kept[z - begin] = self._volume.read(Roi((z, 0, 0), (z + 1, height, width)))[0]
                release(self._kept)
            self._begin = begin
        return np.array(self._kept[roi.relative_to((begin, 0, 0)).slices])


def converted(values: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """Return values in another type, which must hold them as they are.

    Parameters
    ----------
    values : ndarray of a number type, any shape
    dtype : dtype
    name : str
        Where they are from, for the message.

    Returns
    -------
    ndarray of `dtype`, that shape

    Raises
    ------
    InputError
        A value does not fit.

    Examples
    --------
    >>> converted(np.uint16([3, 255]), np.dtype("uint8"), "v.tif")
    array([  3, 255], dtype=uint8)
    """
    if values.dtype == dtype:
        return values
    with np.errstate(invalid="ignore", over="ignore"):
        found = values.astype(dtype)
    wrong = (found.astype(values.dtype) != values) & ~((values != values) & (found != found))
    if dtype.kind == "f" and values.dtype.kind == "f":
        wrong = np.isfinite(values) & ~np.isfinite(found)
    elif dtype.kind in "iu" and values.dtype.kind in "iu" and values.size:
        limits = np.iinfo(dtype)
        wrong = np.array([int(values.min()) < limits.min or int(values.max()) > limits.max])
    if wrong.any():
        raise InputError(
            f"{name} holds {values.dtype} values from {values.min()} to {values.max()}, which do not all fit {dtype}. "
            "Choose another --dtype"
        )
    return found


def _read(
    source: Volume | KeptSlab, boxes: Sequence[Roi], dtype: np.dtype, name: str
) -> Iterator[tuple[Roi, np.ndarray]]:
    for box in boxes:
        yield box, np.ascontiguousarray(converted(source.read(box), dtype, name))


def _common(one: int, other: int, side: int) -> int:
    return min(math.lcm(one, other), side)


def _grown(base: Sequence[int], shape: Coordinate) -> Coordinate:
    """Return a box of whole `base` boxes, of `VOXELS_OF_A_BOX` voxels at most unless `base` has more, x first."""
    step = list(base)
    for axis in (2, 1, 0):
        room = VOXELS_OF_A_BOX // (math.prod(step) // step[axis])
        most = -(-shape[axis] // base[axis]) * base[axis]
        step[axis] = min(max(step[axis], room // base[axis] * base[axis]), most)
        if step[axis] < shape[axis]:
            break
    z, y, x = (min(s, side) for s, side in zip(step, shape, strict=True))
    return z, y, x
