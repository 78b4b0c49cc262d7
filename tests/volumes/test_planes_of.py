"""Whole volumes plane by plane, and folders and files for what comes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from PIL import Image

from cdeep3m.errors import InputError
from cdeep3m.volumes import base, open_volume, planes_of, read_all
from cdeep3m.volumes.png import folder_for_planes, write_picture
from cdeep3m.volumes.tiff import write_stack
from octave_cases import hdf5_file, png_folder, tiff_stack

if TYPE_CHECKING:
    from pathlib import Path

ADDRESSES = np.arange(5 * 3 * 7, dtype=np.uint8).reshape(5, 3, 7)
MAKERS = {
    "folder": lambda path: png_folder(path, ADDRESSES),
    "stack": lambda path: tiff_stack(path.with_suffix(".tif"), ADDRESSES),
    "h5": lambda path: hdf5_file(path.with_suffix(".h5"), ADDRESSES),
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("at_once", [1, 21, 43, 2**24])
def test_planes_come_in_order_however_many_are_read_at_a_time(tmp_path: Path, monkeypatch, kind, at_once):
    monkeypatch.setattr(base, "AT_ONCE", at_once)
    volume = open_volume(MAKERS[kind](tmp_path / "v"))
    np.testing.assert_array_equal(np.stack(list(planes_of(volume))), ADDRESSES)
    np.testing.assert_array_equal(read_all(volume), ADDRESSES)


def test_no_more_voxels_are_read_at_a_time_than_agreed(monkeypatch):
    class Watched:
        shape = (5, 3, 7)
        dtype = np.dtype(np.uint8)
        is_folder = False

        def read(self, roi):
            assert roi.shape[0] <= 2
            return ADDRESSES[roi.slices]

    monkeypatch.setattr(base, "AT_ONCE", 42)
    np.testing.assert_array_equal(np.stack(list(planes_of(Watched()))), ADDRESSES)


def test_files_of_planes_are_numbered_from_1_and_the_folder_made(tmp_path: Path):
    files = folder_for_planes(tmp_path / "a" / "b", "P_{:04d}.png", 2)
    assert [path.name for path in files] == ["P_0001.png", "P_0002.png"]
    assert files[0].parent.is_dir()


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda home: home.touch(), "is a file; expected a folder"),
        (
            lambda home: (home.mkdir(), (home / "P_0003.png").touch()),
            "P_0003.png of a larger volume; expected 2",
        ),
    ],
)
def test_what_is_in_the_way_is_refused(tmp_path: Path, prepare, words):
    prepare(tmp_path / "out")
    with pytest.raises(InputError, match=words):
        folder_for_planes(tmp_path / "out", "P_{:04d}.png", 2)


def test_a_folder_that_is_read_is_refused_through_a_link_too(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(InputError, match="what is read"):
        folder_for_planes(tmp_path / "link", "P_{:04d}.png", 2, inputs=("nowhere", tmp_path / "in"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("planes", [1, 3, 4])
def test_stacks_have_a_page_a_plane_and_are_read_back(tmp_path: Path, dtype, planes):
    stack = np.arange(planes * 3 * 4, dtype=dtype).reshape(planes, 3, 4)
    write_stack(tmp_path / "s.tif", stack)
    with tifffile.TiffFile(tmp_path / "s.tif") as tiff:
        assert len(tiff.pages) == planes
    np.testing.assert_array_equal(read_all(open_volume(tmp_path / "s.tif", role="segmentation")), stack)


def test_pictures_are_in_colour(tmp_path: Path):
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    write_picture(tmp_path / "p.png", picture)
    image = Image.open(tmp_path / "p.png")
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), picture)
