"""Whether what commands say of the time to come holds: the progress after a tenth of a run, and `cdeep3m estimate`."""

from __future__ import annotations

import json
import shutil
import subprocess
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.bench_scaling import write_images, write_trained
from benchmarks.figures import Figure
from cdeep3m.runs.events import read_events, seconds_spent
from cdeep3m.runs.pace import Pace
from cdeep3m.runs.states import prediction_events, training_events
from cdeep3m.volumes.png import write_plane

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.settings import Settings
    from cdeep3m.runs.events import Event

WRONG = 15.0
"""Percent that a foretold time may be off by."""
FROM = 0.1
"""Part of a run after which its progress should know."""
ENGINE = ("--gpu", "-1", "--engine", "embedded")
PREDICT = ("--augspeed", "10", "--models", "1fm")


def figures(settings: Settings) -> Iterator[Figure]:
    """Foretell a prediction, and unless all is small a training; then run them."""
    folder = settings.folder / "foresight"
    try:
        yield from of_prediction(folder, settings)
        if not settings.small:
            yield from of_training(folder, settings)
    finally:
        shutil.rmtree(folder)


def of_prediction(folder: Path, settings: Settings) -> Iterator[Figure]:
    planes, side = (3, 64) if settings.small else (40, 1024)
    trained = write_trained(folder / "trained", width=32 if settings.small else 8)
    images = write_images(folder / "images", planes=planes, side=side)
    told = estimate(settings, "predict", *PREDICT, "--seconds", 1 if settings.small else 10, trained, images)
    out = folder / "predicted"
    command(settings, "predict", *PREDICT, "--no-report", trained, images, out)
    yield from compared("prediction", told, read_events(prediction_events(out)))


def of_training(folder: Path, settings: Settings) -> Iterator[Figure]:
    images, labels = write_images(folder / "training", planes=8, side=340), folder / "labels"
    labels.mkdir()
    for z in range(8):
        write_plane(labels / f"label_{z:04d}.png", (np.indices((340, 340)).sum(0) // 40 % 2).astype(np.uint8))
    options = ("--models", "1fm", "--width", "16", "--patch_side", "96", "--iter_size", "1", "--numiterations", "300")
    told = estimate(settings, "train", *options, images, labels)
    out = folder / "run"
    command(settings, "train", *options, "--no-report", images, labels, out)
    yield from compared("training", told, read_events(training_events(out, "1fm")))


def compared(what: str, told: dict[str, Any], events: Sequence[Event]) -> Iterator[Figure]:
    seconds = seconds_spent(events)
    yield Figure(name=f"estimate of a {what}, off by", value=off(told["seconds"], seconds), unit="%", target=WRONG)
    yield Figure(name=f"time to come of a {what}, off by (median)", value=eta_error(events), unit="%", target=WRONG)


def eta_error(events: Sequence[Event]) -> float:
    """Return the median error, in percent, of what progress told from a tenth of the run on."""
    noted = [event for event in events if event.name == "progress"]
    pace, errors, end = Pace(), [], noted[-1].time
    for event in noted[:-1]:
        pace.note(event.time, event.values["done"])
        left = pace.left(event.values["total"])
        if left is not None and event.values["done"] >= FROM * event.values["total"]:
            errors.append(off(left, end - event.time))
    return median(errors) if errors else 0.0


def off(told: float, real: float) -> float:
    return 100 * abs(told / real - 1)


def estimate(settings: Settings, kind: str, *words: object) -> dict[str, Any]:
    said = command(settings, "estimate", kind, "--json", *words)
    return json.loads(said)


def command(settings: Settings, name: str, *words: object) -> str:
    line = [settings.tree / "scripts" / "cdeep3m", name, *words, *ENGINE]
    ended = subprocess.run(list(map(str, line)), env=dict(settings.environment), capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(map(str, line))} ended with {ended.returncode}: {ended.stderr}")
    return ended.stdout
