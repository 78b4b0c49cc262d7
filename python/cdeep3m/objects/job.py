"""Objects of a volume of any size: labelled block by block, joined, and written block by block.

Three steps, and what is on disk after each, in a hidden folder beside the result:

    label   every block: its components (or their parts), measured, and their labels on its faces: blocks/*.npz
    join    once: which labels of blocks are one object; wanted objects get numbers: ids.npy, measured.npy
    write   every block: labelled once more and numbered; how many voxels each plane has: labels.*, planes/*.npz

Blocks are independent and may be done by anyone, in any order and again. A ledger says which are finished.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from cdeep3m.engines.base import Progress
from cdeep3m.errors import InputError, RunError
from cdeep3m.geometry import Placement
from cdeep3m.maps.base import MapSpec
from cdeep3m.maps.chunked import chunks_for
from cdeep3m.maps.open import FORMATS, open_maps
from cdeep3m.objects.components import Connectivity, foreground, label_components, renumbered
from cdeep3m.objects.density import densities
from cdeep3m.objects.faces import Faces, contacts, faces_of, matching, touching, two_planes_of
from cdeep3m.objects.grid import MOST_VOXELS, BlockGrid, block_for, forward_directions
from cdeep3m.objects.measures import MEASURES, measure
from cdeep3m.objects.merging import Border, merge, offsets_of
from cdeep3m.objects.splitting import split_components
from cdeep3m.objects.tables import write_density, write_objects
from cdeep3m.runners.base import run_missing
from cdeep3m.system.files import demand_no_links, own_folder, partial_name, whole_file
from cdeep3m.system.ledger import Ledger, open_ledger
from cdeep3m.volumes import open_volume
from cdeep3m.volumes.address import ANYTHING, Address
from cdeep3m.volumes.formats import format_of
from cdeep3m.volumes.identity import fingerprint
from cdeep3m.volumes.units import SYMBOLS, known_unit

if TYPE_CHECKING:
    from cdeep3m.geometry import Coordinate, Roi
    from cdeep3m.maps.base import Maps, MapType
    from cdeep3m.objects.density import Density
    from cdeep3m.runners.base import Runner, Work
    from cdeep3m.volumes import Volume

logger = logging.getLogger(__name__)

SUFFIXES = tuple(suffix for one in FORMATS for suffix in one.suffixes)
"""Of what labels may be written to."""
LABELS, OBJECTS, DENSITY, PICTURE = "labels.tif", "objects.csv", "density.csv", "density.png"
HALO = 64
VOXEL, VOXELS = "voxel", (1.0, 1.0, 1.0)
"""Unit and size where no length is known."""
_TURN = threading.Lock()
"""Threads that write to one output open it once."""

Report = Callable[[str, Progress], None]
"""Receives the name of a step and how far it is, in blocks."""
Draw = Callable[["list[Density]", tuple[float, float, float], str, Path], None]
"""Receives the density along z, y and x, the voxel size and its unit, and the file for the picture."""


@dataclass(frozen=True, kw_only=True)
class ObjectsRequest:
    """Which objects to find, and where.

    Attributes
    ----------
    maps : Address
        Probability maps.
    out : Path
        Where the labels go: its suffix is one of `SUFFIXES`; or a folder, which gets `LABELS`. Tables lie beside.
    threshold : float
        The least probability of an object's voxels, above 0.
    min_size : int
        Objects of fewer voxels are left out.
    connectivity : {6, 26}
        Which voxels are neighbours.
    split : float, optional
        Split objects where they are thinner, by so many voxels (along x) of radius, than on both sides. Parts touch at
        faces of voxels.
    halo : int
        With `split`: objects that reach further than so many voxels (along x) beyond a block may be split another way
        in another block.
    border : {"keep", "drop"}
        What becomes of objects at the faces of the volume.
    voxel_size : tuple of float, optional
        Along (z, y, x), in `unit`; default: what the maps say, or else 1, in voxels.
    unit : str
    most_voxels : int
        Of a block.

    Raises
    ------
    InputError
        When a number is out of range.
    """

    maps: Address
    out: Path
    threshold: float = 0.5
    min_size: int = 1
    connectivity: Connectivity = 26
    split: float | None = None
    halo: int = HALO
    border: Border = "keep"
    voxel_size: tuple[float, float, float] | None = None
    unit: str = VOXEL
    most_voxels: int = MOST_VOXELS

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise InputError(f"threshold {self.threshold:g} is out of range; expected more than 0 and at most 1")
        if self.split is not None and not self.split > 0:
            raise InputError(f"split {self.split:g} is out of range; expected a depth in voxels above 0, such as 2")
        if self.voxel_size is not None and not min(self.voxel_size) > 0:
            raise InputError(f"voxel size {self.voxel_size} is out of range; expected three lengths above 0")
        if min(self.min_size, self.halo) < 1:
            raise InputError(f"smallest size {self.min_size}, halo {self.halo}; expected 1 voxel or more of each")

    @property
    def labels(self) -> Path:
        """The file that gets the labels."""
        return self.out if self.out.suffix.lower() in SUFFIXES else self.out / LABELS

    @property
    def state(self) -> Path:
        """The hidden folder that holds what is finished, until all is."""
        return self.labels.parent / f".{self.labels.name}.objects"

    @property
    def writes_chunks(self) -> bool:
        """Whether labels are stored in chunks, which several machines may write at the same time."""
        found = format_of(Address.of(self.labels), FORMATS)
        return found is not None and bool(found.is_folder)

    @property
    def sampling(self) -> tuple[float, float, float]:
        """Size of a voxel along (z, y, x), where it is 1 along x."""
        z, y, x = self.voxel_size or VOXELS
        return z / x, y / x, 1.0

    @property
    def halo_of_axes(self) -> Coordinate:
        """Voxels of the halo along (z, y, x): one length along each axis, and none without `split`."""
        if self.split is None:
            return 0, 0, 0
        z, y, x = (max(1, round(self.halo / size)) for size in self.sampling)
        return z, y, x


@dataclass(frozen=True)
class Found:
    """What there is in the end.

    Attributes
    ----------
    objects : int
    cut : int
        How many labels of blocks came of objects that reach beyond the halo: their split may depend on the blocks.
    density : list of Density
        Along z, y and x, in voxels.
    labels : Path
        The labels' file; the tables lie beside.
    """

    objects: int
    cut: int
    density: list[Density]
    labels: Path


@dataclass(frozen=True)
class BlockLabels:
    """A block whose components are labelled.

    Attributes
    ----------
    labels : ndarray of int, shape (z, y, x)
        From 1; 0 for background.
    values : ndarray, shape (z, y, x)
        The maps.
    count : int
        The largest label.
    faces : Faces
    cut : int
        How many of them come of objects that reach beyond the halo.
    """

    labels: np.ndarray
    values: np.ndarray
    count: int
    faces: Faces
    cut: int = 0


@dataclass(frozen=True)
class ObjectsJob:
    """A request, and the blocks that it is done in; small enough to be sent to other machines.

    Attributes
    ----------
    request : ObjectsRequest
    grid : BlockGrid
    placement : Placement
        Voxel size and place of the labels.
    """

    request: ObjectsRequest
    grid: BlockGrid
    placement: Placement

    def label(self, number: int) -> None:
        """Label and measure a block; keep what joining needs."""
        roi = self.grid.roi(number)
        block = self._labelled(number)
        measured = measure(block.labels, block.values, block.count, begin=roi.begin, shape=self.grid.shape)
        faces = {f"{end}{axis}": getattr(block.faces, end)[axis] for end in ("lower", "upper") for axis in range(3)}
        kept = {} if self.request.split is None else {"labels": block.labels}
        _save(self._block_file(number), measured=measured, cut=np.int64(block.cut), **faces, **kept)

    def write(self, number: int) -> None:
        """Write a block's objects."""
        labels = self._labelled(number).labels if self.request.split is None else self._kept(number, "labels")
        numbered = renumbered(labels, self._numbers(number))
        with _TURN:
            target = _target_of(self)
        target.write(self.grid.roi(number), numbered)
        there = numbered != 0
        planes = (there.sum((1, 2)), there.sum((0, 2)), there.sum((0, 1)))
        _save(self._planes_file(number), z=planes[0], y=planes[1], x=planes[2])

    def join(self) -> None:
        """Find out which labels of blocks are one object; number the objects."""
        rows = [self._kept(number, "measured") for number in range(len(self.grid))]
        offsets = offsets_of([len(part) for part in rows])
        measured = np.concatenate(rows) if rows else np.zeros(0, MEASURES)
        same, met = [np.zeros((0, 2), np.int64)], [np.zeros((0, 4), np.int64)]
        for number in range(len(self.grid)):
            for direction in forward_directions(self._connectivity):
                other = self.grid.neighbour(number, direction)
                if other is not None:
                    pairs, faces = self._between(number, other, direction)
                    same.append(pairs + offsets[[number, other]])
                    met.append(faces + np.append(offsets[[number, other]], [0, 0]) * (faces >= 0))
        objects = merge(
            measured,
            np.concatenate(same),
            np.concatenate(met),
            shape=self.grid.shape,
            min_size=self.request.min_size,
            border=self.request.border,
        )
        dtype = np.uint32 if len(objects.measured) <= np.iinfo(np.uint32).max else np.uint64
        _save_array(self._file("offsets.npy"), offsets)
        _save_array(self._file("ids.npy"), objects.ids.astype(dtype))
        _save_array(self._file("measured.npy"), objects.measured)

    def finish(self, draw: Draw | None = None) -> Found:
        """Write the tables, have them drawn, give the labels their name, and remove what is not needed any more."""
        measured = np.load(self._file("measured.npy"))
        profiles = [np.zeros(length, np.int64) for length in self.grid.shape]
        cut = 0
        for number in range(len(self.grid)):
            cut += int(self._kept(number, "cut"))
            with _read(self._planes_file(number)) as planes:
                for profile, name, part in zip(profiles, "zyx", self.grid.roi(number).slices, strict=True):
                    profile[part] += planes[name]
        centroids = measured["sum"] / np.maximum(measured["voxels"], 1)[:, None]
        found = densities(centroids, profiles, self.grid.shape)
        request, home = self.request, self.request.labels.parent
        size = request.voxel_size or VOXELS
        if draw:
            draw(found, size, request.unit, home / PICTURE)
        write_density(home / DENSITY, found, voxel_size=size, unit=request.unit)
        write_objects(
            home / OBJECTS,
            measured,
            shape=self.grid.shape,
            largest=_largest(_opened(request.maps).dtype),
            voxel_size=size,
            unit=request.unit,
        )
        _target_of(self).finish()
        _forget_opened()
        request.state.replace(_finished(request))
        shutil.rmtree(_finished(request))
        return Found(len(measured), cut, found, request.labels)

    def ledger(self, step: str) -> Ledger:
        """Return the ledger of a step."""
        return open_ledger(self.request.state / step, boxes=len(self.grid), run=self._settings())

    def _settings(self) -> dict[str, str | int]:
        """Return all that decides what is found."""
        request = self.request
        volume = _opened(request.maps)
        return {
            "maps": _full_name(request.maps),
            "size": " x ".join(map(str, volume.shape)),
            "type": str(volume.dtype),
            "files of the maps": fingerprint(request.maps) or "",
            **({"part": str(request.maps.selection)} if request.maps.selection != ANYTHING else {}),
            "block": " x ".join(map(str, self.grid.block)),
            "threshold": repr(request.threshold),
            "min size": request.min_size,
            "connectivity": self._connectivity,
            "split": repr(request.split),
            "halo": " x ".join(map(str, request.halo_of_axes)),
            "sampling": repr(request.sampling),
            "border": request.border,
        }

    def is_joined(self) -> bool:
        """Say whether `join` is done."""
        return self._file("measured.npy").exists()

    def prepare_labels(self) -> None:
        """Open what blocks are written to; where some are not in it, no block counts as written."""
        target = _target_of(self)
        missing = set(target.missing(self.boxes()))
        written = self.ledger("write").finished()
        if any(written[number] and box in missing for number, box in enumerate(self.boxes())):
            shutil.rmtree(self.request.state / "write")

    def boxes(self) -> list[Roi]:
        """Return all blocks."""
        return [self.grid.roi(number) for number in range(len(self.grid))]

    def open_labels(self) -> Maps:
        """Open what gets the labels, new or begun earlier."""
        dtype: MapType = "uint64" if np.load(self._file("ids.npy"), mmap_mode="r").dtype == np.uint64 else "uint32"
        spec = MapSpec(shape=self.grid.shape, dtype=dtype, placement=self.placement, labels=True, source=self.source)
        target = open_maps(self.request.labels, spec)
        target.missing(self.boxes())
        return target

    def _labelled(self, number: int) -> BlockLabels:
        return self._split(number) if self.request.split is not None else self._components(number)

    def _components(self, number: int) -> BlockLabels:
        values = _opened(self.request.maps).read(self.grid.roi(number))
        labels, count = label_components(foreground(values, self.request.threshold), self.request.connectivity)
        return BlockLabels(labels, values, count, faces_of(labels))

    def _split(self, number: int) -> BlockLabels:
        """Label the parts of the components that the block has a share of, from the block and its halo."""
        assert self.request.split is not None
        around = self.grid.with_halo(number, self.request.halo_of_axes)
        inner = self.grid.roi(number).relative_to(around.begin)
        values = _opened(self.request.maps).read(around)
        components, count = label_components(foreground(values, self.request.threshold), self._connectivity)
        components = _only(components, _there(_grown(components, inner), count))
        parts, count = split_components(components, depth=self.request.split, sampling=self.request.sampling)
        seen = _there(_grown(parts, inner), count)
        parts, count = _only(parts, seen), int(seen[1:].sum())
        cut = _there(parts[inner.slices], count) & _there(parts[self._beyond(around, components)], count)
        faces = two_planes_of(parts, inner.begin, inner.end)
        return BlockLabels(parts[inner.slices], values[inner.slices], count, faces, int(cut[1:].sum()))

    def _beyond(self, around: Roi, components: np.ndarray) -> np.ndarray:
        """Return where components lie that go on beyond what was read."""
        on = np.zeros(int(components.max()) + 1, bool)
        for axis in range(3):
            if around.begin[axis] > 0:
                on[np.unique(components.take(0, axis))] = True
            if around.end[axis] < self.grid.shape[axis]:
                on[np.unique(components.take(-1, axis))] = True
        on[0] = False
        return on[components]

    def _between(self, number: int, other: int, direction: Coordinate) -> tuple[np.ndarray, np.ndarray]:
        """Return which labels of two blocks are one object, and which meet at faces; counted from 0 in each block.

        Returns
        -------
        pairs : ndarray of int64, shape (n, 2)
        faces : ndarray of int64, shape (m, 4)
            Labels, -1 for background; axis; count.
        """
        here, there = self._faces(number), self._faces(other)
        if sum(map(abs, direction)) > 1:
            return touching(here, there, direction, self._connectivity) - 1, np.zeros((0, 4), np.int64)
        axis = direction.index(1)
        met = contacts(here, there, axis)
        faces = np.column_stack([met[:, :2] - 1, np.full(len(met), axis), met[:, 2]])
        if self.request.split is None:
            return touching(here, there, direction, self._connectivity) - 1, faces
        return matching(here.upper[axis], there.lower[axis]) - 1, faces

    @property
    def _connectivity(self) -> Connectivity:
        return self.request.connectivity if self.request.split is None else 6

    def _faces(self, number: int) -> Faces:
        with _read(self._block_file(number)) as kept:
            lower, upper = ((kept[f"{end}0"], kept[f"{end}1"], kept[f"{end}2"]) for end in ("lower", "upper"))
        return Faces(lower, upper)

    def _kept(self, number: int, name: str) -> np.ndarray:
        with _read(self._block_file(number)) as kept:
            return kept[name]

    def _numbers(self, number: int) -> np.ndarray:
        """Return the object of every label of a block, with 0 for 0 in front."""
        offsets = np.load(self._file("offsets.npy"), mmap_mode="r")
        ids = np.load(self._file("ids.npy"), mmap_mode="r")
        part = ids[int(offsets[number]) : int(offsets[number + 1])]
        return np.concatenate([np.zeros(1, ids.dtype), part])

    def _file(self, name: str) -> Path:
        return self.request.state / name

    def _block_file(self, number: int) -> Path:
        return self.request.state / "blocks" / f"{number // 1000:06d}" / f"{number:09d}.npz"

    def _planes_file(self, number: int) -> Path:
        return self.request.state / "planes" / f"{number // 1000:06d}" / f"{number:09d}.npz"

    @property
    def source(self) -> str:
        """What the labels are made from, and how."""
        return "; ".join(f"{name} {value}" for name, value in self._settings().items())


