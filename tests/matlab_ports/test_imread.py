"""Classes and values that Octave's imread() gives, against a recorded table; the inputs are made again here.

The files of the table are synth(1, 64, 48, 4) (values) and synth(1, 64, 48, 3, bool) (two values) in many formats. Of
palettes only the kind of colours is known, not each colour; float, signed and 32-bit values were worked out from the
recorded notes and agree with the recorded hashes.
"""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from cdeep3m.matlab_ports.imageimporter import through_opencv
from cdeep3m.matlab_ports.imread import imread
from PIL import Image

from cdeep3m.geometry import Roi
from cdeep3m.volumes.planes import label_plane
from cdeep3m.volumes.png import PngFolder
from cdeep3m.volumes.tiff import TiffFolder
from octave_cases import digest, synth

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE = json.loads((Path(__file__).parents[1] / "golden" / "octave_imread.json").read_text(encoding="utf-8"))
G8 = synth(1, 64, 48, 4)[0]
G16 = synth(1, 64, 48, 4, "uint16")[0]
TWO = synth(1, 64, 48, 3, "bool")[0]
FLIPS = np.stack([G8, G8[::-1], G8[:, ::-1]], -1)


def png(values: np.ndarray, **options: object) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(np.ascontiguousarray(values)).save(path, **options)


def indexed(indices: np.ndarray, colours: list[list[int]], **options: object) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        image = Image.fromarray(indices.astype(np.uint8)).convert("P")
        image.putpalette([c for colour in colours for c in colour])
        image.save(path, **options)

    return write


def tiff(values: np.ndarray, photometric: str = "minisblack", **options: object) -> Callable[[Path], None]:
    return lambda path: tifffile.imwrite(path, values, photometric=photometric, **options)


