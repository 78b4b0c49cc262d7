"""Predict boxes in other processes and on other machines: whoever does a box writes it, so that no voxel travels.

What is sent is small: where images, models and maps lie, and the number of a unit. A unit is a box; of planes, all
boxes of one, so that a plane's file is always made by one process. A worker loads the nets with its first unit and
keeps them.
"""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.engines.base import DenoisingEngine, Progress
from cdeep3m.errors import InputError
from cdeep3m.maps.base import MapSpec
from cdeep3m.maps.open import FORMATS, address_in, chunks_of, open_maps, place_of
from cdeep3m.prediction.core import BoxPredictor, NetInUse
from cdeep3m.prediction.reading import with_planes_kept
from cdeep3m.prediction.streaming import fill_boxes, is_unrounded, missing_boxes
from cdeep3m.runners.base import require_all
from cdeep3m.runs.prediction import PredictionRun
from cdeep3m.system.files import locked, own_folder, write_text
from cdeep3m.system.ledger import share_of
from cdeep3m.tiling.variants import variants_for
from cdeep3m.volumes import open_volume
from cdeep3m.volumes.enhanced import open_enhanced
from cdeep3m.volumes.open import ELSEWHERE
from cdeep3m.volumes.stores import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cdeep3m.engines.base import InProcessEngine, Precision, TrainedModel
    from cdeep3m.geometry import Roi
    from cdeep3m.maps.base import Maps, MapType
    from cdeep3m.runners.base import Runner
    from cdeep3m.runs.calibration import Calibration
    from cdeep3m.tiling.grid import Tiling
    from cdeep3m.volumes.address import Address
    from cdeep3m.volumes.base import Volume
    from cdeep3m.volumes.enhancement import Enhancement


@dataclass(frozen=True, kw_only=True)
class MapKind:
    """What the maps of a run are.

    Attributes
    ----------
    format : str
        One of `maps.open.FORMATS`.
    dtype : {"uint8", "uint16", "float32"}
    source : str
        What they are made from.
    place : Address, optional
        Where they go, such as a bucket; default: into the run's folder.
    """

    format: str = "png"
    dtype: MapType = "uint8"
    source: str = ""
    place: Address | None = None

    def address(self, folder: Path) -> Path | Address:
        """Return where the map goes that belongs to a folder of the run."""
        if self.place is None:
            return place_of(folder, self.format)
        return address_in(self.place, folder.name, self.format)


@dataclass(frozen=True, kw_only=True)
class UnitWork:
    """Predicts a unit and writes it, in any process that has the same files.

    Attributes
    ----------
    images : Path or Address
    models : tuple of TrainedModel
    engine : InProcessEngine
    gpu : int
    precision : {"float32", "fast"}
    aug_speed : int
    tiling : Tiling
    out : Path
        Folder of the run; paths are absolute.
    averages : bool
        Whether the average of the nets is written as well.
    enhancement : Enhancement, optional
        How images are enhanced before a net sees them.
    calibrations : mapping of str to Calibration
        Of the nets that have one.
    kind : MapKind
        Format and type of the maps.
    key : str
        What a process keeps the nets under; each run has its own.
    """

    images: Path | Address
    models: tuple[TrainedModel, ...]
    engine: InProcessEngine
    gpu: int
    precision: Precision
    aug_speed: int
    tiling: Tiling
    out: Path
    averages: bool
    enhancement: Enhancement | None = None
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    kind: MapKind = field(default_factory=lambda: MapKind())
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def whole_planes(self) -> bool:
        """Whether a unit is a plane: its file is made by one process."""
        return self.kind.format == "png"

    def boxes(self) -> list[Roi]:
        """Return all boxes of the volume."""
        return self.tiling.boxes(chunks=chunks_of(self.kind.format, self.tiling.shape))

    def units(self, boxes: Sequence[Roi]) -> list[list[Roi]]:
        """Return what is done at a time."""
        return units_of(boxes, whole_planes=self.whole_planes)

    def open_outputs(self, volume: Volume) -> Outputs:
        """Open the maps, as they are now."""
        nets = [model.net for model in self.models]
        return outputs_of(self.out, nets, volume, averages=self.averages, kind=self.kind)

    def __call__(self, number: int) -> None:
        """Predict what is missing of a unit."""
        with _TURN:
            ready = _ready(self)
            fill_boxes(
                ready.outputs.maps,
                ready.outputs.averaged,
                ready.units[number],
                ready.predictor,
                before_pass=PredictionRun(self.out).demand_no_kill,
                report=_silent,
            )


@dataclass(frozen=True)
class Outputs:
    """The maps of a run.

    Attributes
    ----------
    maps : dict of str to Maps
        The map of every net.
    averaged : Maps, optional
        That of their average.
    """

    maps: Mapping[str, Maps]
    averaged: Maps | None

    def missing(self, boxes: Sequence[Roi]) -> set[Roi]:
        """Return the boxes that some map lacks."""
        lacking = {box for box, _ in missing_boxes(boxes, self.maps)}
        return lacking if self.averaged is None else lacking | set(self.averaged.missing(boxes))

    def finish(self) -> None:
        """Make sure that all maps are whole."""
        for each in (*self.maps.values(), *([self.averaged] if self.averaged else [])):
            each.finish()


def outputs_of(out: Path, nets: Sequence[str], volume: Volume, *, averages: bool, kind: MapKind) -> Outputs:
    """Open the maps of a run."""
    run = PredictionRun(out)
    spec = MapSpec(shape=volume.shape, dtype=kind.dtype, placement=volume.placement, source=kind.source)

    def opened(folder: Path) -> Maps:
        address = kind.address(folder)
        if kind.format != "png":
            own_folder(folder)
        maps = open_maps(address, spec, format_name=kind.format)
        if kind.place is not None:
            write_text(folder / ELSEWHERE, f"{address}\n")
        return maps

    return Outputs(
        {net: opened(run.net_folder(net)) for net in nets}, opened(run.fresh_ensemble_folder()) if averages else None
    )


