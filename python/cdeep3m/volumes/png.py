"""Folders of PNG images, one plane each; and single planes written as PNG."""

from __future__ import annotations

import io
import math
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from cdeep3m.errors import InputError
from cdeep3m.geometry import Placement
from cdeep3m.system.files import AT_ONCE, Naming, demand_file, fill, uncut, whole_file
from cdeep3m.system.threads import spread
from cdeep3m.volumes.damage import damaged, decoding
from cdeep3m.volumes.mapped import release
from cdeep3m.volumes.planes import Header, Pixels

try:
    from isal import isal_zlib as zlib
except ImportError:
    import zlib  # type: ignore[no-redef]

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = b"\0\0\0\0IEND\xaeB`\x82"
GRAY, COLOUR, PALETTE, GRAY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6
NO_FILTER, UP = 0, 2
"""How a row is stored: as it is, or as differences to the row above."""
FAST = 1
"""The fastest level that compresses."""
PART = 2**20
"""So many bytes of a file are in memory while it is only checked."""
MOST_FROM_A_BYTE = 1100
"""So many bytes deflate can pack into one."""


class PngFolder:
    """PNG files that follow each other along z; the `PlaneSource` of a folder.

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

    def __len__(self) -> int:
        return len(self._files)

    def name(self, z: int) -> str:
        """Return the file's path."""
        return str(self._files[z])

    def headers(self, planes: range) -> Iterator[Header]:
        """Yield size, type and colour from the first bytes of every file."""
        for z in planes:
            start = _census(self._files[z])
            sample = np.dtype(np.uint16 if start.depth == 16 else np.uint8)
            yield Header((start.height, start.width), sample, start.colour_type != GRAY)

    def decode(self, planes: range) -> Iterator[Pixels]:
        """Yield the images; every byte that counts is checked."""
        return spread(lambda z: read_plane(self._files[z]), planes)

    def segment(self) -> None:
        """Return None: rows are packed as differences to those above, so that an image is decoded as a whole."""

    def part(self, z: int, area: tuple[slice, slice]) -> None:
        """Return None, as `segment` says."""


def read_plane(path: Path) -> Pixels:
    """Decode a PNG file.

    Raises
    ------
    FormatError
        When the file is truncated, damaged or no PNG file.
    InputError
        When it holds colour or alpha of 16 bits.
    """
    size = demand_file(path).st_size
    data = path.read_bytes()
    start = _start(data, path)
    chunks = _checked_chunks(data, path)
    _check_size(start, size, path)
    gray = _decode_plain_rows(chunks, start) if start.colour_type == GRAY else None
    return _decode(data, chunks, start, path) if gray is None else Pixels(gray)


def is_ended(path: Path) -> bool:
    """Return whether a file is there and ends as a PNG does; its content is not looked at."""
    try:
        demand_file(path)
        with path.open("rb") as file:
            file.seek(-len(END), os.SEEK_END)
            return file.read() == END
    except (OSError, InputError):
        return False


def is_whole_plane(path: Path, size: tuple[int, ...]) -> bool:
    """Return whether `path` is a gray 8-bit PNG of `size` (y, x), every byte of it as it was written."""
    try:
        if path.is_symlink():
            return False
        demand_file(path)
        with path.open("rb") as file:
            start = _start(file.read(33), path)
            file.seek(len(SIGNATURE))
            _check_sums(file, path)
    except (OSError, InputError):
        return False
    return (start.height, start.width, start.depth, start.colour_type) == (*size, 8, GRAY)


def _decode(data: bytes, chunks: _Chunks, start: _Start, path: Path) -> Pixels:
    """Decode with Pillow, which knows every kind of PNG file."""
    from PIL.PngImagePlugin import PngImageFile

    with decoding(path, "PNG"), PngImageFile(io.BytesIO(data)) as image:
        if start.depth == 16 and start.colour_type != GRAY:
            raise InputError(f"{path} holds 16-bit colour or alpha; expected gray images. Convert it to 16-bit gray")
        values = np.asarray(image)
    if start.depth == 16:
        return Pixels(values.astype(np.uint16, copy=False))
    if start.depth == 1 and start.colour_type == GRAY:
        return Pixels(np.where(values, np.uint8(255), np.uint8(0)))
    return Pixels(values, _palette(chunks) if start.colour_type == PALETTE else None)


