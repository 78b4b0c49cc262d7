"""TIFF's many ways to store a plane."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from PIL import Image

from cdeep3m.geometry import Roi
from cdeep3m.volumes import open_volume, planes, read_all, tiff_codecs
from cdeep3m.volumes.kept_planes import KeptPlanes
from octave_cases import synth, tiff_folder

if TYPE_CHECKING:
    from pathlib import Path

STACK = synth(3, 40, 50, dtype="uint16")
BOX = Roi((1, 3, 4), (3, 30, 20))
READ_WITHOUT_CODECS = """
import sys
sys.modules["imagecodecs"] = None
from cdeep3m.volumes import open_volume
from cdeep3m.geometry import Roi
volume = open_volume(sys.argv[1])
sys.stdout.buffer.write(volume.read(Roi((0, 0, 0), volume.shape)).tobytes())
"""


def read(path: Path) -> np.ndarray:
    volume = open_volume(path)
    return volume.read(Roi((0, 0, 0), volume.shape))


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zlib", "predictor": True},
        {"tile": (16, 16)},
        {"rowsperstrip": 7},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"metadata": None},
    ],
    ids=str,
)
def test_layouts_and_byte_orders(options: dict, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "s.tif", STACK, photometric="minisblack", **options)
    stack = read(tmp_path / "s.tif")
    assert stack.dtype == np.uint16
    assert stack.dtype.isnative
    np.testing.assert_array_equal(stack, STACK)


def test_an_imagej_stack_of_one_page_has_all_its_planes(tmp_path: Path) -> None:
    description = tifffile.tifffile.imagej_description(STACK.shape, axes="ZYX")
    with tifffile.TiffWriter(tmp_path / "s.tif", byteorder=">") as file:
        file.write(STACK[0], description=description, metadata=None)
    with (tmp_path / "s.tif").open("ab") as raw:
        raw.write(STACK[1:].astype(">u2").tobytes())
    volume = open_volume(tmp_path / "s.tif")
    assert volume.shape == STACK.shape
    np.testing.assert_array_equal(volume.read(Roi((1, 3, 4), (3, 30, 20))), STACK[1:3, 3:30, 4:20])


def test_separate_colour_planes_that_are_equal_are_gray(tmp_path: Path) -> None:
    plane = STACK[0].astype(np.uint8)
    tifffile.imwrite(tmp_path / "s.tif", np.stack([plane] * 3), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read(tmp_path / "s.tif"), plane[None])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lzw_is_read_without_a_codec_package(dtype: type, tmp_path: Path) -> None:
    pages = [Image.fromarray(plane) for plane in STACK.astype(dtype)]
    pages[0].save(tmp_path / "s.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    read_in_process = subprocess.check_output([sys.executable, "-c", READ_WITHOUT_CODECS, tmp_path / "s.tif"])
    np.testing.assert_array_equal(np.frombuffer(read_in_process, dtype).reshape(STACK.shape), STACK.astype(dtype))


def test_a_folder_of_stacks_warns_that_only_first_pages_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tiff_folder(tmp_path / "i", [STACK, STACK + np.uint16(1)])
    np.testing.assert_array_equal(read(folder), [STACK[0], STACK[0] + np.uint16(1)])
    assert "has 3 pages" in caplog.text


PARTS = [
    {},
    {"compression": "zlib"},
    {"compression": "zlib", "predictor": True},
    {"tile": (16, 16)},
    {"tile": (16, 32), "compression": "zlib", "predictor": True},
    {"rowsperstrip": 7},
    {"rowsperstrip": 7, "compression": "zlib"},
    {"rowsperstrip": 7, "byteorder": ">", "compression": "zlib", "predictor": True},
    {"tile": (16, 16), "byteorder": ">"},
    {"photometric": "miniswhite"},
    {"bigtiff": True},
    {"imagej": True, "metadata": {"axes": "ZYX"}},
]


@pytest.mark.parametrize("options", PARTS, ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_parts_of_large_planes_are_read_as_they_are_of_whole_ones(
    options: dict, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if dtype == "float32" and options.get("predictor"):
        pytest.skip("predictors of floating point are another one")
    path = tmp_path / "s.tif"
    stack = (STACK / 65535).astype(dtype) if dtype == "float32" else STACK.astype(dtype)
    tifffile.imwrite(path, stack, **{"photometric": "minisblack", **options})
    whole = {role: read_all(open_volume(path, role=role)) for role in ("image", "values")}
    monkeypatch.setattr(planes, "LARGE", 100)
    for role, expected in whole.items():
        volume = open_volume(path, role=role)
        assert volume.chunks != (1, 40, 50) or options.get("compression") and "rowsperstrip" not in options
        for box in (Roi((1, 3, 4), (3, 30, 20)), Roi((0, 39, 49), (1, 40, 50)), Roi((0, 0, 0), (3, 8, 50))):
            found = volume.read(box)
            assert found.dtype == expected.dtype
            assert found.dtype.isnative
            np.testing.assert_array_equal(found, expected[box.slices])


@pytest.mark.parametrize("codec", ["tiff_lzw", "packbits", "zstd", "lzma"])
def test_parts_of_what_pillow_packed_are_read(codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "LARGE", 100)
    pages = [Image.fromarray(plane) for plane in STACK]
    pages[0].save(tmp_path / "s.tif", save_all=True, append_images=pages[1:], compression=codec)
    np.testing.assert_array_equal(open_volume(tmp_path / "s.tif").read(BOX), STACK[BOX.slices])


def test_parts_of_planes_behind_each_other_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "LARGE", 100)
    description = tifffile.tifffile.imagej_description(STACK.shape, axes="ZYX")
    with tifffile.TiffWriter(tmp_path / "behind.tif", byteorder=">") as file:
        file.write(STACK[0], description=description, metadata=None)
    with (tmp_path / "behind.tif").open("ab") as raw:
        raw.write(STACK[1:].astype(">u2").tobytes())
    volume = open_volume(tmp_path / "behind.tif")
    assert volume.chunks == (1, 1, 50)
    np.testing.assert_array_equal(volume.read(BOX), STACK[BOX.slices])


@pytest.mark.parametrize(("options", "most"), [({}, 4 * 50 * 2), ({"tile": (16, 16), "compression": "zlib"}, 600)])
def test_a_part_of_a_large_plane_is_read_without_the_rest(
    options: dict, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planes, "LARGE", 100)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", lambda *_, **__: pytest.fail("a whole page is decoded"))
    tifffile.imwrite(tmp_path / "s.tif", STACK, photometric="minisblack", **options)
    volume, counts, real = open_volume(tmp_path / "s.tif"), [], tiff_codecs._bytes_at
    monkeypatch.setattr(tiff_codecs, "_bytes_at", lambda page, at, count: counts.append(count) or real(page, at, count))
    volume.read(Roi((0, 0, 0), (1, 4, 4)))
    assert 0 < sum(counts) <= most


def test_planes_that_are_decoded_whole_are_decoded_once_for_all_tiles(tmp_path: Path) -> None:
    class Counting:
        shape, dtype, is_folder, chunks, placement = STACK.shape, STACK.dtype, True, (1, 40, 50), None
        reads: list[Roi] = []

        def read(self, roi: Roi) -> np.ndarray:
            self.reads.append(roi)
            return STACK[roi.slices]

    kept = KeptPlanes(Counting(), most=2, folder=tmp_path)
    tiles = (((0, 0, 0), (2, 9, 9)), ((1, 9, 9), (2, 40, 50)), ((1, 3, 4), (3, 30, 20)), ((1, 30, 20), (3, 40, 50)))
    for box in (Roi(*tile) for tile in tiles):
        np.testing.assert_array_equal(kept.read(box), STACK[box.slices])
    assert Counting.reads == [Roi((z, 0, 0), (z + 1, 40, 50)) for z in range(3)]
    assert not list(tmp_path.iterdir())
