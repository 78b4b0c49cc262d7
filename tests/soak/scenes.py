"""Small but whole jobs: images, labels, a model that predicts in a moment, and the commands that use them."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h5py
import numpy as np
import tifffile
from google.protobuf import text_format
from PIL import Image

from cdeep3m.proto.caffe_pb2 import NetParameter
from cdeep3m.proto.caffemodel import array_to_blob, write_model
from cdeep3m.volumes.hdf5 import write_datasets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEPLOY = """
name: "tiny"
input: "data"
input_shape { dim: 1 dim: 1 dim: 1024 dim: 1024 dim: %d }
layer {
  name: "score" type: "Convolution" bottom: "data" top: "score" param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param {
    num_output: 2 kernel_size: 3 kernel_size: 3 kernel_size: %d pad: 1 pad: 1 pad: 0 weight_filler { type: "xavier" }
  }
}
layer {
  name: "flat" type: "Reshape" bottom: "score" top: "flat"
  reshape_param { shape { dim: 0 dim: 0 dim: 0 dim: 0 } }
}
layer { name: "out" type: "Softmax" bottom: "flat" top: "prob" }
"""
SHAPE = (3, 40, 44)
CPU = ("--gpu", "-1")
QUICK = (*CPU, "--fit", "--augspeed", "10", "--models", "1fm,3fm")
MAY_DIFFER = (
    "report.html",
    "events.jsonl",
    "readme.txt",
    "out.log",
    "parallel.jobs",
    "source.json",
    "predict.config",
    "images.txt",
    ".training_images.json",
    ".made_of.json",
)
"""Files with dates or whole paths, or that are added to."""


@dataclass(frozen=True)
class Scene:
    """A job.

    Attributes
    ----------
    name : str
    make : callable
        Makes the inputs in a folder.
    commands : tuple
        The commands of the job; those that wait for each other run side by side.
    outputs : tuple of str
        What they make.
    together : bool
        Whether they run side by side.
    random : bool
        Whether what they make differs from one time to the next.
    once : bool
        Whether they refuse to do again what is finished.
    """

    name: str
    make: Callable[[Path], None]
    commands: tuple[tuple[str, ...], ...]
    outputs: tuple[str, ...]
    together: bool = False
    random: bool = False
    once: bool = False


def volume(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return 8-bit images and 0/1 labels, axes (z, y, x)."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    label = ((y - 15 - z) ** 2 + (x - 20 + z) ** 2 < 80).astype(np.uint8)
    return np.clip(120 - 60 * label + rng.normal(0, 9, SHAPE), 1, 250).astype(np.uint8), label


def write_images(folder: Path, planes: np.ndarray, suffix: str = ".png") -> None:
    """Write a folder of images."""
    folder.mkdir(parents=True, exist_ok=True)
    for z, plane in enumerate(planes):
        if suffix == ".tif":
            tifffile.imwrite(folder / f"i_{z + 1}.tif", plane, photometric="minisblack", metadata=None)
        else:
            Image.fromarray(plane).save(folder / f"i_{z + 1}{suffix}")


def write_trained(folder: Path) -> None:
    """Write trained nets of one convolution."""
    for net, frames in (("1fm", 1), ("3fm", 3)):
        home = folder / net / "trainedmodel"
        home.mkdir(parents=True, exist_ok=True)
        message = text_format.Parse(DEPLOY % (frames, frames), NetParameter())
        (folder / net / "deploy.prototxt").write_text(text_format.MessageToString(message))
        weights = np.random.default_rng(frames).normal(0, 0.01, (2, 1, 3, 3, frames)).astype(np.float32)
        for iteration in (1, 2):
            model = NetParameter(name="tiny")
            layer = model.layer.add(name="score", type="Convolution")
            layer.blobs.extend([array_to_blob(weights * iteration), array_to_blob(np.zeros(2, np.float32))])
            write_model(home / f"{net}_classifer_iter_{iteration}.caffemodel", model)


def _prediction(folder: Path) -> None:
    write_images(folder / "images", volume()[0])
    write_trained(folder / "trained")


def _training(folder: Path) -> None:
    images, labels = volume()
    write_images(folder / "images", images)
    write_images(folder / "labels", labels * 255)


def _maps(folder: Path) -> None:
    images, labels = volume()
    for name, planes in (("a", images), ("b", 255 - images), ("labels", labels * 255)):
        (folder / name).mkdir(parents=True)
        for z, plane in enumerate(planes):
            Image.fromarray(plane).save(folder / name / f"Segmented_{z + 1:04d}.png")


def _workers(folder: Path) -> None:
    _prediction(folder)
    out = folder / "out"
    out.mkdir()
    (out / "predict.config").write_text(
        f"[default]\ntrainedmodeldir={folder / 'trained'}\nimagedir={folder / 'images'}\nmodels=1fm\naugspeed=10\n"
    )
    from cdeep3m.prediction.over_files.prepare import define_packages

    define_packages(folder / "images", out)


TINY_TRAINING = (
    "--models",
    "1fm",
    "--width",
    "16",
    "--patch_side",
    "96",
    "--iter_size",
    "1",
    "--numiterations",
    "2",
    "--snapshot_interval",
    "1",
)

SCENES = (
    Scene(
        "workers",
        _workers,
        (
            ("preprocessworker.sh", "--waitinterval", "0.01", "out"),
            ("predictworker.sh", *CPU, "--waitinterval", "0.01", "out"),
            ("postprocessworker.sh", "--waitinterval", "0.01", "out"),
        ),
        ("out",),
        together=True,
    ),
    Scene(
        "packages",
        _prediction,
        (("DefDataPackages", "images", "aug"), ("PreprocessPackage", "images", "aug", "1", "1", "1fm", "10")),
        ("aug",),
    ),
)
"""Jobs of several commands; those of one are in `soak.jobs`."""


def digest(folder: Path, names: tuple[str, ...], *, contents: bool = True) -> dict[str, str]:
    """Return a hash of every file that has one of some names or lies below it, those with dates apart."""
    found = {}
    for name in names:
        for path in sorted((folder / name, *(folder / name).rglob("*"))):
            if path.is_file() and not path.is_symlink() and path.name not in MAY_DIFFER and "logs" not in path.parts:
                shown = str(path.relative_to(folder))
                found[shown] = hashlib.sha256(path.read_bytes()).hexdigest() if contents else ""
    return found


def leftovers(folder: Path) -> list[str]:
    """Return hidden files and folders that are neither locks nor notes."""
    known = (
        ".lock",
        ".training_images.json",
        ".made_of.json",
        ".said-",
        ".zarray",
        ".zattrs",
        ".zgroup",
        ".Segmented.partial",
    )
    hidden = (path for path in folder.rglob(".*") if not path.name.startswith(known))
    return [str(path.relative_to(folder)) for path in hidden]


def sample_files(folder: Path) -> None:
    """Write one small file of each kind that commands read."""
    images, labels = volume()
    _prediction(folder)
    _maps(folder)
    write_images(folder / "tifs", images, ".tif")
    tifffile.imwrite(folder / "s.tif", images, photometric="minisblack", metadata=None)
    tifffile.imwrite(folder / "ij.tif", images, photometric=None, imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(folder / "z.tif", images, photometric="minisblack", compression="zlib", predictor=True)
    Image.fromarray(images[0]).save(folder / "lzw.tif", compression="tiff_lzw")
    write_datasets(folder / "s.h5", {"data": images.transpose(2, 1, 0)})
    with h5py.File(folder / "gz.h5", "w") as file:
        file.create_dataset("data", data=images.transpose(2, 1, 0), chunks=(8, 8, 2), compression="gzip")
    write_datasets(folder / "l.h5", {"data": labels.transpose(2, 1, 0)})
    (folder / "a.csv").write_text("NumIters,Seconds,LearningRate,loss\n0,1,0.01,0.6\n20,2,0.01,0.5\n")
    shutil.make_archive(os.fspath(folder / "m"), "gztar", folder, "trained")
