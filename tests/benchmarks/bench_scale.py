"""What it costs to do boxes elsewhere and to keep account of them, and how fast objects are found.

Work of no time shows what a runner, the ledger and a scheduler take for themselves; work that only computes shows what
a second process gains.
"""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from benchmarks.figures import Figure
from box_work import compute, nothing
from cdeep3m.objects.job import ObjectsRequest, begin
from cdeep3m.objects.measures import MEASURES
from cdeep3m.objects.merging import merge
from cdeep3m.runners.base import InThisProcess, run_missing
from cdeep3m.runners.dask import OnDask
from cdeep3m.runners.processes import Processes, shares_of_cores
from cdeep3m.system.ledger import open_ledger
from cdeep3m.volumes.address import Address
from cdeep3m.volumes.tiff import write_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from benchmarks.settings import Settings
    from cdeep3m.runners.base import Runner, Work

MILLION = 10**6
VOXELS = 40 * MILLION
"""So many voxels a core are to be labelled a second."""


def figures(settings: Settings) -> Iterator[Figure]:
    """Measure ledger, runners and objects."""
    folder = settings.folder / "scale"
    folder.mkdir()
    try:
        yield from ledger(folder, settings)
        yield from runners(folder, settings)
        yield from dask(folder, settings)
        yield from objects(folder, settings)
        yield from merging(settings)
    finally:
        shutil.rmtree(folder)


def ledger(folder: Path, settings: Settings) -> Iterator[Figure]:
    """Fill a ledger and open it."""
    boxes, marks = (1000, 100) if settings.small else (MILLION, 20_000)
    made = open_ledger(folder / "ledger", boxes=boxes, run={})
    start = time.perf_counter()
    for box in range(marks):
        made.mark(box)
    yield Figure(name="a box marked in the ledger", value=1e6 * (time.perf_counter() - start) / marks, unit="µs")
    for begin_ in range(0, boxes, 1000):
        made.writer().mark(*range(begin_, min(begin_ + 1000, boxes)))
    times = []
    for _ in range(settings.repeats):
        start = time.perf_counter()
        assert not len(open_ledger(folder / "ledger", boxes=boxes, run={}).missing())
        times.append(time.perf_counter() - start)
    yield Figure(name=f"ledger of {boxes} boxes by 1000 writers opened", value=min(times), unit="s", target=1.0)


def runners(folder: Path, settings: Settings) -> Iterator[Figure]:
    """Do boxes without work, and boxes of nothing but work."""
    few = few_boxes(settings)
    here = taken(InThisProcess(), nothing, few, folder)
    yield Figure(name="a box in this process", value=1000 * here / few, unit="ms", target=5.0)
    two = Processes(shares_of_cores(2, 2))
    begun = taken(two, nothing, 2, folder)
    yield Figure(name="two processes begun and ended", value=begun, unit="s")
    both = taken(two, nothing, few, folder)
    yield Figure(name="a box in two processes", value=1000 * max(0.0, both - begun) / few, unit="ms", target=5.0)
    one, pair = (computing(count, hard_boxes(settings), folder, settings) for count in (1, 2))
    yield Figure(
        name="boxes that compute, in two processes and in one, once begun",
        value=pair,
        unit="s",
        peak=one,
        target=1 / 1.8,
        aim="ratio",
    )


def few_boxes(settings: Settings) -> int:
    return 20 if settings.small else 2000


def hard_boxes(settings: Settings) -> int:
    return 4 if settings.small else 60


def dask(folder: Path, settings: Settings) -> Iterator[Figure]:
    """Do the same on Dask, and many boxes, during which the memory of this process is not to grow."""
    if find_spec("distributed") is None:
        return
    few, many, work = few_boxes(settings), 40 if settings.small else 100_000, hard_boxes(settings)
    with cluster(2) as address:
        runner = OnDask(address)
        taken(runner, nothing, few, folder)
        before = resident()
        seconds = taken(runner, nothing, many, folder)
        yield Figure(name="a box on Dask", value=1000 * seconds / many, unit="ms", target=30.0)
        grown = (resident() - before) / 2**20
        yield Figure(name=f"memory that {many} boxes on Dask add here", value=max(0.0, grown), unit="MB", target=100.0)
        pair = min(taken(runner, compute, work, folder) for _ in range(settings.repeats))
    with cluster(1) as address:
        one = min(taken(OnDask(address), compute, work, folder) for _ in range(settings.repeats))
    yield Figure(
        name="boxes that compute, on two workers of Dask and on one",
        value=pair,
        unit="s",
        peak=one,
        target=1 / 1.8,
        aim="ratio",
    )