def _decode_plain_rows(chunks: _Chunks, start: _Start) -> np.ndarray | None:
    """Decode gray images whose rows are all stored alike, as `write_plane` does, in a fraction of Pillow's time.

    Returns
    -------
    ndarray of uint8 or uint16, shape (y, x)
        None where Pillow is needed.
    """
    if start.depth not in (8, 16) or start.interlaced:
        return None
    sample = np.dtype(f">u{start.depth // 8}")
    size = start.height * (1 + start.width * sample.itemsize)
    parts = [part for kind, part in chunks if kind == b"IDAT"]
    packed = parts[0] if len(parts) == 1 else b"".join(parts)
    unpacking = zlib.decompressobj()
    try:
        raw = unpacking.decompress(packed, size + 1)
    except zlib.error:  # type: ignore[misc]
        return None
    if len(raw) != size or not unpacking.eof:
        return None
    rows = np.frombuffer(raw, np.uint8).reshape(start.height, -1)
    filters, stored = rows[:, 0], rows[:, 1:].copy()
    if (filters[1:] == UP).all() and filters[0] in (NO_FILTER, UP):
        _sum_down(stored)
    elif filters.any():
        return None
    return stored.view(sample).astype(sample.newbyteorder("="), copy=False)


def _sum_down(rows: np.ndarray) -> None:
    """Replace every row by the sum of all rows down to it, modulo 256; in few calls, so that threads seldom wait.

    Parameters
    ----------
    rows : ndarray of uint8, shape (y, x)
        Contiguous; changed in place.
    """
    size = math.isqrt(len(rows))
    whole = len(rows) // size * size
    groups = rows[:whole].reshape(-1, size, rows.shape[1])
    for k in range(1, size):
        groups[:, k] += groups[:, k - 1]
    for above, group in zip(groups, groups[1:], strict=False):
        group += above[-1]
    for y in range(whole, len(rows)):
        rows[y] += rows[y - 1]


def write_plane(path: str | os.PathLike[str], plane: np.ndarray, *, naming: Naming = AT_ONCE) -> None:
    """Write a plane as gray PNG, whole or not at all; compressed little, but fast.

    Parameters
    ----------
    path : path
        Ends with .png; what is there is replaced.
    plane : ndarray of uint8 or uint16, shape (y, x)
    naming : Naming
        See `whole_file`.

    Raises
    ------
    TypeError
        When the type is another one.
    """
    if plane.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"a plane of {plane.dtype}; expected uint8 or uint16")
    header = struct.pack(">IIBBBBB", plane.shape[1], plane.shape[0], 8 * plane.itemsize, GRAY, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(_filtered(plane), FAST)), (b"IEND", b""))
    with whole_file(path, naming=naming) as partial:
        fill(partial, SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks))


def write_rows(path: str | os.PathLike[str], plane: np.ndarray, *, at_once: int) -> None:
    """Write a plane that need not fit into memory as gray PNG, whole or not at all.

    Parameters
    ----------
    path : path
        Ends with .png; what is there is replaced.
    plane : ndarray of uint8 or uint16, shape (y, x)
        Usually in a file; so many rows of it are in memory at a time:
    at_once : int
    """
    header = struct.pack(">IIBBBBB", plane.shape[1], plane.shape[0], 8 * plane.itemsize, GRAY, 0, 0, 0)
    packer = zlib.compressobj(FAST)
    with whole_file(path) as partial, open(partial, "wb", opener=uncut) as file:
        file.write(SIGNATURE + _chunk(b"IHDR", header))
        for top in range(0, len(plane), at_once):
            above = plane[top - 1] if top else None
            file.write(_chunk(b"IDAT", packer.compress(_filtered(plane[top : top + at_once], above=above).tobytes())))
            release(plane)
        file.write(_chunk(b"IDAT", packer.flush()) + _chunk(b"IEND", b""))


