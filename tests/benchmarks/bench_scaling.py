"""Whether time grows in proportion to planes and packages, and whether two processes do as much as two threads.

A compact net predicts on the CPU, with one variant. A straight line is fitted to the times; the largest distance from
it, in times of what a plane or a package takes, says how straight they lie.
"""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.figures import Figure
from benchmarks.settings import begin
from cdeep3m.nets import prototxts
from cdeep3m.volumes.png import write_plane
from random_nets import random_net, write_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.settings import Settings

OPTIONS = ("--models", "1fm", "--augspeed", "10", "--gpu", "-1", "--engine", "embedded")
STRAIGHT = 0.5


def figures(settings: Settings) -> Iterator[Figure]:
    """Predict volumes of more and more planes and packages, and one volume as a whole and in two halves."""
    folder = settings.folder / "scaling"
    trained = write_trained(folder / "trained", width=32 if settings.small else 8)
    planes, side = ((1, 2), 64) if settings.small else ((2, 6, 10, 14), 1024)
    try:
        by_planes = [(n, write_images(folder / f"planes{n}", planes=n, side=side)) for n in planes]
        yield from fitted("plane", by_planes, trained, settings)
        if not settings.small:
            sizes = [(n, packages_wide(n)) for n in (1, 2, 3, 4)]
            by_packages = [(n, write_images(folder / f"packages{n}", planes=2, width=width)) for n, width in sizes]
            yield from fitted("package", by_packages, trained, settings)
        halves = [write_images(folder / f"half{k}", planes=max(planes) // 2, side=side) for k in (1, 2)]
        yield from two_processes(by_planes[-1][1], halves, trained, settings)
    finally:
        shutil.rmtree(folder)


def packages_wide(packages: int) -> int:
    """Return the width of a volume that is cut into so many packages; all see the same canvas."""
    return 1000 * packages + (24 if packages == 1 else 0)


def fitted(what: str, volumes: Sequence[tuple[int, Path]], trained: Path, settings: Settings) -> Iterator[Figure]:
    """Fit a line to the times of volumes, best of the repeats each, taken in turns."""
    times = np.full(len(volumes), np.inf)
    for _ in range(settings.repeats):
        for k, (_, images) in enumerate(volumes):
            times[k] = min(times[k], predict([images], trained, settings))
    numbers = np.array([number for number, _ in volumes], float)
    slope, start = np.polyfit(numbers, times, 1)
    residual = np.abs(times - (start + slope * numbers)).max() / slope
    yield Figure(name=f"a {what} more", value=float(slope), unit="s")
    yield Figure(name=f"before the first {what}", value=float(start), unit="s")
    yield Figure(name=f"largest residual, in {what}s", value=float(residual), unit="", target=STRAIGHT)


def two_processes(whole: Path, halves: Sequence[Path], trained: Path, settings: Settings) -> Iterator[Figure]:
    """Predict a volume with all of two cores, and its halves at the same time with one core each."""
    cores = sorted(os.sched_getaffinity(0))[:2] if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        return
    one, two = [], []
    for _ in range(settings.repeats):
        one.append(predict([whole], trained, settings, cores=[cores]))
        two.append(predict(halves, trained, settings, cores=[[core] for core in cores]))
    yield Figure(name="two processes on two cores", value=min(two), unit="s", peak=min(one), target=1.0, aim="ratio")


def predict(
    volumes: Sequence[Path], trained: Path, settings: Settings, *, cores: Sequence[Sequence[int]] = ()
) -> float:
    """Predict volumes at the same time; return the seconds until the last one is done."""
    outs = [images.with_name(f"{images.name}-predicted") for images in volumes]
    on = cores or [()] * len(volumes)
    command = settings.tree / "scripts" / "runprediction.sh"
    start = time.perf_counter()
    waiting = [
        begin([command, *OPTIONS, trained, images, out], environment=settings.environment, cores=these)
        for images, out, these in zip(volumes, outs, on, strict=True)
    ]
    for finish in waiting:
        finish()
    seconds = time.perf_counter() - start
    for out in outs:
        shutil.rmtree(out)
    return seconds


def write_trained(folder: Path, *, width: int, nets: Sequence[str] = ("1fm",)) -> Path:
    """Write nets with 1/width of the channels and random weights, as a training leaves them."""
    for net in nets:
        models = folder / net / "trainedmodel"
        models.mkdir(parents=True)
        made = write_model(random_net(prototxts.deploy(net, width=width)), models, net)
        made.deploy.rename(models.parent / "deploy.prototxt")
    return folder


def write_images(folder: Path, *, planes: int, side: int = 64, width: int | None = None) -> Path:
    """Write a volume of noise."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(planes)
    for z in range(planes):
        write_plane(folder / f"image_{z:04d}.png", rng.integers(0, 256, (side, width or side), np.uint8))
    return folder