def computing(processes: int, boxes: int, folder: Path, settings: Settings) -> float:
    """Return how long processes take for boxes that compute, without their beginning and end."""
    runner = Processes(shares_of_cores(processes, processes))
    times = []
    for _ in range(settings.repeats):
        begun = taken(runner, nothing, processes, folder)
        times.append(max(taken(runner, compute, boxes, folder) - begun, 1e-6))
    return min(times)


def taken(runner: Runner, work: Work, boxes: int, folder: Path) -> float:
    """Return how long a runner takes for boxes, ledger included."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        made = open_ledger(place, boxes=boxes, run={})
        start = time.perf_counter()
        run_missing(work, made, runner=runner)
        return time.perf_counter() - start


@contextmanager
def cluster(workers: int) -> Iterator[str]:
    """Yield the address of a Dask cluster of this machine, whose scheduler is another process."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(workers, there))
    process.start()
    try:
        yield here.recv()
    finally:
        here.send("end")
        process.join()


def serve(workers: int, end: Connection) -> None:
    """Run a cluster, tell its address, and end it when something is said."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
    ) as made:
        end.send(made.scheduler_address)
        end.recv()


def resident() -> int:
    """Return the memory that this process holds now, in bytes."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def objects(folder: Path, settings: Settings) -> Iterator[Figure]:
    """Label cells of a volume in a memory-mapped TIFF file, in this process, and see what a larger one needs."""
    shape = (8, 64, 64) if settings.small else (256, 512, 512)
    maps = cells(shape)
    write_stack(folder / "maps.tif", maps)
    best = {"labelled and measured": np.inf, "joined": np.inf, "numbered and written": np.inf}
    for repeat in range(settings.repeats):
        job = begin(ObjectsRequest(maps=Address.of(folder / "maps.tif"), out=folder / f"out{repeat}"))
        start = time.perf_counter()
        for number in range(len(job.grid)):
            job.label(number)
        labelled = time.perf_counter()
        job.join()
        joined = time.perf_counter()
        job.prepare_labels()
        for number in range(len(job.grid)):
            job.write(number)
        taken_ = (labelled - start, joined - labelled, time.perf_counter() - joined)
        best = {name: min(known, new) for (name, known), new in zip(best.items(), taken_, strict=True)}
        job.finish()
        shutil.rmtree(folder / f"out{repeat}")
    scale = VOXELS / maps.size
    for name, seconds in best.items():
        yield Figure(name=f"40 million voxels {name}", value=scale * seconds, unit="s")
    yield Figure(name="40 million voxels from maps to labels", value=scale * sum(best.values()), unit="s", target=1.0)
    yield from memory(folder, settings, maps)


def memory(folder: Path, settings: Settings, maps: np.ndarray) -> Iterator[Figure]:
    """Compare what the command holds at most for one volume and for one four times as deep."""
    held = []
    for name, times in (("small", 1), ("deep", 4)):
        write_stack(folder / f"{name}.tif", np.concatenate([maps] * times))
        held.append(settings.command("cdeep3m", "objects", folder / f"{name}.tif", folder / name).memory / 10**9)
    yield Figure(
        name="memory for a volume four times as deep", value=held[1], unit="GB", peak=held[0], target=1.25, aim="ratio"
    )


def cells(shape: tuple[int, int, int]) -> np.ndarray:
    """Return maps of smooth blobs, a tenth of the volume, that are tiled from one block."""
    rng = np.random.default_rng(0)
    block = tuple(min(side, 256) for side in shape)
    smooth = ndimage.gaussian_filter(rng.standard_normal(block, np.float32), 4, mode="wrap")
    values = np.clip(smooth / smooth.std() * 40 + 77, 0, 255).astype(np.uint8)
    return np.tile(values, [-(-side // b) for side, b in zip(shape, block, strict=True)])[
        : shape[0], : shape[1], : shape[2]
    ]


def merging(settings: Settings) -> Iterator[Figure]:
    """Join the labels of a million objects, a fifth of which lie in two blocks."""
    objects_ = 1000 if settings.small else MILLION
    shared = objects_ // 5
    rows = np.zeros(objects_ + shared, MEASURES)
    rows["voxels"] = 10
    rows["first"] = np.random.default_rng(0).permutation(len(rows))
    rows["end"] = 1
    same = np.stack([np.arange(shared), objects_ + np.arange(shared)], axis=1)
    contacts = np.column_stack([same, np.zeros(shared, np.int64), np.full(shared, 3)])
    times = []
    for _ in range(settings.repeats):
        start = time.perf_counter()
        found = merge(rows, same, contacts, shape=(10**4,) * 3)
        times.append(time.perf_counter() - start)
        assert len(found.measured) == objects_
    yield Figure(name=f"{objects_} objects joined", value=min(times), unit="s", target=10.0)