def discard(run: PredictionRun, nets: Sequence[str], kind: MapKind) -> None:
    """Remove the maps that an earlier run wrote to another place, with their ledgers."""
    if kind.place is None:
        return
    for name in (*nets, run.ensemble_folder.name):
        place = str(address_in(kind.place, name, kind.format))
        for url in (place, f"{place}.ledger"):
            Store.at(url).remove_all()


def units_of(boxes: Sequence[Roi], *, whole_planes: bool = True) -> list[list[Roi]]:
    """Return what is done at a time: the boxes of a plane together, in order, or one box.

    Examples
    --------
    >>> from cdeep3m.tiling.grid import Tiling
    >>> boxes = Tiling.of((3, 1500, 1500)).boxes(largest_plane=10**6)
    >>> [len(unit) for unit in units_of(boxes)], len(units_of(boxes, whole_planes=False))
    ([4, 4, 4], 12)
    """
    if not whole_planes:
        return [[box] for box in boxes]
    return [list(group) for _, group in groupby(boxes, key=lambda box: box.begin[0])]


def demand_several_writers(kind: MapKind) -> None:
    """Refuse maps in one file where several machines write.

    Raises
    ------
    InputError
        They would undo each other's writes within a page of memory, over a network.
    """
    if not next(one for one in FORMATS if one.name == kind.format).is_folder:
        several = ", ".join(one.name for one in FORMATS if one.is_folder)
        raise InputError(
            f"--format {kind.format} with --dask, --slurm or --share: several machines cannot write to one file; "
            f"expected one of {several}. Or predict with --workers on one machine"
        )


def fill_elsewhere(
    work: UnitWork,
    outputs: Outputs,
    runner: Runner,
    *,
    share: tuple[int, int] | None = None,
    report: Callable[[str, Progress], None],
) -> bool:
    """Have the units predicted that maps lack, and account for every one.

    Parameters
    ----------
    work : UnitWork
    outputs : Outputs
    runner : Runner
    share : tuple of int, optional
        Number of this share, from 1, and of all; default: everything.
    report : callable
        Told after every unit how far this share is, in planes.

    Returns
    -------
    bool
        Whether all maps are whole; always so without `share`.

    Raises
    ------
    RunError
        When a unit of this share is still missing in the end.
    """
    if share is not None or not runner.one_machine:
        demand_several_writers(work.kind)
    boxes = work.boxes()
    with _first_alone(work.out):
        outputs.missing(boxes)
    units = work.units(boxes)
    mine = np.arange(len(units)) if share is None else share_of(np.arange(len(units)), number=share[0], of=share[1])
    missing = _lacking(units, outputs, mine)
    done, name = len(mine) - len(missing), ",".join(model.net for model in work.models)
    for _ in runner.run(work, iter(missing.tolist())):
        done += 1
        report(name, Progress(done, len(mine)))
    # Others wrote: what is finished is read anew.
    written = work.open_outputs(open_volume(work.images, rules=work.tiling.rules))
    written.missing(boxes)
    require_all(_lacking(units, written, mine), len(units), name="plane" if work.whole_planes else "box")
    return not len(_lacking(units, written, np.arange(len(units))))


@contextmanager
def _first_alone(out: Path) -> Iterator[None]:
    """Let one share after the other open the maps: the first one makes what they are written to."""
    while True:
        with locked(out / ".lock.opening") as alone:
            if alone:
                yield
                return
        time.sleep(0.05)


def _lacking(units: Sequence[Sequence[Roi]], outputs: Outputs, numbers: np.ndarray) -> np.ndarray:
    """Return those of `numbers` whose unit has a box that some map lacks."""
    missing = outputs.missing([box for number in numbers.tolist() for box in units[number]])
    return numbers[[not missing.isdisjoint(units[number]) for number in numbers.tolist()]]


@dataclass(frozen=True)
class _Ready:
    """What a worker keeps from one unit to the next."""

    key: str
    units: list[list[Roi]]
    outputs: Outputs
    predictor: BoxPredictor


_TURN = threading.Lock()
"""Threads of one worker take turns: they share its nets."""
_KEPT: list[_Ready] = []


def _ready(work: UnitWork) -> _Ready:
    """Return nets, maps and images of a run, loaded once in this process."""
    if not _KEPT or _KEPT[0].key != work.key:
        denoise = work.engine.denoiser(work.gpu) if isinstance(work.engine, DenoisingEngine) else None
        volume = open_enhanced(work.images, work.enhancement, rules=work.tiling.rules, denoise=denoise)
        nets = {
            model.net: NetInUse(
                work.engine.load(model, gpu=work.gpu, precision=work.precision),
                variants_for(model.net, work.aug_speed),
                work.calibrations.get(model.net),
            )
            for model in work.models
        }
        outputs = work.open_outputs(volume)
        frames = max(one.net.frames for one in nets.values())
        chunks = chunks_of(work.kind.format, volume.shape)
        predictor = BoxPredictor(
            volume=with_planes_kept(volume, work.tiling, frames=frames, chunks=chunks, folder=work.out),
            nets=nets,
            tiling=work.tiling,
            rules=work.tiling.rules,
            unrounded=is_unrounded(outputs.maps),
        )
        boxes = work.boxes()
        outputs.missing(boxes)
        _KEPT[:] = [_Ready(work.key, work.units(boxes), outputs, predictor)]
    return _KEPT[0]


def _silent(net: str, progress: Progress) -> None:
    del net, progress
