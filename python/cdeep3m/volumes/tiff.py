"""TIFF images: folders with a plane a file, and stack files with a plane a page."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

import numpy as np
import tifffile

from cdeep3m.system.files import whole_file
from cdeep3m.volumes.damage import damaged, decoding
from cdeep3m.volumes.planes import Header, Pixels

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence
    from pathlib import Path

logger = logging.getLogger(__name__)
# It logs every odd tag; what really stops a file is raised.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


class TiffFolder:
    """TIFF files that follow each other along z, the first page of each; the `PlaneSource` of a folder.

    Parameters
    ----------
    files : sequence of Path
        At least one, in order.
    """

    is_folder = True

    def __init__(self, files: Sequence[Path]) -> None:
        self.path = str(files[0].parent)
        self._files = files
        with decoding(files[0], "TIFF"), tifffile.TiffFile(files[0]) as tiff:
            pages = len(tiff.pages)
        if pages > 1:
            logger.warning(
                "%s has %d pages, of which a folder gives the first only; name the file itself to read all",
                files[0],
                pages,
            )

    def __len__(self) -> int:
        return len(self._files)

    def name(self, z: int) -> str:
        """Return the file's path."""
        return str(self._files[z])

    def headers(self, planes: range) -> Iterator[Header]:
        """Yield size, type and colour of every file."""
        for z in planes:
            with decoding(self._files[z], "TIFF"), tifffile.TiffFile(self._files[z]) as tiff:
                header = _header(tiff.pages.first)
            yield header

    def decode(self, planes: range) -> Iterator[Pixels]:
        """Yield the images."""
        for z in planes:
            with decoding(self._files[z], "TIFF"), tifffile.TiffFile(self._files[z]) as tiff:
                pixels = _pixels(tiff.pages.first, self._files[z], 0)
            yield pixels


class TiffStack:
    """The pages of one TIFF file, or the planes of an ImageJ stack beyond 4 GB; the `PlaneSource` of a stack.

    Parameters
    ----------
    path : Path
        The file.
    """

    is_folder = False

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._file = path
        self._contiguous: np.ndarray | None = None
        with decoding(path, "TIFF"), tifffile.TiffFile(path) as tiff:
            self._pages = len(tiff.pages)
            if (
                self._pages == 1
                and tiff.is_imagej
                and tiff.series[0].ndim == 3
                and tiff.series[0].dataoffset is not None
            ):
                self._contiguous = tiff.series[0].asarray(out="memmap")
                self._pages = len(self._contiguous)

    def __len__(self) -> int:
        return self._pages

    def name(self, z: int) -> str:
        """Return the file's path and the page, counted from 1."""
        return f"page {z + 1} of {self._file}"

    def headers(self, planes: range) -> Iterator[Header]:
        """Yield size, type and colour of every page."""
        with decoding(self._file, "TIFF"), tifffile.TiffFile(self._file) as tiff:
            for z in planes:
                yield _header(tiff.pages[0 if self._contiguous is not None else z])

    def decode(self, planes: range) -> Iterator[Pixels]:
        """Yield the pages."""
        if self._contiguous is not None:
            yield from (Pixels(_native(self._contiguous[z])) for z in planes)
            return
        with tifffile.TiffFile(self._file) as tiff:
            for z in planes:
                with decoding(self._file, "TIFF"):
                    pixels = _pixels(tiff.pages[z], self._file, z)
                yield pixels


def write_stack(path: str | os.PathLike[str], planes: np.ndarray) -> None:
    """Write a volume as a multi-page TIFF file, whole or not at all; as BigTIFF where 4 GB do not suffice.

    Parameters
    ----------
    path : path
        Ends with .tif; what is there is replaced.
    planes : ndarray of uint8, uint16 or uint32, shape (z, y, x)
        A plane a page.
    """
    with whole_file(path) as partial:
        tifffile.imwrite(partial, planes, photometric="minisblack", metadata=None)


def _header(page: tifffile.TiffPage | tifffile.TiffFrame) -> Header:
    keyframe = cast("tifffile.TiffPage", page.keyframe)
    sample = np.dtype(np.uint8 if keyframe.dtype is None or keyframe.dtype == bool else keyframe.dtype).newbyteorder(
        "="
    )
    coloured = keyframe.samplesperpixel > 1 or keyframe.photometric == tifffile.PHOTOMETRIC.PALETTE
    return Header((keyframe.imagelength, keyframe.imagewidth), sample, coloured)


def _pixels(page: tifffile.TiffPage | tifffile.TiffFrame, path: Path, index: int) -> Pixels:
    keyframe = cast("tifffile.TiffPage", page.keyframe)
    if any(
        at + size > page.parent.filehandle.size for at, size in zip(page.dataoffsets, page.databytecounts, strict=False)
    ):
        raise damaged(path, "TIFF", "it is truncated")
    try:
        values = page.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        return _pixels_by_pillow(path, index)
    if keyframe.samplesperpixel > 1 and keyframe.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
        values = np.moveaxis(values, 0, -1)
    if keyframe.photometric == tifffile.PHOTOMETRIC.PALETTE:
        return Pixels(values, (np.asarray(keyframe.colormap) >> 8).astype(np.uint8).T)
    return Pixels(
        _scaled_to_8_bits(_native(values), keyframe.bitspersample),
        min_is_white=keyframe.photometric == tifffile.PHOTOMETRIC.MINISWHITE,
    )


def _pixels_by_pillow(path: Path, index: int) -> Pixels:
    """Decode a page whose compression (LZW, JPEG, fax) tifffile leaves to a package that is not installed."""
    from PIL.TiffImagePlugin import TiffImageFile

    with TiffImageFile(path) as image:
        image.seek(index)
        if image.mode == "P":
            return Pixels(np.asarray(image), np.reshape(np.array(image.getpalette("RGB"), np.uint8), (-1, 3)))
        return Pixels(_scaled_to_8_bits(_native(np.asarray(image)), 8))


def _native(values: np.ndarray) -> np.ndarray:
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _scaled_to_8_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """Scale samples of 1, 2 and 4 bits to 0..255; leave others."""
    if values.dtype == bool:
        return np.where(values, np.uint8(255), np.uint8(0))
    if values.dtype == np.uint8 and bits < 8:
        return values * np.uint8(255 // (2**bits - 1))
    return values
