"""TIFF images: folders with a plane a file, and stack files with a plane a page."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

import numpy as np
import tifffile

from cdeep3m.errors import InputError
from cdeep3m.geometry import Placement
from cdeep3m.system.files import demand_file, whole_file
from cdeep3m.volumes.damage import damaged, decoding
from cdeep3m.volumes.planes import Header, Pixels, open_planes
from cdeep3m.volumes.tiff_codecs import (
    BYTE_CODECS,
    IMAGE_CODECS,
    decode_page,
    decode_part,
    decode_picture,
    refuse,
    segment_of,
)
from cdeep3m.volumes.tiff_directories import COMPRESSIONS, directories
from cdeep3m.volumes.tiff_promises import check_promises

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from cdeep3m.volumes.address import Address
    from cdeep3m.volumes.base import Reading, Volume
    from cdeep3m.volumes.tiff_directories import Directory

logger = logging.getLogger(__name__)
# It logs every odd tag; what really stops a file is raised.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

RGB, PALETTE, YCBCR, COLOURS = 2, 3, 6, 3
READ = (0, 1, RGB, PALETTE, YCBCR)
"""Photometric interpretations that can be gray planes."""
PHOTOMETRIC_WORDS = {4: "a transparency mask", 5: "inks (CMYK)", 8: "L*a*b* colours", 32803: "a colour filter array"}


class TiffFolder:
    """TIFF files that follow each other along z, the first page of each; the `PlaneSource` of a folder.

    Parameters
    ----------
    files : sequence of Path
        At least one, in order.
    """

    is_folder = True
    placement = Placement()

    def __init__(self, files: Sequence[Path]) -> None:
        self.path = str(files[0].parent)
        self._files = files
        self._said_pages = False

    def __len__(self) -> int:
        return len(self._files)

    def name(self, z: int) -> str:
        """Return the file's path."""
        return str(self._files[z])

    def headers(self, planes: range) -> Iterator[Header]:
        """Yield size, type and colour of every file; say that one has more pages than the first."""
        for z in planes:
            with decoding(self._files[z], "TIFF"):
                pages = directories(self._files[z])
                count = check_promises(self._files[z], pages)
            self._say_pages(self._files[z], pages, count)
            yield header_of(pages[0], str(self._files[z]))

    def decode(self, planes: range) -> Iterator[Pixels]:
        """Yield the pixels of each image, in the order of the file."""
        for z in planes:
            demand_file(self._files[z])
            with decoding(self._files[z], "TIFF"), tifffile.TiffFile(self._files[z]) as tiff:
                pixels = _pixels(tiff.pages.first, self._files[z], 0)
            yield pixels

    def segment(self) -> tuple[int, int] | None:
        """Return how many rows and columns of the first image are read together."""
        with decoding(self._files[0], "TIFF"), tifffile.TiffFile(self._files[0]) as tiff:
            return segment_of(tiff.pages.first)

    def part(self, z: int, area: tuple[slice, slice]) -> Pixels | None:
        """Return a part of an image, without decoding the rest."""
        demand_file(self._files[z])
        with decoding(self._files[z], "TIFF"), tifffile.TiffFile(self._files[z]) as tiff:
            return _part_of(tiff.pages.first, self._files[z], area)

    def _say_pages(self, path: Path, pages: Sequence[Directory], count: int) -> None:
        whole = max(count, len(pages)) - sum(page.reduced for page in pages[1:])
        if whole > 1 and not self._said_pages:
            self._said_pages = True
            logger.warning(
                "%s has %d pages, of which a folder gives the first only; name the file itself to read all", path, whole
            )