def find_objects(
    request: ObjectsRequest,
    *,
    runner: Runner | None = None,
    report: Report | None = None,
    draw: Draw | None = None,
) -> Found:
    """Label the objects of a volume, and count and measure them.

    Goes on where an earlier call with the same request was stopped. Memory is bounded by a block, and by the number of
    objects (some 400 bytes each).

    Parameters
    ----------
    request : ObjectsRequest
    runner : Runner, optional
        Where blocks are done; default: one after another, in this process. On other machines they are labelled only:
        the labels' file is written here.
    report : Report, optional
        Receives progress.
    draw : Draw, optional
        Makes a picture of the density.

    Returns
    -------
    Found

    Raises
    ------
    InputError
        When the result is there already, or the output is what is read.
    RunError
        When an unfinished result of another request is in the way, or a block is not accounted for in the end.
    MissingExtraError
        When objects are to be split, without scikit-image.
    MissingFileError, FormatError
        As of `open_volume`.
    """
    fresh = not request.state.exists()
    try:
        return _find(begin(request), runner=runner, report=report, draw=draw)
    except InputError:
        if fresh:
            shutil.rmtree(request.state, ignore_errors=True)
        raise


def _find(job: ObjectsJob, *, runner: Runner | None, report: Report | None, draw: Draw | None) -> Found:
    _run_step("label", job.label, job.ledger("label"), runner, report)
    if not job.is_joined():
        job.join()
    job.prepare_labels()
    # The first block makes the file; several processes at once would make several.
    first = job.ledger("write").missing()[:1]
    _run_step("write", job.write, job.ledger("write"), None, report, only=first)
    # Machines that write to one file over a network would undo each other's pages.
    writer = runner if runner and (runner.one_machine or job.request.writes_chunks) else None
    _run_step("write", job.write, job.ledger("write"), writer, report)
    return job.finish(draw)


