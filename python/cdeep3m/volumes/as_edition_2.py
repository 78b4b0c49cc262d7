"""Images as CDeep3M2 reads them: what exact mode of the second edition is given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from cdeep3m.edition2.gray import blue_channel, to_8_bit_gray, wrapped
from cdeep3m.errors import FormatError, InputError, MissingFileError
from cdeep3m.volumes.planes import ImageVolume
from cdeep3m.volumes.png import PngFolder
from cdeep3m.volumes.tiff import TiffFolder, TiffStack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdeep3m.volumes.planes import Area, Pixels, PlaneSource

Purpose = Literal["training", "validation", "prediction"]
STACKS = (".tif", ".tiff")


def open_as_edition_2(path: str | os.PathLike[str], *, purpose: Purpose) -> ImageVolume:
    """Open a folder of images, or a TIFF stack, whose planes come as CDeep3M2 reads them.

    Parameters
    ----------
    path : path
    purpose : {"training", "validation", "prediction"}
        In training, 16-bit stacks come modulo 256 (defect 9); files whose names begin with a dot count there and in
        validation.

    Returns
    -------
    ImageVolume
        Folders: uint8, colour as luma (defect 10), the lower byte of 16 bits dropped. Stacks: values as they are.

    Raises
    ------
    MissingFileError, InputError, FormatError
        There is nothing that CDeep3M2 reads.
    """
    where = Path(path)
    if not where.exists():
        raise MissingFileError(f"{where} is not there; expected a folder of images, or a .tif stack")
    if where.is_dir():
        return ImageVolume(*_opened(folder_source(where, dot_files=purpose != "prediction")), _gray, np.dtype(np.uint8))
    source = stack_source(where)
    rule = _wrapped if purpose == "training" else _as_it_is
    return ImageVolume(*_opened(source), rule, np.dtype(np.uint8) if purpose == "training" else None)


def planes_to_enhance(path: str | os.PathLike[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the names that enhance_stack.py writes, and the planes that it reads, at their full depth.

    Every file of a folder whose name does not begin with a dot is read, bytewise order; pages of a stack are numbered
    from 1 without leading zeros (defect 5). Of colour the blue channel counts (defect 10).

    Yields
    ------
    str, ndarray of uint8 or uint16, shape (y, x)

    Raises
    ------
    MissingFileError, InputError, FormatError
        Something is no image.
    """
    where = Path(path)
    text = os.fspath(path)
    if not where.exists():
        raise MissingFileError(f"{where} is not there; expected a folder of images, or a .tif stack")
    if where.is_dir() and not os.path.splitext(text)[1]:
        for file in sorted(
            (f for f in where.iterdir() if not f.name.startswith(".")), key=lambda f: os.fsencode(f.name)
        ):
            yield f"{file.stem}.png", blue_channel(_channels(next(image_source(file).decode(range(1)))))
        return
    source = stack_source(where)
    for z, pixels in enumerate(source.decode(range(len(source))), start=1):
        yield f"{where.stem}_{z}.png", blue_channel(_channels(pixels))


def folder_source(folder: Path, *, dot_files: bool) -> PlaneSource:
    """Return the images of a folder: the more numerous of .png and .tif with .tiff, .png when there are as many."""
    names = sorted((n for n in os.listdir(folder) if dot_files or not n.startswith(".")), key=os.fsencode)
    png = [folder / name for name in names if name.lower().endswith(".png")]
    tif = [folder / name for name in names if name.lower().endswith(STACKS)]
    chosen = png if len(png) >= len(tif) else tif
    if not chosen:
        raise InputError(f"no images in {folder}; expected .png or .tif files")
    return PngFolder(chosen) if chosen is png else TiffFolder(chosen)


def stack_source(path: Path) -> PlaneSource:
    """Return the pages of a TIFF file."""
    if path.is_dir() or path.suffix.lower() not in STACKS:
        raise InputError(
            f"CDeep3M2 cannot read {path}; expected a folder of images, or a .tif stack. Leave out --exact"
        )
    return TiffStack(path)


def image_source(file: Path) -> PlaneSource:
    """Return the only plane of a file.

    Raises
    ------
    FormatError
        It is no image.
    """
    suffix = file.suffix.lower()
    if file.is_dir() or suffix not in (".png", *STACKS):
        raise FormatError(f"CDeep3M2 ends with {file}, which is no image. Leave out --exact, or move it away")
    return PngFolder([file]) if suffix == ".png" else TiffFolder([file])


def _opened(source: PlaneSource) -> tuple[PlaneSource, tuple[int, int]]:
    return source, next(source.headers(range(1))).size


def _gray(pixels: Pixels, area: Area, name: str) -> np.ndarray:
    del name
    return to_8_bit_gray(_channels(pixels))[area]


def _wrapped(pixels: Pixels, area: Area, name: str) -> np.ndarray:
    return wrapped(_as_it_is(pixels, area, name))


def _as_it_is(pixels: Pixels, area: Area, name: str) -> np.ndarray:
    values = _channels(pixels)
    if values.ndim > 2:
        raise InputError(f"CDeep3M2 cannot read colour stacks such as {name}. Convert it to gray, or leave out --exact")
    return values[area]


def _channels(pixels: Pixels) -> np.ndarray:
    """Return gray values or colours, those of a palette looked up."""
    if pixels.palette is not None:
        return pixels.palette[pixels.values]
    if pixels.min_is_white and pixels.values.dtype.kind == "u":
        return np.iinfo(pixels.values.dtype).max - pixels.values
    return pixels.values