class TiffStack:
    """The pages of one TIFF file, or the planes of an ImageJ stack beyond 4 GB; the `PlaneSource` of a stack.

    Parameters
    ----------
    path : Path
        The file.
    order : sequence of int, optional
        Which pages are the planes, in order; default: all.
    level : int
        Which of the smaller images that hang from a page, counted from 1; 0 is the page itself.
    placement : Placement, optional
        What the file tells of its voxels.
    pages : sequence of Directory, optional
        All pages, where they have been read before.
    """

    is_folder = False

    def __init__(
        self,
        path: Path,
        order: Sequence[int] | None = None,
        *,
        level: int = 0,
        placement: Placement | None = None,
        pages: Sequence[Directory] | None = None,
    ) -> None:
        self.path = str(path)
        self.placement = placement or Placement()
        self._file = path
        self._level = level
        with decoding(path, "TIFF"):
            self._pages = directories(path) if pages is None else pages
            count = check_promises(path, self._pages, chosen=order is not None)
        self._order = range(count) if order is None else order
        self._behind_each_other = count > len(self._pages)

    def __len__(self) -> int:
        return len(self._order)

    def name(self, z: int) -> str:
        """Return the file's path and the page, counted from 1."""
        return f"page {self._order[z] + 1} of {self._file}"

    def headers(self, planes: range) -> Iterator[Header]:
        """Yield size, type and colour of every page."""
        if self._level:
            yield from self._smaller_headers(planes)
            return
        for z in planes:
            yield header_of(self._pages[0 if self._behind_each_other else self._order[z]], self.name(z))

    def decode(self, planes: range) -> Iterator[Pixels]:
        """Yield the pixels of each page, in the order of the file."""
        demand_file(self._file)
        with decoding(self._file, "TIFF"), tifffile.TiffFile(self._file) as tiff:
            for z in planes:
                number = self._order[z]
                if self._behind_each_other:
                    yield self._plane(tiff, number)
                else:
                    yield _pixels(self._page(tiff, number), self._file, number)

    def segment(self) -> tuple[int, int] | None:
        """Return how many rows and columns of the first plane are read together."""
        with decoding(self._file, "TIFF"), tifffile.TiffFile(self._file) as tiff:
            if self._behind_each_other:
                return (1, self._pages[0].size[1]) if self._pages[0].samples == 1 else None
            page = self._page(tiff, self._order[0])
            return segment_of(page) if isinstance(page, tifffile.TiffPage) else None

    def part(self, z: int, area: tuple[slice, slice]) -> Pixels | None:
        """Return a part of a plane, without decoding the rest."""
        demand_file(self._file)
        with decoding(self._file, "TIFF"), tifffile.TiffFile(self._file) as tiff:
            if self._behind_each_other:
                return self._plane(tiff, self._order[z], area)
            return _part_of(self._page(tiff, self._order[z]), self._file, area)

    def _smaller_headers(self, planes: range) -> Iterator[Header]:
        with decoding(self._file, "TIFF"), tifffile.TiffFile(self._file) as tiff:
            for z in planes:
                page = cast("tifffile.TiffPage", self._page(tiff, self._order[z]).keyframe)
                size = page.imagelength, page.imagewidth
                yield Header(size, np.dtype(page.dtype).newbyteorder("="), page.samplesperpixel > 1)

    def _page(self, tiff: tifffile.TiffFile, number: int) -> tifffile.TiffPage | tifffile.TiffFrame:
        page = tiff.pages[number]
        below = page.pages if self._level else None
        return page if below is None else below[self._level - 1]

    def _plane(self, tiff: tifffile.TiffFile, z: int, area: tuple[slice, slice] | None = None) -> Pixels:
        """Return plane `z`, or a part of it, of those that lie behind each other."""
        page, (height, width) = self._pages[0], self._pages[0].size
        rows, columns = area or (slice(0, height), slice(0, width))
        stored = page.sample.newbyteorder(tiff.byteorder)
        in_row = page.plane_bytes // height
        tiff.filehandle.seek(page.begins + z * page.plane_bytes + rows.start * in_row)
        raw = tiff.filehandle.read((rows.stop - rows.start) * in_row)
        values = np.frombuffer(raw, stored).reshape(-1, width, page.samples)[:, columns]
        return Pixels(_native(values[..., 0] if page.samples == 1 else values), min_is_white=page.photometric == 0)


def open_address(address: Address, reading: Reading) -> Volume:
    """Open a stack file."""
    return open_planes(TiffStack(address.path), reading)


def write_stack(
    path: str | os.PathLike[str],
    planes: np.ndarray | Iterable[np.ndarray],
    *,
    shape: tuple[int, ...] | None = None,
    dtype: np.dtype | None = None,
) -> None:
    """Write a volume as a multi-page TIFF file, whole or not at all; as BigTIFF where 4 GB do not suffice.

    Parameters
    ----------
    path : path
        Ends with .tif; what is there is replaced.
    planes : ndarray of uint8, uint16 or uint32, shape (z, y, x), or iterable of ndarray, shape (y, x)
        A plane a page.
    shape : tuple of int, optional
        (z, y, x), where planes come one by one.
    dtype : numpy.dtype, optional
        Of every plane, where they come one by one.
    """
    data = planes if isinstance(planes, np.ndarray) else iter(planes)
    with whole_file(path) as partial:
        tifffile.imwrite(partial, data, shape=shape, dtype=dtype, photometric="minisblack", metadata=None)


