"""The directories of a TIFF file, followed to their end: what it promises, compared with the bytes that are there.

One directory a page, each of them tags and the place of the next one (TIFF 6.0, BigTIFF).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np

from cdeep3m.errors import InputError
from cdeep3m.system.files import demand_file
from cdeep3m.volumes.damage import damaged

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
DESCRIPTION, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES = 270, 273, 277, 278, 279
PLANAR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 284, 322, 323, 324, 325
SUBFILE, EXTRA_SAMPLES, SAMPLE_FORMAT, IMAGE_DEPTH = 254, 338, 339, 32997

NUMBERS = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}
"""Types of a tag's values that are whole numbers."""
SIZES = {**{kind: int(form[1]) for kind, form in NUMBERS.items()}, 2: 1, 5: 8, 7: 1, 10: 8, 11: 4, 12: 8}
KINDS = {1: "uint", 2: "int", 3: "float"}

NONE, JPEG = 1, (6, 7)
COMPRESSIONS = {
    **{2: "CCITT RLE", 3: "CCITT Group 3", 4: "CCITT Group 4", 5: "LZW", 6: "JPEG", 7: "JPEG", 8: "deflate"},
    **{32773: "PackBits", 32946: "deflate", 33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC"},
    **{34892: "JPEG", 34925: "LZMA", 50000: "zstd", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL"},
}
MOST_FROM_A_BYTE = {NONE: 1, 5: 2600, 8: 1100, 32946: 1100, 32773: 64}
"""So many bytes can be packed into one; JPEG and others: `MOST_FROM_OTHERS`."""
MOST_FROM_OTHERS = 100_000
LONGEST_TEXT = 2**24
MOST_ENTRIES = 4096
REDUCED = 1
"""In the tag `SUBFILE`: a smaller copy of another page."""


@dataclass(frozen=True)
class Directory:
    """What one page says of itself.

    Attributes
    ----------
    size : tuple of int
        (y, x).
    bits : int
        Of a sample.
    kind : str
        Of a sample: uint, int, float; or the number that says something else.
    samples, depth, compression, photometric : int
        As in the file; depth is 1 where the page is no volume.
    extra : tuple of int
        What the samples beyond those of the colours are.
    reduced : bool
        Whether it is a smaller copy of another page.
    text : str
        Its description.
    begins : int
        Where its first strip or tile lies.
    """

    size: tuple[int, int]
    bits: int
    kind: str
    samples: int
    depth: int
    compression: int
    photometric: int
    extra: tuple[int, ...]
    reduced: bool
    text: str
    begins: int

    @property
    def sample(self) -> np.dtype:
        """Type of its samples; uint8 for those of 1, 2 and 4 bits.

        Raises
        ------
        InputError
            There is no such type.
        """
        if self.kind == "uint" and self.bits <= 8:
            return np.dtype(np.uint8)
        try:
            return np.dtype(f"{self.kind}{self.bits}")
        except TypeError:
            raise InputError(
                f"samples of {self.bits} bits, of the kind {self.kind}; expected 8 or 16 bits. Convert the images"
            ) from None

    @property
    def plane_bytes(self) -> int:
        """Bytes of the page, unpacked."""
        return self.size[0] * ((self.size[1] * self.samples * self.bits + 7) // 8)


def directories(path: Path) -> list[Directory]:
    """Return every page of a TIFF file, after the promises of each have been compared with the file's bytes.

    Raises
    ------
    FormatError
        The chain of directories leads out of the file or in a circle, pixels lie beyond its end, or a page would be
        larger than what its bytes can hold.
    InputError
        It is no regular file.
    """
    end = demand_file(path).st_size
    with open(path, "rb") as file:
        reader = _Reader(file, path, end)
        found: list[Directory] = []
        seen, at = set(), reader.first()
        while at:
            if at in seen:
                raise damaged(path, "TIFF", f"its directories lead in a circle, back to page {len(found)}")
            seen.add(at)
            tags, at = reader.tags(at, page=len(found) + 1)
            found.append(reader.directory(tags, page=len(found) + 1))
    if not found:
        raise damaged(path, "TIFF", "it holds no page")
    return found


_Tags = dict[int, tuple[int, int, bytes]]


class _Reader:
    """Reads the directories of an open file, every one of them within its bytes."""

    def __init__(self, file: IO[bytes], path: Path, end: int) -> None:
        self._file, self._path, self._end = file, path, end
        start = file.read(16)
        self._order = {b"II": "<", b"MM": ">"}.get(start[:2], "")
        magic = struct.unpack(f"{self._order}H", start[2:4])[0] if self._order and len(start) >= 8 else 0
        if magic not in (42, 43) or (magic == 43 and len(start) < 16):
            raise damaged(path, "TIFF", "it is empty" if not start else "it does not begin like one")
        self._big = magic == 43
        self._start = start

    def first(self) -> int:
        """Return where the first directory lies."""
        form, part = ("Q", self._start[8:16]) if self._big else ("I", self._start[4:8])
        return int(struct.unpack(f"{self._order}{form}", part)[0])

    def tags(self, at: int, *, page: int) -> tuple[_Tags, int]:
        """Return the tags of a directory (type, number, and bytes or place of the values), and the next one's place."""
        counter, entry, form, link = ("Q", 20, "HHQ", "Q") if self._big else ("H", 12, "HHI", "I")
        (count,) = struct.unpack(f"{self._order}{counter}", self._read(at, struct.calcsize(f"={counter}"), page))
        if not 0 < count <= MOST_ENTRIES:
            raise damaged(self._path, "TIFF", f"the directory of page {page} has {count} entries")
        begin = at + struct.calcsize(f"={counter}")
        width = struct.calcsize(f"={link}")
        block = self._read(begin, count * entry + width, page)
        tags = {}
        for k in range(0, count * entry, entry):
            tag, kind, values = struct.unpack_from(f"{self._order}{form}", block, k)
            tags[tag] = (kind, values, block[k + entry - width : k + entry])
        return tags, int(struct.unpack_from(f"{self._order}{link}", block, count * entry)[0])

    def directory(self, tags: _Tags, *, page: int) -> Directory:
        """Make sense of tags, and compare what they promise with the file."""
        number = {tag: self._number(tags, tag, page, default) for tag, default in _DEFAULTS.items()}
        if number[WIDTH] < 1 or number[HEIGHT] < 1 or number[SAMPLES] < 1:
            raise damaged(self._path, "TIFF", f"page {page} has no size")
        bits = self._numbers(tags, BITS, page)
        kinds = self._numbers(tags, SAMPLE_FORMAT, page)
        kind = int(kinds[0]) if len(kinds) else 1
        offsets, counts = self._segments(tags, page)
        found = Directory(
            size=(number[HEIGHT], number[WIDTH]),
            bits=int(bits[0]) if len(bits) else 1,
            kind=KINDS.get(kind, "uint" if kind == 4 else f"number {kind}"),
            samples=number[SAMPLES],
            depth=max(1, number[IMAGE_DEPTH]),
            compression=number[COMPRESSION],
            photometric=number[PHOTOMETRIC],
            extra=tuple(map(int, self._numbers(tags, EXTRA_SAMPLES, page))),
            reduced=bool(number[SUBFILE] & REDUCED),
            text=self._text(tags, page),
            begins=int(offsets[0]) if len(offsets) else 0,
        )
        self._check_bytes(found, tags, number, offsets, counts, page)
        return found

    def _segments(self, tags: _Tags, page: int) -> tuple[np.ndarray, np.ndarray]:
        where, how_many = (TILE_OFFSETS, TILE_BYTES) if TILE_OFFSETS in tags else (STRIP_OFFSETS, STRIP_BYTES)
        return self._numbers(tags, where, page), self._numbers(tags, how_many, page)

    def _check_bytes(
        self, page: Directory, tags: _Tags, number: dict[int, int], offsets: np.ndarray, counts: np.ndarray, at: int
    ) -> None:
        wanted = _unpacked_bytes(page, tags, number)
        if len(offsets) < len(wanted):
            raise damaged(
                self._path, "TIFF", f"it holds {len(offsets)} of the {len(wanted)} strips or tiles of page {at}"
            )
        offsets = offsets[: len(wanted)].astype(np.uint64)
        told = len(counts) >= len(wanted)
        counts = counts[: len(wanted)].astype(np.uint64) if told else wanted
        if page.compression == NONE:
            counts = np.minimum(counts, wanted)
            short = bool((counts < wanted).any())
        else:
            if not told:
                raise damaged(self._path, "TIFF", f"it does not say how long the strips of page {at} are")
            most = MOST_FROM_A_BYTE.get(page.compression, MOST_FROM_OTHERS)
            short = float(counts.sum()) * most + 2**16 < float(wanted.sum()) or not counts.all()
        if bool((offsets > self._end).any()) or bool((offsets + counts > self._end).any()):
            raise damaged(self._path, "TIFF", f"it is truncated: pixels of page {at} lie beyond its {self._end} bytes")
        if short:
            raise damaged(
                self._path, "TIFF", f"it is incomplete: page {at} of {page.size[1]} x {page.size[0]} pixels lacks bytes"
            )

    def _number(self, tags: _Tags, tag: int, page: int, default: int) -> int:
        values = self._numbers(tags, tag, page)
        return int(values[0]) if len(values) else default

    def _numbers(self, tags: _Tags, tag: int, page: int) -> np.ndarray:
        if tag not in tags or tags[tag][0] not in NUMBERS:
            return np.empty(0, np.uint64)
        form = np.dtype(NUMBERS[tags[tag][0]]).newbyteorder("<" if self._order == "<" else ">")
        return np.frombuffer(self._value(tags, tag, page), form)

    def _text(self, tags: _Tags, page: int) -> str:
        if tags.get(DESCRIPTION, (0, 0, b""))[0] != 2 or tags[DESCRIPTION][1] > LONGEST_TEXT:
            return ""
        return self._value(tags, DESCRIPTION, page).split(b"\0", 1)[0].decode("utf-8", "replace")

    def _value(self, tags: _Tags, tag: int, page: int) -> bytes:
        kind, count, inline = tags[tag]
        size = SIZES[kind] * count
        if size <= len(inline):
            return inline[:size]
        (at,) = struct.unpack(f"{self._order}{'Q' if self._big else 'I'}", inline)
        return self._read(at, size, page)

    def _read(self, at: int, size: int, page: int) -> bytes:
        if at + size > self._end:
            raise damaged(self._path, "TIFF", f"it is truncated: page {page} would begin or go on beyond its end")
        self._file.seek(at)
        return self._file.read(size)


_DEFAULTS = {
    **{WIDTH: 0, HEIGHT: 0, COMPRESSION: NONE, PHOTOMETRIC: 1, SAMPLES: 1, SUBFILE: 0, IMAGE_DEPTH: 1},
    **{PLANAR: 1, ROWS_PER_STRIP: 2**32 - 1, TILE_WIDTH: 0, TILE_HEIGHT: 0},
}


def _unpacked_bytes(page: Directory, tags: _Tags, number: dict[int, int]) -> np.ndarray:
    """Return how many bytes each strip or tile of a page has, unpacked."""
    height, width = page.size
    planes = page.samples if number[PLANAR] == 2 else 1
    in_pixel = page.samples // planes
    if TILE_OFFSETS in tags:
        rows, columns = max(1, number[TILE_HEIGHT]), max(1, number[TILE_WIDTH])
        tiles = -(-height // rows) * -(-width // columns) * page.depth * planes
        one = rows * ((columns * in_pixel * page.bits + 7) // 8)
        return np.full(_bounded(tiles, page), one, np.uint64)
    rows = min(max(1, number[ROWS_PER_STRIP]), height)
    strips = -(-height // rows)
    row_bytes = (width * in_pixel * page.bits + 7) // 8
    if page.photometric == 6 and page.compression == NONE:
        row_bytes = 0  # subsampled colours; the decoder knows
    sizes = np.full(_bounded(strips, page), rows * row_bytes, np.uint64)
    sizes[-1] = (height - rows * (strips - 1)) * row_bytes
    return np.tile(sizes, planes * page.depth)


def _bounded(segments: int, page: Directory) -> int:
    if segments * page.samples * page.depth > 2**28:
        raise InputError(f"a page of {page.size[1]} x {page.size[0]} pixels in {segments} parts; expected fewer")
    return segments
