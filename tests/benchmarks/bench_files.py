"""The steps that make files of files, as whole commands, against writing or copying the same bytes.

Writing alone is what the steps are held to that write far more than they read; the others are held to a copy: reading
the files that they read, and writing as many bytes as they write. Both take turns with the command, and use one thread
or one for each processor, whichever is faster. Commands end when the system has taken what they write into memory; how
long it then takes until all of it is on the disk is a figure of its own, for those that write much.
"""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.figures import Figure
from benchmarks.settings import best
from cdeep3m.system.threads import processors
from cdeep3m.volumes.hdf5 import write_datasets
from cdeep3m.volumes.png import write_plane
from cdeep3m.volumes.synthetic import synthesize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.figures import Aim
    from benchmarks.settings import Settings

GB = 10**9
ROOM = 20 * GB
"""What the whole volume's biggest step needs: 14 GB of predictions, and what becomes of them."""
MOST_MEMORY = 1.5
CANVAS = 1024
BUFFER = bytes(os.urandom(2**20))


@dataclass(frozen=True, kw_only=True)
class Volume:
    """What the steps are given.

    Attributes
    ----------
    folder : Path
        For all files.
    side, planes, variants : int
        Of the synthetic volume, and how many of the 16 variants are predicted.
    """

    folder: Path
    side: int = 1024
    planes: int = 100
    variants: int = 16

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def labels(self) -> Path:
        return self.folder / "labels"

    @property
    def net(self) -> Path:
        return self.folder / "aug" / "3fm"

    @property
    def package(self) -> Path:
        return self.net / "Pkg001_Z01"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command, what it reads and what it makes.

    Attributes
    ----------
    name : str
        The command.
    arguments : sequence
    reads : sequence of Path
        Folders that it must read; empty where it is held to writing alone.
    makes : Path
        Folder that it writes to.
    target : float
    aim : {"value", "ratio"}
    prepare : callable
        Makes what it reads, before every run.
    """

    name: str
    arguments: Sequence[object]
    makes: Path
    target: float
    reads: Sequence[Path] = ()
    aim: Aim = "value"
    prepare: Callable[[], object] = field(default=lambda: None)


def figures(settings: Settings) -> Iterator[Figure]:
    """Measure all steps on one volume."""
    sizes = {"side": 330, "planes": 2, "variants": 2} if settings.small else {}
    volume = Volume(folder=settings.folder / "files", **sizes)
    demand_room(settings)
    write_images(volume)
    settings.command("DefDataPackages", volume.images, volume.net.parent)
    try:
        for step in steps(volume):
            yield from measure(step, settings)
    finally:
        shutil.rmtree(volume.folder)


def demand_room(settings: Settings) -> None:
    """Stop with one line where the disk is too full."""
    free = shutil.disk_usage(settings.folder).free
    if not settings.small and free < ROOM:
        raise SystemExit(
            f"ERROR, {settings.folder} has {free / GB:.0f} GB free; the file steps need {ROOM / GB:.0f}. "
            "Make room, choose another folder with --folder, or leave them out with --groups"
        )


def steps(volume: Volume) -> Iterator[Step]:
    """Yield the steps in the order of the pipeline; what one makes, later ones read."""
    out, images, labels = volume.folder / "out", volume.images, volume.labels
    yield Step(name="PreprocessTrainingData", arguments=(images, labels, out), makes=out, target=1.25, aim="ratio")
    yield Step(
        name="PreprocessValidation", arguments=(images, labels, out), reads=(images, labels), makes=out, target=2
    )
    speed = 1 if volume.variants == 16 else 10
    package = (images, volume.net.parent, 1, 1, "3fm", speed)
    yield Step(name="PreprocessPackage", arguments=package, makes=volume.package, target=1.25, aim="ratio")
    predictions = volume.folder / "predictions"
    write_predictions(volume, predictions)
    yield Step(
        name="StartPostprocessing",
        arguments=(volume.package,),
        reads=(predictions,),
        makes=volume.package,
        target=6,
        prepare=lambda: link_all(predictions, volume.package),
    )
    shutil.rmtree(predictions)
    averaged = volume.folder / "averaged"
    yield Step(
        name="Merge_LargeData",
        arguments=(volume.net,),
        reads=(averaged,),
        makes=volume.net,
        target=1.5,
        prepare=lambda: link_all(averaged, volume.package),
    )
    nets = [volume.folder / name for name in ("1fm", "3fm", "5fm")]
    yield Step(name="EnsemblePredictions", arguments=(*nets, out), reads=nets, makes=out, target=1.2)


def measure(step: Step, settings: Settings) -> Iterator[Figure]:
    """Run a step and its copy in turns; the best of each counts."""
    runs, copies, on_disk, written = [], [], [], {}
    for repeat in range(settings.repeats):
        shutil.rmtree(step.makes, ignore_errors=True)
        step.prepare()
        before = sizes_in(step.makes)
        os.sync()
        start = time.perf_counter()
        runs.append(settings.command(step.name, *step.arguments))
        os.sync()
        on_disk.append(time.perf_counter() - start)
        written = {path: size for path, size in sizes_in(step.makes).items() if path not in before}
        if repeat == 0:
            keep_for_later_steps(step)
        shutil.rmtree(step.makes, ignore_errors=True)
        os.sync()
        for threads in {1, processors()}:
            copy = copy_times(step.reads, list(written.values()), settings.folder / "copy", threads=threads)
            copies.append(copy)
    taken = best(runs)
    copied, copied_to_disk = (min(times) for times in zip(*copies, strict=True))
    yield Figure(name=step.name, value=taken.seconds, unit="s", peak=copied, target=step.target, aim=step.aim)
    if step.aim == "ratio":
        name = f"{step.name}: until on disk"
        yield Figure(name=name, value=min(on_disk), unit="s", peak=copied_to_disk, target=step.target, aim=step.aim)
    yield Figure(name=f"{step.name}: processors", value=taken.cpu, unit="s")
    yield Figure(name=f"{step.name}: memory", value=taken.memory / GB, unit="GB", target=MOST_MEMORY)
    yield Figure(name=f"{step.name}: written", value=sum(written.values()) / GB, unit="GB")


def keep_for_later_steps(step: Step) -> None:
    """Keep averaged planes for merging, and maps as those of three nets."""
    if step.name == "StartPostprocessing":
        link_all(step.makes, step.makes.parents[2] / "averaged")
    if step.name == "Merge_LargeData":
        for net in ("1fm", "3fm", "5fm"):
            (step.makes.parents[1] / net).mkdir(exist_ok=True)
            for path in step.makes.glob("Segmented_*.png"):
                shutil.copy(path, step.makes.parents[1] / net)


def sizes_in(folder: Path) -> dict[Path, int]:
    """Return the size of every file below a folder."""
    return {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def copy_times(reads: Sequence[Path], sizes: Sequence[int], folder: Path, *, threads: int = 1) -> tuple[float, float]:
    """Return how long it takes to read all files in `reads` and write files of `sizes`, and nothing else.

    Returns
    -------
    tuple of float
        Seconds until all is written, and until it is on the disk.
    """
    files = [path for source in reads for path in sizes_in(source)]
    folder.mkdir()
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read_alone, files))
        list(pool.map(write_alone, [folder / str(k) for k in range(len(sizes))], sizes))
    written = time.perf_counter() - start
    os.sync()
    on_disk = time.perf_counter() - start
    shutil.rmtree(folder)
    os.sync()
    return written, on_disk


def read_alone(path: Path) -> None:
    """Read a file and keep nothing of it."""
    memory = bytearray(len(BUFFER))
    with path.open("rb", buffering=0) as file:
        while file.readinto(memory):
            pass


def write_alone(path: Path, size: int) -> None:
    """Write a file of random bytes."""
    with path.open("wb", buffering=0) as file:
        for begin in range(0, size, len(BUFFER)):
            file.write(memoryview(BUFFER)[: size - begin])


def link_all(source: Path, target: Path) -> None:
    """Give every file of a folder a second name in another one, for commands that move or remove what they read."""
    shutil.copytree(source, target, copy_function=os.link, dirs_exist_ok=True)


def write_images(volume: Volume) -> None:
    """Write images and labels: a synthetic block and its mirror images, each plane with noise of its own."""
    block = synthesize((min(16, volume.planes), *[min(512, volume.side)] * 2), seed=1)
    rng = np.random.default_rng(0)
    for folder in (volume.images, volume.labels):
        folder.mkdir(parents=True)
    for z in range(volume.planes):
        image, label = (mirrored(stack, z, volume.side) for stack in (block.image, block.label))
        noisy = np.clip(image + 3 * rng.standard_normal(image.shape, np.float32), 0, 255)
        write_plane(volume.images / f"image_{z + 1:04d}.png", noisy.astype(np.uint8))
        write_plane(volume.labels / f"label_{z + 1:04d}.png", label * np.uint8(255))


def mirrored(stack: np.ndarray, z: int, side: int) -> np.ndarray:
    """Return plane `z` of the stack that goes on in its mirror image, enlarged to `side` in the same way."""
    depth, length = len(stack), stack.shape[1]
    plane = stack[np.pad(np.arange(depth), (0, max(0, z + 1 - depth)), mode="symmetric")[z]]
    return np.pad(plane, (0, max(0, side - length)), mode="symmetric")[:side, :side]


def write_predictions(volume: Volume, folder: Path) -> None:
    """Write what a net makes of the variants of one package: smooth probabilities with noise in their low bits."""
    rng = np.random.default_rng(1)
    coarse = 5 * rng.standard_normal((CANVAS // 16 + 1, CANVAS // 16 + 1), np.float32) - 4
    smooth = np.kron(coarse, np.ones((16, 16), np.float32))[:CANVAS, :CANVAS]
    smooth = sum(np.roll(smooth, shift, axis) for shift in range(16) for axis in (0, 1)) / 32
    logits = smooth + 0.3 * rng.standard_normal((CANVAS, CANVAS), np.float32)
    for variant in range(1, volume.variants + 1):
        (folder / f"v{variant}").mkdir(parents=True)
        for k in range(volume.planes + 4):
            foreground = 1 / (1 + np.exp(-np.roll(logits, (37 * k, 91 * k + variant), (0, 1))))
            both = np.stack([1 - foreground, foreground])[np.newaxis]
            write_datasets(folder / f"v{variant}" / f"test.h5_shift_{k}.h5", {"data": both})