def header_of(page: Directory, name: str) -> Header:
    """Return what a page says of itself; refuse what cannot be one gray plane.

    Raises
    ------
    InputError
        It is a volume in one page, or has several samples a pixel that are neither colours nor an alpha channel.
    """
    if page.depth > 1:
        raise InputError(
            f"{name} is a volume of {page.depth} planes in one page (ImageDepth); expected a plane a page. "
            "Save it as a stack, for example with ImageJ"
        )
    if page.photometric not in READ:
        found = PHOTOMETRIC_WORDS.get(page.photometric, f"number {page.photometric}")
        raise InputError(f"{name} holds {found} (photometric); expected gray values. Convert it to 8- or 16-bit gray")
    colours = COLOURS if page.photometric in (RGB, YCBCR) else 1
    others = page.samples - colours
    is_alpha = others == 1 and (page.extra in ((1,), (2,)) or (page.extra in ((), (0,)) and colours == COLOURS))
    if others < 0 or (others > 0 and not is_alpha):
        raise InputError(
            f"{name} has {page.samples} samples a pixel (channels), none of them an alpha channel; expected one gray "
            "channel. Save the one that is meant as a file of its own"
        )
    return Header(page.size, page.sample, page.samples > 1 or page.photometric == PALETTE)


def _pixels(page: tifffile.TiffPage | tifffile.TiffFrame, path: Path, index: int) -> Pixels:
    keyframe = cast("tifffile.TiffPage", page.keyframe)
    if any(
        at + size > page.parent.filehandle.size for at, size in zip(page.dataoffsets, page.databytecounts, strict=False)
    ):
        raise damaged(path, "TIFF", "it is truncated")
    values, palette = _decoded(page, path, index)
    if palette is not None:
        return Pixels(values, palette)
    if keyframe.compression in IMAGE_CODECS and keyframe.bitspersample < 8:
        return Pixels(_scaled_to_8_bits(_native(values), 8))
    _demand_type(values, keyframe, path)
    if keyframe.samplesperpixel > 1 and keyframe.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
        values = np.moveaxis(values, 0, -1)
    if keyframe.photometric == tifffile.PHOTOMETRIC.PALETTE:
        return Pixels(values, (np.asarray(keyframe.colormap) >> 8).astype(np.uint8).T)
    return Pixels(
        _scaled_to_8_bits(_native(values), keyframe.bitspersample),
        min_is_white=keyframe.photometric == tifffile.PHOTOMETRIC.MINISWHITE,
        one_bit=keyframe.bitspersample == 1,
    )


def _part_of(page: tifffile.TiffPage | tifffile.TiffFrame, path: Path, area: tuple[slice, slice]) -> Pixels | None:
    """Return a part of a page; None where the page has to be decoded as a whole."""
    if not isinstance(page, tifffile.TiffPage) or segment_of(page) is None:
        return None
    if any(
        at + size > page.parent.filehandle.size for at, size in zip(page.dataoffsets, page.databytecounts, strict=False)
    ):
        raise damaged(path, "TIFF", "it is truncated")
    return Pixels(_native(decode_part(page, *area)), min_is_white=page.photometric == tifffile.PHOTOMETRIC.MINISWHITE)


def _decoded(
    page: tifffile.TiffPage | tifffile.TiffFrame, path: Path, index: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the samples of a page, by tifffile or else by Pillow, and a palette that Pillow took from it."""
    keyframe = cast("tifffile.TiffPage", page.keyframe)
    compression = int(keyframe.compression)
    if compression in BYTE_CODECS and isinstance(page, tifffile.TiffPage):
        return decode_page(page), None
    try:
        return page.asarray(), None
    except (ValueError, ImportError) as error:
        if compression not in COMPRESSIONS or not any(word in str(error) for word in ("imagecodecs", "No module")):
            raise
    if compression not in IMAGE_CODECS:
        raise refuse(path, COMPRESSIONS[compression])
    return decode_picture(path, index)


def _demand_type(values: np.ndarray, page: tifffile.TiffPage, path: Path) -> None:
    """Make sure that a decoder gives the type and the size that the header names."""
    expected = np.dtype(page.dtype or np.uint8).newbyteorder("=")
    if values.dtype.newbyteorder("=") not in (expected, np.dtype(bool)) or values.size != page.size:
        raise damaged(
            path,
            "TIFF",
            f"its header names {page.size} samples of {expected}, its pixels are {values.size} {values.dtype}",
        )


def _native(values: np.ndarray) -> np.ndarray:
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _scaled_to_8_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """Scale samples of 1, 2 and 4 bits to 0..255; leave others."""
    if values.dtype == bool:
        return np.where(values, np.uint8(255), np.uint8(0))
    if values.dtype == np.uint8 and bits < 8:
        return values * np.uint8(255 // (2**bits - 1))
    return values
