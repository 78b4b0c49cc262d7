"""PNG planes: written fast, whole or not at all; read with every byte checked."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from cdeep3m.errors import FormatError
from cdeep3m.volumes import png
from cdeep3m.volumes.png import read_plane, write_plane
from octave_cases import synth

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_written_plane_is_a_gray_png_of_its_depth(dtype: str, tmp_path: Path) -> None:
    plane = synth(1, 20, 31, dtype=dtype)[0]
    write_plane(tmp_path / "p.png", plane.T)
    np.testing.assert_array_equal(read_plane(tmp_path / "p.png").values, plane.T)
    assert (tmp_path / "p.png").read_bytes()[24:26] == bytes([8 * plane.itemsize, png.GRAY])
    with Image.open(tmp_path / "p.png") as image:
        np.testing.assert_array_equal(np.asarray(image), plane.T)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (40, 33)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_planes_of_any_shape_come_back(dtype: str, shape: tuple[int, int], tmp_path: Path) -> None:
    plane = synth(1, *shape, dtype=dtype)[0]
    write_plane(tmp_path / "p.png", plane)
    read = read_plane(tmp_path / "p.png").values
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, plane)


def filtered_png(plane: np.ndarray, filters: tuple[int, ...], *, parts: int = 1) -> bytes:
    """A PNG file whose k-th row has the k-th filter (0 none, 1 sub, 2 up), spelled out as the standard does."""
    samples = plane.astype(plane.dtype.newbyteorder(">"))
    stored, step = samples.view(np.uint8).astype(int), plane.itemsize
    left, above = np.zeros_like(stored), np.zeros_like(stored)
    left[:, step:], above[1:] = stored[:, :-step], stored[:-1]
    by_filter = {0: stored, 1: stored - left, 2: stored - above}
    raw = b"".join(bytes([f]) + bytes((by_filter[f][k] % 256).tolist()) for k, f in enumerate(filters))
    packed = zlib.compress(raw)
    cuts = [len(packed) * k // parts for k in range(parts + 1)]
    header = struct.pack(">IIBBBBB", *plane.shape[::-1], 8 * step, png.GRAY, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        *((b"IDAT", packed[a:b]) for a, b in zip(cuts, cuts[1:], strict=False)),
        (b"IEND", b""),
    ]
    return png.SIGNATURE + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(
    "filters", [(0, 0, 0, 0), (2, 2, 2, 2), (0, 2, 2, 2), (2, 0, 2, 2), (1, 1, 2, 0), (0, 1, 1, 1)]
)
def test_rows_stored_in_any_way_are_read_as_pillow_reads_them(
    filters: tuple[int, ...], dtype: str, tmp_path: Path
) -> None:
    plane = synth(1, 4, 7, dtype=dtype)[0]
    (tmp_path / "p.png").write_bytes(filtered_png(plane, filters, parts=3))
    with Image.open(tmp_path / "p.png") as image:
        np.testing.assert_array_equal(np.asarray(image), plane)
    np.testing.assert_array_equal(read_plane(tmp_path / "p.png").values, plane)


@pytest.mark.parametrize("filters", [(0, 0, 0, 0), (2, 2, 2, 2), (0, 2, 2, 2)])
def test_rows_stored_alike_are_read_without_pillow(
    filters: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = synth(1, 4, 7)[0]
    (tmp_path / "p.png").write_bytes(filtered_png(plane, filters))
    monkeypatch.setattr(png, "_decode", None)
    np.testing.assert_array_equal(read_plane(tmp_path / "p.png").values, plane)


def test_other_types_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a plane of float32; expected uint8 or uint16"):
        write_plane(tmp_path / "p.png", np.zeros((2, 2), np.float32))


def test_planes_beyond_pillows_bomb_limit_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plane(tmp_path / "p.png", synth(1, 20, 31)[0])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read_plane(tmp_path / "p.png").size == (20, 31)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_plane_is_an_error_wherever_it_ends(share: float, tmp_path: Path) -> None:
    write_plane(tmp_path / "p.png", synth(1, 200, 310)[0])
    data = (tmp_path / "p.png").read_bytes()
    (tmp_path / "p.png").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(
        FormatError, match=r"p.png is no readable PNG file \(it is truncated\). Copy or export it again"
    ):
        read_plane(tmp_path / "p.png")


def test_one_flipped_bit_is_an_error(tmp_path: Path) -> None:
    write_plane(tmp_path / "p.png", synth(1, 200, 310)[0])
    data = bytearray((tmp_path / "p.png").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "p.png").write_bytes(bytes(data))
    with pytest.raises(FormatError, match="wrong checksum in IDAT"):
        read_plane(tmp_path / "p.png")


def test_a_full_disk_leaves_the_old_plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plane(tmp_path / "p.png", np.uint8([[7]]))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(png, "fill", full)
    with pytest.raises(OSError, match=r"No space left on device: .*p.png"):
        write_plane(tmp_path / "p.png", np.uint8([[8]]))
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]
    assert read_plane(tmp_path / "p.png").values.tolist() == [[7]]


@pytest.mark.parametrize(("writer", "reader"), [("isal", "zlib"), ("zlib", "isal"), ("zlib", "zlib")])
def test_planes_are_the_same_with_either_deflater(
    writer: str, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deflaters = {"isal": pytest.importorskip("isal.isal_zlib"), "zlib": zlib}
    plane = synth(1, 50, 61, dtype="uint16")[0]
    monkeypatch.setattr(png, "zlib", deflaters[writer])
    write_plane(tmp_path / "p.png", plane)
    monkeypatch.setattr(png, "zlib", deflaters[reader])
    np.testing.assert_array_equal(read_plane(tmp_path / "p.png").values, plane)


def test_without_isal_the_standard_library_deflates() -> None:
    code = "import sys; sys.modules['isal'] = None; from cdeep3m.volumes import png; print(png.zlib.__name__)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "zlib"


@pytest.mark.parametrize("at_once", [1, 7, 2**20])
def test_a_whole_plane_is_told_from_any_that_is_cut_or_changed(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(png, "PART", at_once)
    path = tmp_path / "p.png"
    write_plane(path, synth(1, 20, 31)[0])
    whole = path.read_bytes()
    assert png.is_whole_plane(path, (20, 31))
    assert not png.is_whole_plane(path, (31, 20))
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        assert not png.is_whole_plane(path, (20, 31)), end
    for at in range(0, len(whole) - 4, 5):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert not png.is_whole_plane(path, (20, 31)), at