def _filtered(plane: np.ndarray, *, above: np.ndarray | None = None) -> np.ndarray:
    """Return the bytes of rows, each as its differences to the one above, behind the number of that filter."""
    stored = np.ascontiguousarray(plane, plane.dtype.newbyteorder(">")).view(np.uint8)
    rows = np.empty((len(stored), 1 + stored.shape[1]), np.uint8)
    rows[:, 0] = UP
    before = 0 if above is None else np.ascontiguousarray(above, plane.dtype.newbyteorder(">")).view(np.uint8)
    rows[:1, 1:] = stored[:1] - before
    np.subtract(stored[1:], stored[:-1], out=rows[1:, 1:])
    return rows


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)))


_Chunks = list[tuple[bytes, memoryview]]


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
    interlaced: int


def _start(data: bytes, path: Path) -> _Start:
    if data[:8] != SIGNATURE or data[12:16] != b"IHDR" or len(data) < 33:
        raise damaged(path, "PNG", "it is empty" if not data else "it does not begin like one")
    return _Start(*struct.unpack(">IIBBxxB", data[16:29]))


def _census(path: Path) -> _Start:
    """Return what a file says of itself, once it is known to go on to its end; little of it is read."""
    size = demand_file(path).st_size
    with path.open("rb") as file:
        start = _start(file.read(33), path)
        at = len(SIGNATURE)
        if size >= 45:
            file.seek(size - 12)
            at = size - 12 if file.read(8) == b"\0\0\0\0IEND" else at
        while True:
            file.seek(at)
            head = file.read(8)
            if len(head) < 8:
                raise damaged(path, "PNG", "it is truncated")
            (length,), kind = struct.unpack(">I", head[:4]), head[4:]
            at += 12 + length
            if at > size or not kind.isalpha():
                raise damaged(path, "PNG", "it is truncated")
            if kind == b"IEND":
                break
    _check_size(start, size, path)
    return start


def _check_size(start: _Start, size: int, path: Path) -> None:
    """Refuse a declared size that the file's bytes cannot hold, before memory is taken for it."""
    samples = {COLOUR: 3, GRAY_ALPHA: 2, COLOUR_ALPHA: 4}.get(start.colour_type, 1)
    declared = start.height * (1 + (start.width * samples * start.depth + 7) // 8)
    if not start.width or not start.height or declared > MOST_FROM_A_BYTE * size:
        raise damaged(path, "PNG", f"it declares {start.width} x {start.height} pixels, which {size} bytes cannot hold")


def _checked_chunks(data: bytes, path: Path) -> _Chunks:
    """Return the critical chunks and their content; check length and checksum of each, which decoders skip in part."""
    at, chunks, view = len(SIGNATURE), [], memoryview(data)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 8 + length
        if end + 4 > len(data) or not kind.isalpha():
            break
        if kind[:1].isupper():
            if zlib.crc32(view[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
                raise damaged(path, "PNG", f"wrong checksum in {kind.decode('ascii', 'replace')}")
            chunks.append((kind, view[at + 8 : end]))
        if kind == b"IEND":
            return chunks
        at = end + 4
    raise damaged(path, "PNG", "it is truncated")


def _check_sums(file: BinaryIO, path: Path) -> None:
    """Read a file on from a chunk to its end, a little at a time, and check the sums of the critical ones."""
    while len(head := file.read(8)) == 8:
        left, kind = int.from_bytes(head[:4], "big"), head[4:]
        checksum = zlib.crc32(kind)
        while left and (part := file.read(min(left, PART))):
            checksum, left = zlib.crc32(part, checksum), left - len(part)
        told = file.read(4)
        if left or len(told) < 4 or not kind.isalpha():
            break
        if kind[:1].isupper() and checksum != int.from_bytes(told, "big"):
            raise damaged(path, "PNG", f"wrong checksum in {kind.decode('ascii', 'replace')}")
        if kind == b"IEND":
            return
    raise damaged(path, "PNG", "it is truncated")


def _palette(chunks: _Chunks) -> np.ndarray | None:
    """Return the colours, if there are any."""
    found = [np.frombuffer(content, np.uint8).reshape(-1, 3) for kind, content in chunks if kind == b"PLTE"]
    return found[-1] if found else None