def lzw(values: np.ndarray) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(values).save(path, compression="tiff_lzw")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def low_bits(values: np.ndarray, bits: int) -> Callable[[Path], None]:
    """Write a gray PNG of 2 or 4 bits, which Pillow reads but does not write."""

    def write(path: Path) -> None:
        height, width = values.shape
        each = 8 // bits
        packed = np.zeros((height, width // each), np.uint8)
        for i in range(each):
            packed |= values[:, i::each].astype(np.uint8) << (8 - bits * (i + 1))
        rows = b"".join(b"\0" + row.tobytes() for row in packed)
        header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        )

    return write


def scaled(factor: int, dtype: type = np.uint8) -> np.ndarray:
    return TWO.astype(dtype) * dtype(factor)


BW, ANY = [[0, 0, 0], [255, 255, 255]], [[10, 20, 30], [200, 100, 50]]
FILES: dict[str, Callable[[Path], None]] = {
    "b1.tif": tiff(TWO),
    "f32.tif": tiff(synth(1, 64, 48, 4, "float32")[0]),
    "f64.tif": tiff(synth(1, 64, 48, 4, "float32")[0].astype(np.float64)),
    "g1.png": png(TWO),
    "g16.png": png(G16),
    "g16.tif": tiff(G16),
    "g16_0_1.png": png(scaled(1, np.uint16)),
    "g16_0_257.png": png(scaled(257, np.uint16)),
    "g16_0_65535.png": png(scaled(65535, np.uint16)),
    "g16_0_65535.tif": tiff(scaled(65535, np.uint16)),
    "g16_257.png": png(G8 * np.uint16(257)),
    "g16_257.tif": tiff(G8 * np.uint16(257)),
    "g16_allblack.png": png(G16 * np.uint16(0)),
    "g16_allwhite.png": png(G16 | np.uint16(65535)),
    "g2.png": low_bits(G8 % 4, 2),
    "g2_0_3.png": low_bits(scaled(3), 2),
    "g32.tif": tiff(G16.astype(np.uint32) * np.uint32(65536) + np.uint32(5)),
    "g4.png": low_bits(G8 % 16, 4),
    "g8.png": png(G8),
    "g8.tif": tiff(G8),
    "g8_0_1.png": png(scaled(1)),
    "g8_0_1.tif": tiff(scaled(1)),
    "g8_0_128.png": png(scaled(128)),
    "g8_0_17.png": png(scaled(17)),
    "g8_0_254.png": png(scaled(254)),
    "g8_0_255.png": png(scaled(255)),
    "g8_0_255.tif": tiff(scaled(255)),
    "g8_0_85.png": png(scaled(85)),
    "g8_allblack.png": png(G8 * np.uint8(0)),
    "g8_allwhite.png": png(G8 | np.uint8(255)),
    "g8_allwhite.tif": tiff(G8 | np.uint8(255)),
    "g8_const7.png": png(np.full_like(G8, 7)),
    "g8_lzw.tif": lzw(G8),
    "g8_minwhite.tif": tiff(G8, "miniswhite"),
    "g8_minwhite_0_255.tif": tiff(scaled(255), "miniswhite"),
    "i16.tif": tiff((G16.astype(np.int32) - 32768).astype(np.int16)),
    "la.png": png(np.stack([G8, 255 - G8], -1)),
    "p256_gray.png": indexed(G8, [[k, k, k] for k in range(256)]),
    "p256_inv.png": indexed(G8, [[255 - k] * 3 for k in range(256)]),
    "p2_01.png": indexed(TWO, [[0, 0, 0], [1, 1, 1]], bits=1),
    "p2_any.png": indexed(TWO, ANY, bits=1),
    "p2_bw.png": indexed(TWO, BW, bits=1),
    "p2_wb.png": indexed(TWO, BW[::-1], bits=1),
    "p3_any.png": indexed(G8 % 3, [*ANY, [7, 8, 9]]),
    "p3_bwr.png": indexed(G8 % 3, [*BW, [255, 0, 0]]),
    "rgb.png": png(FLIPS),
    "rgb.tif": tiff(FLIPS, "rgb"),
    "rgb_bw.png": png(np.stack([scaled(255)] * 3, -1)),
    "rgb_gray.png": png(np.stack([G8] * 3, -1)),
    "rgba.png": png(np.stack([G8, G8, G8, 255 - G8], -1)),
}
CLASSES = {"logical": bool, "uint8": np.uint8, "uint16": np.uint16}


def values_of(name: str, folder: Path) -> np.ndarray:
    """Make an image of the table in `folder` and read it."""
    path = folder / name
    FILES[name](path)
    source = PngFolder([path]) if path.suffix == ".png" else TiffFolder([path])
    pixels = next(source.decode(range(1)))
    return imread(pixels.values, palette=pixels.palette, min_is_white=pixels.min_is_white)


def is_as_recorded(name: str, folder: Path) -> bool:
    """Return whether an image of the table is read as Octave reads it."""
    values, recorded = values_of(name, folder), TABLE[name]
    return values.dtype == CLASSES[recorded["type"]] and digest(values) == recorded["sha256"]


@pytest.mark.parametrize("name", sorted(TABLE))
def test_imread_gives_the_recorded_class_and_values(name: str, tmp_path: Path) -> None:
    values = values_of(name, tmp_path)
    assert values.dtype == CLASSES[TABLE[name]["type"]]
    assert digest(values) == TABLE[name]["sha256"]


def test_the_copied_table_is_that_of_the_reference(reference: Path) -> None:
    recorded = json.loads((reference / "octave" / "imread.json").read_text(encoding="utf-8"))
    assert {name: (row["class"], row["sha256_of_values"]) for name, row in recorded.items()} == {
        name: (row["type"], row["sha256"]) for name, row in TABLE.items()
    }


def test_opencv_turns_palettes_into_colours_and_cuts_other_types_to_8_bits() -> None:
    colours = np.array(ANY, np.uint8)
    assert through_opencv(np.uint8([[1, 0]]), palette=colours).tolist() == [[ANY[1], ANY[0]]]
    assert through_opencv(np.int16([[-5, 7, 3000]])).tolist() == [[0, 7, 255]]
    assert through_opencv(np.uint16([[3000]])).tolist() == [[3000]]


def test_the_two_colours_of_a_label_palette_count_by_index(tmp_path: Path) -> None:
    FILES["p2_wb.png"](tmp_path / "p.png")
    pixels = next(PngFolder([tmp_path / "p.png"]).decode(range(1)))
    area = Roi((0, 0, 0), (1, *G8.shape)).slices[1:]
    assert (label_plane(pixels, area, "p.png") == TWO).all()
