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
from cdeep3m.volumes import open_volume
from octave_cases import synth, tiff_folder

if TYPE_CHECKING:
    from pathlib import Path

STACK = synth(3, 40, 50, dtype="uint16")
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
    planes = [Image.fromarray(plane) for plane in STACK.astype(dtype)]
    planes[0].save(tmp_path / "s.tif", save_all=True, append_images=planes[1:], compression="tiff_lzw")
    read_in_process = subprocess.check_output([sys.executable, "-c", READ_WITHOUT_CODECS, tmp_path / "s.tif"])
    np.testing.assert_array_equal(np.frombuffer(read_in_process, dtype).reshape(STACK.shape), STACK.astype(dtype))


def test_a_folder_of_stacks_warns_that_only_first_pages_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tiff_folder(tmp_path / "i", [STACK, STACK + np.uint16(1)])
    np.testing.assert_array_equal(read(folder), [STACK[0], STACK[0] + np.uint16(1)])
    assert "has 3 pages" in caplog.text