def begin(request: ObjectsRequest) -> ObjectsJob:
    """Check that the result may be written, and return the job; what an earlier call left is kept.

    Raises
    ------
    InputError, MissingFileError, FormatError
        As `find_objects`.
    """
    _forget_opened()
    volume = open_volume(request.maps)
    home = request.labels.parent
    if request.out.suffix and request.labels != request.out and not request.out.is_dir():
        raise InputError(
            f"{request.out} ends with {request.out.suffix}; expected a folder, or a file that ends with one of "
            f"{', '.join(SUFFIXES)}. Make the folder first, if it is one"
        )
    if not request.maps.scheme and request.maps.path.resolve() in (request.labels.resolve(), home.resolve()):
        raise InputError(f"{request.out} is what is read; expected another place to write to. Choose a new one")
    shutil.rmtree(_finished(request), ignore_errors=True)
    if not request.state.exists():
        for path in (request.labels, home / OBJECTS, home / DENSITY, home / PICTURE):
            if path.exists():
                raise InputError(f"{path} is there already; delete it, or choose another place to write to")
    request.state.parent.mkdir(parents=True, exist_ok=True)
    demand_no_links(own_folder(request.state))
    aligned = chunks_for(volume.shape) if request.writes_chunks else (1, 1, 1)
    block = block_for(volume.shape, volume.chunks, most=request.most_voxels, aligned=aligned)
    placement = volume.placement
    if request.voxel_size is not None:
        placement = Placement(request.voxel_size, known_unit(request.unit))
    return ObjectsJob(_with_voxel_size(request, volume), BlockGrid(volume.shape, block), placement)


