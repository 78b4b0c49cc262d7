"""Packages on disk."""

from __future__ import annotations

import logging

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cdeep3m.errors import InputError, MissingFileError
from cdeep3m.geometry import from_caffe_axes
from cdeep3m.prediction.over_files import prepare
from cdeep3m.prediction.over_files.prepare import (
    IMAGES,
    absolute,
    define_packages,
    images_of_packages,
    is_package_folder,
    preprocess_images,
    preprocess_package,
)
from cdeep3m.rules import CORRECTED, ORIGINAL
from cdeep3m.tiling.grid import Tiling
from cdeep3m.tiling.info_file import INFO, read_tiling
from cdeep3m.tiling.variants import variant, variants_for
from cdeep3m.volumes import open_volume
from cdeep3m.volumes.hdf5 import read_dataset
from octave_cases import hdf5_file, png_folder, synth, tiff_stack

VOLUME = synth(3, 20, 30, 5)
MAKERS = {
    "folder": lambda w, stack: png_folder(w / "my images.v1", stack),
    "stack": lambda w, stack: tiff_stack(w / "stack.tif", stack),
    "h5": lambda w, stack: hdf5_file(w / "stack.h5", stack),
}


@pytest.fixture
def images(tmp_path):
    return png_folder(tmp_path / "images", VOLUME)


@pytest.fixture
def aug(tmp_path, images):
    define_packages(images, tmp_path / "aug")
    return tmp_path / "aug"


def stack_in(folder, index):
    return from_caffe_axes(read_dataset(folder / f"image_stacks_v{index}.h5"))


