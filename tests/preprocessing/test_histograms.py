"""Volumes matched to a reference: files, types, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from cdeep3m.matlab_ports.histmatch import histmatch, histogram, mean_plane
from PIL import Image

from cdeep3m.errors import InputError, MissingFileError
from cdeep3m.preprocessing.histograms import match_images
from cdeep3m.rules import ORIGINAL
from octave_cases import png_folder, synth, tiff_stack

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.iterdir())}


@pytest.mark.correction(19, "corrected")
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("reference_dtype", ["uint8", "uint16"])
def test_every_plane_is_matched_to_the_mean_plane(tmp_path, dtype, reference_dtype):
    images, reference = synth(3, 20, 30, 1, dtype) // 4, synth(4, 25, 15, 2, reference_dtype) // 2
    count = match_images(
        png_folder(tmp_path / "in", images), tiff_stack(tmp_path / "ref.tif", reference), tmp_path / "new" / "out"
    )
    planes = written(tmp_path / "new" / "out")
    wanted = histogram(mean_plane(reference))
    assert count == 3
    assert list(planes) == ["Image_0001.png", "Image_0002.png", "Image_0003.png"]
    for plane, image in zip(planes.values(), images, strict=True):
        assert plane.dtype == reference_dtype
        np.testing.assert_array_equal(plane, histmatch(image, wanted))


def test_one_plane_matched_to_itself_stays_as_it_is(tmp_path):
    images = synth(1, 20, 30, 1)
    folder = png_folder(tmp_path / "in", images)
    match_images(folder, folder, tmp_path / "out")
    np.testing.assert_array_equal(written(tmp_path / "out")["Image_0001.png"], images[0])


@pytest.mark.correction(19, "exact")
def test_exact_mode_says_that_the_original_crashes(tmp_path):
    folder = png_folder(tmp_path / "in", synth(1, 20, 30, 1))
    with pytest.raises(InputError, match="original's Histmatch crashes"):
        match_images(folder, folder, tmp_path / "out", rules=ORIGINAL)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", ["in", "ref"])
def test_folders_that_are_read_are_not_written_to(tmp_path, target):
    folders = [png_folder(tmp_path / name, synth(1, 20, 30, 1), "Image_%04d.png") for name in ("in", "ref")]
    with pytest.raises(InputError, match="what is read"):
        match_images(*folders, tmp_path / target / ".." / target)
    np.testing.assert_array_equal(written(folders[0])["Image_0001.png"], synth(1, 20, 30, 1)[0])


def test_other_types_and_missing_volumes_are_refused(tmp_path):
    folder = png_folder(tmp_path / "in", synth(1, 20, 30, 1))
    wide = tmp_path / "f.h5"
    with h5py.File(wide, "w") as file:
        file["data"] = np.full((30, 20, 1), 70_000, np.int32)
    for pair in ((wide, folder), (folder, wide)):
        with pytest.raises(InputError, match="int32 values"):
            match_images(*pair, tmp_path / "out")
    with pytest.raises(MissingFileError):
        match_images(folder, tmp_path / "nope", tmp_path / "out")
    assert not (tmp_path / "out").exists()
