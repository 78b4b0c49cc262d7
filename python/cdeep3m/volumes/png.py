"""Folders of PNG images, one plane each; and single planes written as PNG."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cdeep3m.errors import InputError
from cdeep3m.files import whole_file
from cdeep3m.volumes.damage import damaged, decoding
from cdeep3m.volumes.planes import Header, Pixels

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, COLOUR, PALETTE, GRAY_ALPHA = 0, 2, 3, 4
FAST = 1
"""zlib's fastest level that compresses."""


class PngFolder:
    """PNG files that follow each other along z; the `PlaneSource` of a folder.

    Parameters
    ----------
    files : sequence of Path
        At least one, in order.
    """

    is_folder = True

    def __init__(self, files: Sequence[Path]) -> None:
        self.path = str(files[0].parent)
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def name(self, z: int) -> str:
        """Return the file's path."""
        return str(self._files[z])

    def headers(self, planes: range) -> Iterator[Header]:
        """Yield size, type and colour from the first bytes of every file."""
        for z in planes:
            with self._files[z].open("rb") as file:
                start = _start(file.read(33), self._files[z])
            sample = np.dtype(np.uint16 if start.depth == 16 else np.uint8)
            yield Header((start.height, start.width), sample, start.colour_type != GRAY)

    def decode(self, planes: range) -> Iterator[Pixels]:
        """Yield the images; every byte that counts is checked."""
        return (read_plane(self._files[z]) for z in planes)


def read_plane(path: Path) -> Pixels:
    """Decode a PNG file.

    Raises
    ------
    FormatError
        When the file is truncated, damaged or no PNG file.
    InputError
        When it holds colour or alpha of 16 bits.
    """
    from PIL.PngImagePlugin import PngImageFile

    data = path.read_bytes()
    start = _start(data, path)
    palette = _checked_palette(data, path)
    with decoding(path, "PNG"), PngImageFile(io.BytesIO(data)) as image:
        if start.depth == 16 and start.colour_type != GRAY:
            raise InputError(f"{path} holds 16-bit colour or alpha; expected gray images. Convert it to 16-bit gray")
        values = np.asarray(image)
    if start.depth == 16:
        return Pixels(values.astype(np.uint16, copy=False))
    if start.depth == 1 and start.colour_type == GRAY:
        return Pixels(np.where(values, np.uint8(255), np.uint8(0)))
    return Pixels(values, palette if start.colour_type == PALETTE else None)


def write_plane(path: str | os.PathLike[str], plane: np.ndarray) -> None:
    """Write a plane as gray PNG, whole or not at all; compressed little, but fast.

    Parameters
    ----------
    path : path
        Ends with .png; what is there is replaced.
    plane : ndarray of uint8 or uint16, shape (y, x)

    Raises
    ------
    TypeError
        When the type is another one.
    """
    from PIL import Image

    if plane.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"a plane of {plane.dtype}; expected uint8 or uint16")
    with whole_file(path) as partial:
        Image.fromarray(np.ascontiguousarray(plane)).save(partial, compress_level=FAST)


def write_picture(path: str | os.PathLike[str], picture: np.ndarray) -> None:
    """Write a colour picture as PNG, whole or not at all.

    Parameters
    ----------
    path : path
        Ends with .png; what is there is replaced.
    picture : ndarray of uint8, shape (y, x, 3)
        Red, green, blue.
    """
    from PIL import Image

    with whole_file(path) as partial:
        Image.fromarray(np.ascontiguousarray(picture)).save(partial)


def folder_for_planes(
    folder: str | os.PathLike[str], name: str, count: int, *, inputs: Iterable[str | os.PathLike[str]] = ()
) -> list[Path]:
    """Make a folder for the planes of a volume and return their files, numbered from 1.

    Parameters
    ----------
    folder : path
    name : str
        Of a file, as a format of its number: "Image_{:04d}.png".
    count : int
        Planes.
    inputs : iterable of path
        Folders and files that are still being read while the planes are written.

    Raises
    ------
    InputError
        When `folder` is one of the inputs, is no folder, or holds planes beyond `count`, of another volume.
    """
    home = Path(folder)
    if home.exists() and any(Path(path).exists() and home.samefile(path) for path in inputs):
        raise InputError(f"{home} is what is read; expected another folder to write to. Choose a new one")
    if home.exists() and not home.is_dir():
        raise InputError(f"{home} is a file; expected a folder to write to. Choose another one")
    beyond = home / name.format(count + 1)
    if beyond.exists():
        raise InputError(
            f"{home} holds {beyond.name} of a larger volume; expected {count} planes. Delete its files first"
        )
    home.mkdir(parents=True, exist_ok=True)
    return [home / name.format(z + 1) for z in range(count)]


class _Start(NamedTuple):
    width: int
    height: int
    depth: int
    colour_type: int


def _start(data: bytes, path: Path) -> _Start:
    if data[:8] != SIGNATURE or data[12:16] != b"IHDR" or len(data) < 33:
        raise damaged(path, "PNG", "it is empty" if not data else "it does not begin like one")
    return _Start(*struct.unpack(">IIBB", data[16:26]))


def _checked_palette(data: bytes, path: Path) -> np.ndarray | None:
    """Check length and checksum of every critical chunk, which decoders skip in part; return the colours, if any."""
    at, palette, view = len(SIGNATURE), None, memoryview(data)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 8 + length
        if end + 4 > len(data):
            break
        if kind[:1].isupper() and zlib.crc32(view[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise damaged(path, "PNG", f"wrong checksum in {kind.decode('ascii', 'replace')}")
        if kind == b"PLTE":
            palette = np.frombuffer(data[at + 8 : end], np.uint8).reshape(-1, 3)
        if kind == b"IEND":
            return palette
        at = end + 4
    raise damaged(path, "PNG", "it is truncated")