def files_of(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", MAKERS)
def test_a_package_is_the_canvas_padded_and_turned(kind, tmp_path):
    source = MAKERS[kind](tmp_path, VOLUME)
    tiling = define_packages(source, tmp_path / "a b%d")
    folder = preprocess_package(source, tmp_path / "a b%d", 1, 1, "3fm", 4)
    package = tiling.packages[0]
    padded = package.canvas(VOLUME)[list(package.padded_planes)]
    assert files_of(folder) == sorted(["DONE", *(f"image_stacks_v{i}.h5" for i in (7, 8, 10, 12))])
    for index in (7, 8, 10, 12):
        assert_array_equal(stack_in(folder, index), variant(index).apply(padded))
        assert stack_in(folder, index).dtype == np.uint8


@pytest.mark.parametrize("rules", [ORIGINAL, CORRECTED])
def test_the_files_hold_what_a_stream_shows_the_net(rules, tmp_path):
    volume = synth(3, 20, 1030, 3)
    source = png_folder(tmp_path / "images", volume)
    package = define_packages(source, tmp_path / "aug", rules=rules).packages[1]
    folder = preprocess_package(source, tmp_path / "aug", 2, 1, "3fm", 4, rules=rules)
    _, rows, columns = package.read.slices
    for chosen in variants_for("3fm", 4):
        stack = stack_in(folder, chosen.index)
        window = package.canvas(volume[list(package.z_window(2, 5)), rows, columns])
        at = 2 if not chosen.reverses_planes else 0
        assert_array_equal(stack[at : at + 5], chosen.apply(window))
        assert stack.dtype == window.dtype


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("rules", [ORIGINAL, CORRECTED])
@pytest.mark.parametrize("planes", [3, 8])
def test_a_package_read_in_parts_is_the_same(kind, rules, planes, tmp_path, monkeypatch):
    source = MAKERS[kind](tmp_path, synth(planes, 20, 30, 3))
    source = f"{source}/" if source.is_dir() else source
    package = define_packages(source, tmp_path / "aug", rules=rules).packages[0]
    monkeypatch.setattr(prepare, "PART_BYTES", 5 * 20 * 30)
    monkeypatch.setattr(prepare, "CANVAS_BYTES", 2 * 1024**2)
    read = open_volume(source, rules=rules)
    expected = package.canvas(read.read(package.read))[list(package.padded_planes)]
    stack = prepare.padded_stack(read, package)
    assert stack.dtype == expected.dtype
    assert_array_equal(stack, expected)


def test_done_comes_last_and_goes_first(aug, images, monkeypatch):
    folder = preprocess_package(images, aug, 1, 1, "1fm", 10)
    monkeypatch.setattr(
        "cdeep3m.prediction.over_files.prepare.write_datasets",
        lambda *_, **options: (_ for _ in ()).throw(OSError(28, "full")),
    )
    with pytest.raises(OSError, match="full"):
        preprocess_package(images, aug, 1, 1, "1fm", 10)
    assert not (folder / "DONE").exists()


def test_variants_of_an_earlier_speed_are_removed(aug, images):
    preprocess_package(images, aug, 1, 1, "1fm", 4)
    folder = preprocess_package(images, aug, 1, 1, "1fm", 10)
    assert files_of(folder) == ["DONE", "image_stacks_v1.h5"]


@pytest.mark.correction(11, "exact", "corrected")
@pytest.mark.parametrize("rules", [ORIGINAL, CORRECTED])
def test_11_an_existing_file_keeps_its_shape_in_exact_mode_only(rules, tmp_path, images):
    aug = tmp_path / "aug"
    define_packages(images, aug, rules=rules)
    folder = aug / "1fm" / "Pkg001_Z01"
    folder.mkdir(parents=True)
    with h5py.File(folder / "image_stacks_v1.h5", "w") as file:
        file["data"] = np.full((4, 5, 9), 7, np.uint16)
    preprocess_package(images, aug, 1, 1, "1fm", 10, rules=rules)
    stack = stack_in(folder, 1)
    if rules is ORIGINAL:
        assert stack.shape == (9, 5, 4)
        assert stack.dtype == np.uint16
        assert (stack[7:] == 7).all()
        first_column = VOLUME[0, [*range(12, 0, -1), *range(8)], 12]
        assert_array_equal(stack[2].T.ravel(), first_column)
    else:
        assert stack.shape == (7, 1024, 1024)
        assert_array_equal(stack[2:5, 12:32, 12:42], VOLUME)


@pytest.mark.correction(8, "corrected")
def test_8_images_of_two_values_are_a_warning(tmp_path, caplog):
    source = png_folder(tmp_path / "labels", VOLUME // 128 * 255)
    define_packages(source, tmp_path / "aug")
    with caplog.at_level(logging.WARNING):
        preprocess_package(source, tmp_path / "aug", 1, 1, "1fm", 10)
    assert "only the values 0, 255: are they labels?" in caplog.text


@pytest.mark.correction(8, "exact")
def test_8_images_of_two_values_are_a_question_in_exact_mode(tmp_path):
    source = png_folder(tmp_path / "labels", VOLUME // 128 * 255)
    define_packages(source, tmp_path / "aug", rules=ORIGINAL)
    asked = []
    preprocess_package(source, tmp_path / "aug", 1, 1, "1fm", 10, rules=ORIGINAL, ask=asked.append)
    assert len(asked) == 1
    assert "are they labels?" in asked[0]


@pytest.mark.correction(8, "same")
@pytest.mark.parametrize("rules", [ORIGINAL, CORRECTED])
def test_8_other_images_are_no_question(rules, tmp_path, images, caplog):
    define_packages(images, tmp_path / "aug", rules=rules)
    preprocess_package(images, tmp_path / "aug", 1, 1, "1fm", 10, rules=rules, ask=pytest.fail)
    assert not caplog.records


@pytest.mark.correction(14, "exact", "corrected")
def test_14_a_folder_with_a_space_fails_in_exact_mode_only(tmp_path, images):
    define_packages(images, tmp_path / "a b", rules=ORIGINAL)
    with pytest.raises(InputError, match="space in its name"):
        preprocess_package(images, tmp_path / "a b", 1, 1, "1fm", 10, rules=ORIGINAL)
    assert preprocess_package(images, tmp_path / "a b", 1, 1, "1fm", 10).is_dir()


def test_other_images_than_those_divided_are_an_error(aug, tmp_path):
    other = png_folder(tmp_path / "other", synth(4, 20, 30, 5))
    with pytest.raises(InputError, match=r"3 x 20 x 30 voxels .* 4 x 20 x 30"):
        preprocess_package(other, aug, 1, 1, "1fm", 10)


def test_too_small_images_leave_nothing(tmp_path):
    source = png_folder(tmp_path / "images", synth(3, 13, 30, 5))
    with pytest.raises(InputError, match="smallest size"):
        define_packages(source, tmp_path / "aug")
    assert not (tmp_path / "aug").exists()


def test_prepared_images_are_found_again(tmp_path, images, monkeypatch):
    monkeypatch.chdir(tmp_path)
    preprocess_images("images", "aug")
    assert sorted(path.name for path in (tmp_path / "aug").glob("[!.]*")) == sorted(
        [INFO, IMAGES, "package_processing_info.txt"]
    )
    assert is_package_folder("aug")
    assert images_of_packages("aug") == str(images)
    assert read_tiling("aug") == Tiling.of(VOLUME.shape)


def test_a_folder_of_images_is_no_folder_of_packages(images):
    assert not is_package_folder(images)


def test_images_that_moved_are_an_error(tmp_path, images):
    preprocess_images(images, tmp_path / "aug")
    images.rename(tmp_path / "elsewhere")
    with pytest.raises(MissingFileError, match="no longer there"):
        images_of_packages(tmp_path / "aug")


def test_packages_without_their_images_are_an_error(aug):
    with pytest.raises(MissingFileError, match="does not name its images"):
        images_of_packages(aug)


def test_packages_are_written_when_they_are_asked_for(tmp_path, images):
    preprocess_images(images, tmp_path / "aug", nets=("1fm", "3fm"), speed=10)
    made = sorted(str(path.relative_to(tmp_path / "aug")) for path in (tmp_path / "aug").rglob("*.h5"))
    assert made == [f"{net}/Pkg001_Z01/image_stacks_v1.h5" for net in ("1fm", "3fm")]


def test_a_slash_at_the_end_stays():
    assert absolute("/a/b.c/") == "/a/b.c/"
    assert absolute("/a/b.c") == "/a/b.c"
    assert absolute("/") == "/"
