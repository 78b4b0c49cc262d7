"""Runs as the commands leave them, without hours of computing: volumes of synthetic neuropil and plausible maps."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from cdeep3m.runs.events import Recorder
from cdeep3m.runs.states import prediction_events
from cdeep3m.volumes.samples import gray_histogram
from cdeep3m.volumes.synthetic import synthesize


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
    write_prediction_events(out, volume.image, root / "images")
    return out


def write_prediction_events(out: Path, image: np.ndarray, images: Path) -> None:
    events = Recorder(prediction_events(out))
    settings = {"augspeed": "10", "exact": "false"}
    where = {"host": socket.gethostname(), "pid": os.getpid(), "version": "0.1.0"}
    events.write(
        "began", kind="prediction", engine="embedded, CPU (2 threads), float32", nets=["1fm"], settings=settings, **where
    )
    histogram = gray_histogram(image).tolist()
    seams = {"rows": [image.shape[1] // 2], "columns": []}
    events.write("images", path=str(images), shape=image.shape, type="uint8", packages=2, seams=seams, histogram=histogram)
    weights = {"file": "1fm_classifer_iter_420.caffemodel", "iteration": 420, "sha256": "0f" * 32}
    events.write("model", net="1fm", **weights, trained_on={"histogram": histogram})
    events.write("progress", name="1fm", done=len(image), total=len(image))
    events.write("ended", status="finished", message="", seconds=12.5, memory=1_400_000_000)
