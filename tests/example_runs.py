"""Runs as the commands leave them, without hours of computing: volumes of synthetic neuropil and plausible maps."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy import ndimage

from cdeep3m.engines.base import LabelledVolume, Progress
from cdeep3m.runs.events import Recorder, recorded
from cdeep3m.runs.states import prediction_events, training_events
from cdeep3m.training.facts import facts_of
from cdeep3m.volumes.samples import gray_histogram
from cdeep3m.volumes.synthetic import synthesize

if TYPE_CHECKING:
    from pathlib import Path


def write_planes(folder: Path, planes: np.ndarray, name: str = "plane_{:04d}.png") -> Path:
    folder.mkdir(parents=True)
    for z, plane in enumerate(planes, start=1):
        Image.fromarray(plane).save(folder / name.format(z))
    return folder


def make_prediction(root: Path, *, shape: tuple[int, int, int] = (4, 200, 220), seed: int = 3) -> Path:
    """Write images/, labels/ and a finished prediction of a synthetic volume; return the prediction's folder."""
    volume = synthesize(shape, seed=seed)
    rng = np.random.default_rng(seed)
    write_planes(root / "images", volume.image)
    write_planes(root / "labels", volume.label * np.uint8(255))
    blurred = ndimage.gaussian_filter(volume.label.astype(float), (0.3, 3, 3))
    doubt = ndimage.gaussian_filter(rng.normal(size=shape), (0.5, 6, 6))
    maps = np.clip(255 / (1 + np.exp(-(blurred * 9 - 4.2 + doubt / doubt.std() * 0.9))), 0, 255).astype(np.uint8)
    out = root / "predicted"
    for net in ("1fm", "ensembled"):
        write_planes(out / net, maps, "Segmented_{:04d}.png")
    (out / "logs").mkdir()
    (out / "DONE").write_text("success\n0\n")
    write_prediction_events(out, volume.image, root / "images")
    return out


def write_prediction_events(out: Path, image: np.ndarray, images: Path) -> None:
    events = Recorder(prediction_events(out))
    settings = {"augspeed": "10", "exact": "false"}
    where = {"host": socket.gethostname(), "pid": os.getpid(), "version": "0.1.0"}
    events.write(
        "began",
        kind="prediction",
        engine="embedded, CPU (2 threads), float32",
        nets=["1fm"],
        settings=settings,
        **where,
    )
    histogram = gray_histogram(image).tolist()
    seams = {"rows": [image.shape[1] // 2], "columns": []}
    events.write(
        "images", path=str(images), shape=image.shape, type="uint8", packages=2, seams=seams, histogram=histogram
    )
    weights = {"file": "1fm_classifer_iter_420.caffemodel", "iteration": 420, "sha256": "0f" * 32}
    events.write("model", net="1fm", **weights, trained_on={"histogram": histogram})
    events.write("progress", name="1fm", done=len(image), total=len(image))
    events.write("ended", status="finished", message="", seconds=12.5, memory=1_400_000_000)


def make_training(root: Path, *, iterations: int = 200, loss: float = 0.1) -> Path:
    """Write a finished training of one net, with Caffe's log and its events; return its folder.

    Parameters
    ----------
    root : Path
    iterations : int
    loss : float
        What the loss falls to.
    """
    out = root / "trained"
    (out / "1fm" / "log").mkdir(parents=True)
    (out / "1fm" / "solver.prototxt").write_text(f"max_iter: {iterations}\n")
    volume = synthesize((6, 200, 210), seed=1)
    rng = np.random.default_rng(0)
    losses = loss + (0.7 - loss) * np.exp(-np.arange(iterations) / iterations * 6) * (
        1 + rng.normal(0, 0.05, iterations)
    )
    stamp = "I1122 17:{:02d}:{:02d}.000000  5892 solver.cpp:1]"
    lines = [f"{stamp.format(0, 0)} Solving net"]
    for k, value in enumerate(losses):
        now = stamp.format(k // 60, k % 60)
        lines += [f"{now} Iteration {k}, loss = {value:.5f}", f"{now} Train net output #0: loss = {value:.5f} (* 1)"]
        if k % 20 == 0:
            lines += [f"{now} Iteration {k}, Testing net (#0)", f"{now} Test net output #0: accuracy = {1 - value:.4f}"]
            lines += [f"{now} Test net output #1: loss = {value * 1.1:.5f} (* 1)"]
    (out / "1fm" / "log" / "out.log").write_text("\n".join(lines) + "\n")
    labelled = LabelledVolume(volume.image.transpose(2, 1, 0), volume.label.transpose(2, 1, 0))
    with recorded(
        training_events(out, "1fm"), kind="training", engine="embedded, CPU (2 threads)", net="1fm"
    ) as events:
        events.write("data", **facts_of(out, [labelled] * 16, [labelled]))
        events.progress("1fm", Progress(iterations, iterations, float(losses[-1])))
    return out