def _run_step(
    name: str,
    work: Work,
    ledger: Ledger,
    runner: Runner | None,
    report: Report | None,
    *,
    only: np.ndarray | None = None,
) -> None:
    def tell(done: int, blocks: int) -> None:
        if report:
            report(name, Progress(done, blocks))

    share = None if only is None else (lambda missing: np.intersect1d(missing, only))
    run_missing(work, ledger, runner=runner, share=share, on_done=tell, name=f"{name}, block")


def _there(labels: np.ndarray, count: int) -> np.ndarray:
    """Return for every label from 0 to `count` whether it occurs."""
    found = np.zeros(count + 1, bool)
    found[labels.reshape(-1)] = True
    return found


def _only(labels: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return labels with none but those that `kept` names, numbered anew from 1 in the same order."""
    table = np.cumsum(kept, dtype=np.int32) - np.int32(kept[0])
    table[~kept] = 0
    table[0] = 0
    return table[labels]


def _grown(labels: np.ndarray, roi: Roi) -> np.ndarray:
    """Return the labels of a box and of one voxel around it, as far as they go."""
    return labels[tuple(slice(max(0, b - 1), e + 1) for b, e in zip(roi.begin, roi.end, strict=True))]


def _with_voxel_size(request: ObjectsRequest, volume: Volume) -> ObjectsRequest:
    """Return the request with the voxel size of the maps, where it has none."""
    size, unit = volume.placement.voxel_size, volume.placement.unit
    if request.voxel_size is not None or size is None:
        return request
    return replace(request, voxel_size=size, unit=SYMBOLS.get(unit or "", unit or VOXEL))


def _full_name(maps: Address) -> str:
    return str(maps) if maps.scheme else str(replace(maps, location=str(maps.path.absolute())))


def _largest(dtype: np.dtype) -> float:
    """Return the value of maps that means 1."""
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0


def _finished(request: ObjectsRequest) -> Path:
    return request.state.with_name(f"{request.state.name}.finished")


@lru_cache(maxsize=4)
def _opened(address: Address) -> Volume:
    return open_volume(address)


@lru_cache(maxsize=4)
def _target_of(job: ObjectsJob) -> Maps:
    return job.open_labels()


def _forget_opened() -> None:
    _opened.cache_clear()
    _target_of.cache_clear()


def _save(path: Path, **arrays: np.ndarray) -> None:
    """Write what can be made again, whole or not at all, without waiting for the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_name(path)
    try:
        np.savez_compressed(partial, allow_pickle=False, **arrays)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _read(path: Path) -> Iterator[Mapping[str, np.ndarray]]:
    """Yield what `_save` wrote.

    Raises
    ------
    RunError
        The file is damaged or gone, as after a power failure.
    """
    try:
        with np.load(path) as kept:
            yield kept
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise RunError(
            f"{path} is damaged ({error}); expected what an earlier step left. Delete {path.parents[2]}"
        ) from error


def _save_array(path: Path, array: np.ndarray) -> None:
    with whole_file(path) as partial:
        np.save(partial, array)
