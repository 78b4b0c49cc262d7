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
