"""What a CUDA GPU does with planes, training batches and a whole volume, and how busy it is meanwhile.

Without a GPU there are no figures; small runs then take the CPU, for the sake of the code.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from benchmarks import bench_prediction, bench_training
from benchmarks.bench_prediction import Result
from benchmarks.bench_scaling import write_images, write_trained
from benchmarks.figures import Figure
from cdeep3m.engines.base import CPU
from cdeep3m.engines.nvidia import ask
from cdeep3m.nets import prototxts
from cdeep3m.runs.events import read_events
from cdeep3m.runs.states import prediction_events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.settings import Settings

SHARE_OF_PEAK = 0.6
WHOLE_VOLUME = {"float32": 100, "fast": 20}
"""Seconds that 1024 x 1024 x 100 voxels may take with all nets and variants, at each precision."""
BATCHES_A_SECOND = {"float32": 25, "fast": 100}
"""Training batches, at each precision."""
BUSY = 90
"""Percent of the time that the GPU is to be computing."""
ASK_EVERY = 0.5


def figures(settings: Settings) -> Iterator[Figure]:
    """Measure the first CUDA device."""
    gpu = 0 if torch.cuda.is_available() else CPU
    if gpu == CPU and not settings.small:
        print("gpu: no figures, there is no CUDA device", file=sys.stderr)
        return
    for precision in WHOLE_VOLUME:
        yield plane(gpu, precision, settings)
    for precision in WHOLE_VOLUME:
        yield batch(gpu, precision, settings)
    for precision in WHOLE_VOLUME:
        yield from whole_volume(gpu, precision, settings)


def plane(gpu: int, precision: str, settings: Settings) -> Figure:
    """Predict planes of 1fm."""
    size = ("--side", 64, "--width", 16, "--planes", 1) if settings.small else ("--planes", 4)
    said = settings.program(bench_prediction.__file__, "--gpu", gpu, "--precision", precision, *size)
    result = Result(**said)
    limit = result.operations / result.rate
    name = f"GPU, a plane of 1fm, {precision}"
    return Figure(name=name, value=min(result.seconds), unit="s", peak=limit, target=1 / SHARE_OF_PEAK, aim="ratio")


def batch(gpu: int, precision: str, settings: Settings) -> Figure:
    """Train 1fm."""
    size = ("--side", 64, "--width", 16, "--batches", 1) if settings.small else ("--batches", 20)
    result = Result(**settings.program(bench_training.__file__, "--gpu", gpu, "--precision", precision, *size))
    limit, seconds = result.operations / result.rate, min(result.seconds)
    name = f"GPU, a training batch of 1fm, {precision}"
    return Figure(name=name, value=seconds, unit="s", peak=limit, target=1 / BATCHES_A_SECOND[precision])


def whole_volume(gpu: int, precision: str, settings: Settings) -> Iterator[Figure]:
    """Predict a volume with all nets and variants, by one command."""
    folder = settings.folder / "gpu"
    try:
        trained, images = nets_and_images(folder, settings)
        yield from predicted(gpu, precision, settings, trained, images, target=WHOLE_VOLUME[precision])
    finally:
        shutil.rmtree(folder)


def nets_and_images(folder: Path, settings: Settings) -> tuple[Path, Path]:
    """Return nets of random weights and images of noise, written to a folder where they are not there."""
    width, planes, side = (32, 2, 64) if settings.small else (1, 100, 1024)
    trained, images = folder / "trained", folder / "images"
    if not trained.exists():
        write_trained(trained, width=width, nets=("1fm",) if settings.small else prototxts.NETS)
    if not images.exists():
        write_images(images, planes=planes, side=side)
    return trained, images


def predicted(
    gpu: int, precision: str, settings: Settings, trained: Path, images: Path, *, target: float | None = None
) -> Iterator[Figure]:
    """Predict images with all nets and variants, by one command; tell where the time went."""
    nets, planes = sorted(path.name for path in trained.iterdir()), len(list(images.iterdir()))
    options = ["--models", ",".join(nets), "--gpu", gpu, "--engine", "embedded", "--precision", precision]
    options += ["--augspeed", 10, "--fit"] if settings.small else []
    out = images.with_name("out")
    begin = time.time()
    try:
        with Watch(gpu) as watch:
            taken = settings.command("runprediction.sh", *options, trained, images, out)
        end, events = time.time(), read_events(prediction_events(out))
    finally:
        shutil.rmtree(out, ignore_errors=True)
    name = f"GPU, {planes} planes, {len(nets)} nets, all variants, {precision}"
    yield Figure(name=name, value=taken.seconds, unit="s", target=target)
    if watch.percent:
        idle = 100 - sum(watch.percent) / len(watch.percent)
        yield Figure(name=f"{name}: GPU idle", value=idle, unit="%", target=100 - BUSY)
    progress = [event.time for event in events if event.name == "progress"]
    if progress and events[0].name == "began":
        yield Figure(name=f"{name}: to the run's beginning", value=events[0].time - begin, unit="s")
        yield Figure(name=f"{name}: to the first plane", value=progress[0] - begin, unit="s")
        yield Figure(name=f"{name}: from the last plane on", value=end - progress[-1], unit="s")


@dataclass
class Watch:
    """Asks the driver, again and again, what share of the time a GPU computes.

    Attributes
    ----------
    gpu : int
    percent : list of int
        The answers; none where there is no driver.
    """

    gpu: int
    percent: list[int] = field(default_factory=list)

    def __enter__(self) -> Watch:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        while self.gpu != CPU and not self._stop.wait(ASK_EVERY):
            status, said = ask("--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", f"--id={self.gpu}")
            if status == 0:
                self.percent.append(int(said))
