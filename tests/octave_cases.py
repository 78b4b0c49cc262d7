"""Inputs and outputs of the recorded runs of the original (reference/octave): how to make and compare them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h5py
import numpy as np
import tifffile
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


def synth(z: int, y: int, x: int, seed: int = 0, dtype: str = "uint8") -> np.ndarray:
    """Hash noise of shape (z, y, x), the same on every machine (reference/README.md)."""
    u = np.uint32
    with np.errstate(over="ignore"):
        v = (
            (np.arange(x, dtype=u) * u(2654435761))[None, None, :]
            + (np.arange(y, dtype=u) * u(2246822519))[None, :, None]
            + (np.arange(z, dtype=u) * u(3266489917))[:, None, None]
            + u(seed * 668265263 & 0xFFFFFFFF)
        )
        v ^= v >> u(15)
        v *= u(2246822519)
        v ^= v >> u(13)
        v *= u(3266489917)
        v ^= v >> u(16)
    if dtype == "bool":
        return (v & u(255)) > 127
    if dtype == "float32":
        return ((v >> u(8)) / 2**24).astype(np.float32)
    return (v & u({"uint8": 255, "uint16": 65535, "uint32": 0xFFFFFFFF}[dtype])).astype(dtype)


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def png_folder(folder: Path, planes: Iterable[np.ndarray], names: str | list[str] = "img_%04d.png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, plane in enumerate(planes):
        name = names % (i + 1) if isinstance(names, str) else names[i]
        Image.fromarray(np.ascontiguousarray(plane)).save(folder / name, format="PNG", compress_level=1)
    return folder


def palette_folder(folder: Path, planes: Iterable[np.ndarray], colours: list[int]) -> Path:
    folder.mkdir(parents=True)
    for i, plane in enumerate(planes):
        image = Image.fromarray(plane).convert("P")
        image.putpalette(colours)
        image.save(folder / f"p{i}.png")
    return folder


def tiff_folder(folder: Path, planes: Iterable[np.ndarray], names: str = "img_%04d.tif") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, plane in enumerate(planes):
        tifffile.imwrite(folder / (names % (i + 1)), plane, photometric="minisblack")
    return folder


def tiff_stack(path: Path, stack: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, stack, photometric="minisblack")
    return path


def hdf5_file(path: Path, stack: np.ndarray, name: str = "data") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file[name] = np.ascontiguousarray(stack.transpose(2, 1, 0))
    return path


@dataclass(frozen=True)
class TrainingCase:
    """What a recorded run of PreprocessTrainingData or PreprocessValidation was given."""

    images: object
    labels: object
    answer: str = ""


def images(seed: int = 1, dtype: str = "uint8", z: int = 3, y: int = 330, x: int = 340) -> np.ndarray:
    return synth(z, y, x, seed, dtype)


def labels(seed: int = 2, z: int = 3, y: int = 330, x: int = 340) -> np.ndarray:
    return synth(z, y, x, seed, "bool").astype(np.uint8) * np.uint8(255)


def gray_and_alpha(stack: np.ndarray) -> np.ndarray:
    return np.stack([stack, np.full_like(stack, 255)], -1)


def _standard(w: Path, z: int, y: int, x: int, dtype: str = "uint8", kind: str = "bool255") -> TrainingCase:
    label = synth(z, y, x, 101, "bool")
    if kind != "bool":
        label = label.astype(np.uint8) * np.uint8(255 if kind == "bool255" else 1)
    return TrainingCase(png_folder(w / "images", synth(z, y, x, 1, dtype)), png_folder(w / "labels", label))


def _pair(
    make_images: Callable[[Path], object], make_labels: Callable[[Path], object] | None = None, answer: str = ""
) -> Callable[[Path], TrainingCase]:
    def build(w: Path) -> TrainingCase:
        return TrainingCase(make_images(w), (make_labels or (lambda w: png_folder(w / "l", labels())))(w), answer)

    return build


def _images_as(
    make: Callable[..., object], name: str, stack: np.ndarray, **options: object
) -> Callable[[Path], object]:
    return lambda w: make(w / name, stack, **options)


def _order(w: Path) -> TrainingCase:
    names = ["img10.png", "img2.png", "Img3.png", "img1.PNG", "zz.png", ".hidden.png", "a.Png", "img_.png"]
    png_folder(w / "images", synth(8, 330, 330, 7), names)
    (w / "images" / "sub.png").mkdir()
    (w / "images" / "readme.txt").write_text("x")
    label = labels(8, z=8, x=330)[:7]
    return TrainingCase(w / "images", png_folder(w / "labels", label))


def _tie(w: Path) -> object:
    tiff_folder(w / "i", images(1))
    return png_folder(w / "i", images(5))


_plain_images = _images_as(png_folder, "i", images())

TRAINING_CASES: dict[str, Callable[[Path], TrainingCase]] = {
    "va_real": lambda w: TrainingCase(w / "data" / "validation" / "images", w / "data" / "validation" / "labels"),
    "tr_100x90_z2": lambda w: _standard(w, 2, 100, 90),
    "tr_200x400": lambda w: _standard(w, 4, 200, 400),
    "tr_400x200": lambda w: _standard(w, 3, 400, 200),
    "tr_330x400": lambda w: _standard(w, 3, 330, 400),
    "tr_325x325_z1": lambda w: _standard(w, 1, 325, 325),
    "tr_u16_200x300": lambda w: _standard(w, 3, 200, 300, "uint16"),
    "tr_u16_340x350": lambda w: _standard(w, 3, 340, 350, "uint16"),
    "tr_lbl01": lambda w: _standard(w, 3, 330, 330, kind="bool1"),
    "tr_order": _order,
    "tr_rgb": _pair(_images_as(png_folder, "i", np.stack([images(1), images(2), images(3)], -1))),
    "tr_rgb_gray": _pair(_images_as(png_folder, "i", np.stack([images(1)] * 3, -1))),
    "tr_rgb_lbl": _pair(_plain_images, _images_as(png_folder, "l", np.stack([labels()] * 3, -1))),
    "tr_la": _pair(_images_as(png_folder, "i", gray_and_alpha(images()))),
    "tr_tifdir_u16": _pair(_images_as(tiff_folder, "i", images(1, "uint16")), _images_as(tiff_folder, "l", labels())),
    "tr_tiffstack": _pair(_images_as(tiff_stack, "i/s.tiff", images()), _images_as(tiff_stack, "l/s.tiff", labels())),
    "tr_TIFdir": _pair(
        _images_as(tiff_folder, "i", images(), names="i%d.TIF"), _images_as(tiff_folder, "l", labels(), names="i%d.TIF")
    ),
    "tr_h5": _pair(_images_as(hdf5_file, "i.h5", images()), _images_as(hdf5_file, "l.h5", labels())),
    "tr_mixed_tie": _pair(_tie),
    "tr_z_mismatch": _pair(_plain_images, _images_as(png_folder, "l", labels(z=4))),
    "tr_small_mismatch": _pair(
        _images_as(png_folder, "i", images(y=200, x=300)), _images_as(png_folder, "l", labels(y=210, x=310))
    ),
    "tr_plane_mismatch": _pair(
        lambda w: png_folder(w / "i", [*images(), images()[0][:-1]]), _images_as(png_folder, "l", labels(z=4))
    ),
    "tr_nonbinary_lbl_eof": _pair(_plain_images, _images_as(png_folder, "l", images(9))),
    "tr_nonbinary_lbl_S": _pair(_plain_images, _images_as(png_folder, "l", images(9)), answer="S\n"),
    "tr_binary_img_eof": _pair(_images_as(png_folder, "i", labels(4))),
    "tr_dotdir": _pair(_images_as(png_folder, "my.images", images())),
    "tr_dotdir_slash": _pair(lambda w: f"{png_folder(w / 'my.images', images())}/"),
    "tr_lblcount1": _pair(_plain_images, _images_as(png_folder, "l", labels() * 0)),
    "tr_lblcount1_w": _pair(_plain_images, _images_as(png_folder, "l", labels() | 255)),
    "tr_lblpal": _pair(_plain_images, lambda w: palette_folder(w / "l", labels() // 255, [0, 0, 0, 255, 255, 255])),
    "tr_lblpal_inv": _pair(_plain_images, lambda w: palette_folder(w / "l", labels() // 255, [255, 255, 255, 0, 0, 0])),
}
"""How to make the input of each recorded case in an empty folder (that holds `data`, a link to the real sample)."""


Described = dict[tuple[str, str], tuple[tuple[int, ...], str, str]]
"""Shape, dtype and hash of every dataset, by file and dataset."""


def described_datasets(outputs: dict) -> Described:
    """Return what a recorded case wrote."""
    return {
        (file, name): (tuple(d["shape"]), d["dtype"], d["sha256"])
        for file, described in outputs.items()
        for name, d in described["datasets"].items()
    }


def combined_digest(datasets: Described) -> str:
    """Return one hash for all datasets of a case."""
    lines = [f"{'/'.join(key)} {shape} {dtype} {sha}" for key, (shape, dtype, sha) in sorted(datasets.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def datasets_of(folder: Path) -> Described:
    """Return what the HDF5 files of a folder hold."""
    found = {}
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path, "r") as file:
            for name, dataset in file.items():
                found[path.name, name] = (dataset.shape, str(dataset.dtype), digest(dataset[()]))
    return found
