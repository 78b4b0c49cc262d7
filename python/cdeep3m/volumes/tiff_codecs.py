"""Pages of TIFF files that tifffile leaves to a package that is not installed: unpacked by the libtiff in Pillow.

LZW, zstd and the like pack bytes, whatever they mean; so each strip is handed over as one row of 8-bit samples, and
what comes back goes through tifffile like an uncompressed one. Types, byte order and predictors stay its business.
"""

from __future__ import annotations

import io
import struct
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from cdeep3m.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import tifffile

LZW, JPEG, DEFLATE, PACKBITS, LZMA, ZSTD = 5, 7, (8, 32946), 32773, 34925, 50000
BYTE_CODECS = (LZW, LZMA, ZSTD)
"""Compressions of bytes that Pillow knows and tifffile alone may not."""
IMAGE_CODECS = (2, 3, 4, 6, 7, 50001)
"""Compressions of pictures, which Pillow decodes as a whole: fax, JPEG, WebP."""
NO_COMPRESSION = 1
IN_SEGMENTS = (NO_COMPRESSION, *BYTE_CODECS, *DEFLATE, PACKBITS)
"""Compressions whose strips and tiles can be decoded one by one."""

_attributes = threading.Lock()


def decode_page(page: tifffile.TiffPage) -> np.ndarray:
    """Return the samples of a page whose compression is one of `BYTE_CODECS`, as `page.asarray()` would.

    Returns
    -------
    ndarray of the page's type, shape (y, x) or (y, x, channels)

    Raises
    ------
    OSError, ValueError
        A strip is damaged.
    """
    packing, page.compression = page.compression, tifffile_constant(page, NO_COMPRESSION)
    try:
        decode: Callable[..., Any] = page.decode
        samples = np.zeros(page.shaped, page.dtype)
        segments = zip(page.dataoffsets, page.databytecounts, strict=True)
        for index, (offset, count) in enumerate(segments):
            unpacked = unpack(_bytes_at(page, offset, count), int(packing), _segment_bytes(page, index))
            values, place, shape = decode(unpacked, index)
            separate, z, y, x, _ = place
            part = samples[separate, z : z + shape[0], y : y + shape[1], x : x + shape[2]]
            part[...] = values[: part.shape[0], : part.shape[1], : part.shape[2]]
    finally:
        page.compression = packing
    return samples.reshape(page.shape)


def segment_of(page: tifffile.TiffPage) -> tuple[int, int] | None:
    """Return how many rows and columns are read together; None where a page has to be decoded as a whole.

    Rows of what is not packed can be read alone, whatever strips they are in.
    """
    if (
        page.samplesperpixel != 1
        or page.bitspersample not in (8, 16, 32, 64)
        or page.imagedepth != 1
        or int(page.photometric) not in (0, 1)
        or int(page.compression) not in IN_SEGMENTS
        or page.dtype is None
    ):
        return None
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return (1 if _is_plain(page) else page.rowsperstrip), page.imagewidth


def decode_part(page: tifffile.TiffPage, rows: slice, columns: slice) -> np.ndarray:
    """Return a part of a page that has segments (`segment_of`); strips and tiles beside it are not read.

    Parameters
    ----------
    page : TiffPage
    rows, columns : slice
        With a beginning and an end.

    Returns
    -------
    ndarray of the page's type, shape (y, x)

    Raises
    ------
    OSError, ValueError
        A strip is damaged.
    """
    part = np.full((rows.stop - rows.start, columns.stop - columns.start), page.nodata, page.dtype)
    for index in _segments_in(page, rows, columns):
        place, values = _segment(page, index, rows)
        if values is None:
            continue
        top, left = max(place[0], rows.start), max(place[1], columns.start)
        bottom = min(place[0] + values.shape[0], rows.stop)
        right = min(place[1] + values.shape[1], columns.stop)
        part[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = values[
            top - place[0] : bottom - place[0], left - place[1] : right - place[1]
        ]
    return part


def _segments_in(page: tifffile.TiffPage, rows: slice, columns: slice) -> list[int]:
    """Return the numbers of the strips or tiles that share pixels with a part of a page."""
    height, width = (
        (page.tilelength, page.tilewidth)
        if page.is_tiled
        else (min(page.rowsperstrip, page.imagelength), page.imagewidth)
    )
    across = -(-page.imagewidth // width)
    return [
        y * across + x
        for y in range(rows.start // height, -(-rows.stop // height))
        for x in range(columns.start // width, -(-columns.stop // width))
    ]


def _segment(page: tifffile.TiffPage, index: int, rows: slice) -> tuple[tuple[int, int], np.ndarray | None]:
    """Return where the pixels of a strip or tile lie, and these: of a plain strip those of `rows` alone."""
    offset, count = page.dataoffsets[index], page.databytecounts[index]
    if not count:
        return (0, 0), None
    if _is_plain(page) and not page.is_tiled:
        first = index * page.rowsperstrip
        begin, end = max(first, rows.start), min(first + page.rowsperstrip, page.imagelength, rows.stop)
        stored = np.dtype(f"{page.parent.byteorder}{np.dtype(page.dtype).char}")
        in_row = page.imagewidth * stored.itemsize
        raw = _bytes_at(page, offset + (begin - first) * in_row, (end - begin) * in_row)
        return (begin, 0), np.frombuffer(raw, stored).reshape(end - begin, page.imagewidth)
    packing, raw = page.compression, _bytes_at(page, offset, count)
    try:
        if int(packing) in BYTE_CODECS:
            raw = unpack(raw, int(packing), _segment_bytes(page, index))
            page.compression = tifffile_constant(page, NO_COMPRESSION)
        decode: Callable[..., Any] = page.decode
        values, (_, _, y, x, _), _ = decode(raw, index)
    finally:
        page.compression = packing
    return (y, x), values[0, ..., 0]


def _is_plain(page: tifffile.TiffPage) -> bool:
    return int(page.compression) == NO_COMPRESSION and int(page.fillorder) == 1


def tifffile_constant(page: tifffile.TiffPage, value: int) -> Any:
    """Return a compression as tifffile spells it."""
    return type(page.compression)(value) if not isinstance(page.compression, int) else value


def unpack(packed: bytes, compression: int, size: int) -> bytes:
    """Unpack one strip of bytes.

    Parameters
    ----------
    packed : bytes
    compression : int
        TIFF's number: `BYTE_CODECS`.
    size : int
        Bytes that it holds, unpacked.

    Raises
    ------
    OSError
        It is damaged, or holds less.
    """
    from PIL.TiffImagePlugin import TiffImageFile

    entries = [(256, 4, size), (257, 4, 1), (258, 3, 8), (259, 3, compression), (262, 3, 1)]
    entries += ((273, 4, 8 + 2 + 12 * 9 + 4), (277, 3, 1), (278, 4, 1), (279, 4, len(packed)))
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    fields = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    with TiffImageFile(io.BytesIO(head + fields + bytes(4) + packed)) as image:
        return image.tobytes()


def decode_picture(path: Path, index: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the samples of a page that is compressed as a picture, and its palette, if it has one.

    Returns
    -------
    ndarray of uint8 or uint16, shape (y, x) or (y, x, channels); ndarray of uint8, shape (colours, 3), or None
    """
    from PIL.TiffImagePlugin import TiffImageFile

    with TiffImageFile(path) as image:
        image.seek(index)
        if image.mode == "P":
            return np.asarray(image), np.reshape(np.array(image.getpalette("RGB"), np.uint8), (-1, 3))
        return np.asarray(image), None


def refuse(path: Path, name: str) -> InputError:
    """Return the error for a compression that nothing here decodes."""
    return InputError(
        f"{path} is compressed with {name}, which is not read here; expected no compression, LZW, deflate, zstd "
        "or JPEG. Save it without compression, or `pip install imagecodecs`"
    )


def _bytes_at(page: tifffile.TiffPage, offset: int, count: int) -> bytes:
    handle = page.parent.filehandle
    with _attributes:
        handle.seek(offset)
        found = bytes(handle.read(count))
    if len(found) != count:
        raise OSError("it is truncated")
    return found


def _segment_bytes(page: tifffile.TiffPage, index: int) -> int:
    """Return how many bytes a strip or tile has, unpacked."""
    in_pixel = page.samplesperpixel if page.planarconfig == 1 else 1
    if page.is_tiled:
        rows, columns = page.tilelength * max(1, page.tiledepth), page.tilewidth
    else:
        strips = -(-page.imagelength // page.rowsperstrip)
        first = index % strips * page.rowsperstrip
        rows, columns = min(page.rowsperstrip, page.imagelength - first), page.imagewidth
    return int(rows * ((columns * in_pixel * page.bitspersample + 7) // 8))
