"""What a training notes about its data."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from cdeep3m.engines.base import LabelledVolume
from cdeep3m.training.facts import facts_of
from cdeep3m.volumes.hdf5 import write_datasets
from cdeep3m.volumes.samples import data_uri, reduced, sampled_planes, to_8_bits


def picture(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))))


@pytest.fixture
def volume():
    rng = np.random.default_rng(1)
    data = rng.integers(20, 200, (40, 30, 6)).astype(np.uint8)
    label = np.zeros_like(data)
    label[:, 5:8] = 1
    return LabelledVolume(data, label)


def check(facts, volume, dtype="uint8"):
    assert (facts["shape"], facts["type"], facts["foreground"]) == ([6, 30, 40], dtype, pytest.approx(0.1))
    assert 20 <= min(np.nonzero(facts["histogram"])[0]) < 40
    assert 180 < max(np.nonzero(facts["histogram"])[0]) < 200
    patch = facts["patches"][0]
    assert (patch["plane"], picture(patch["image"]).shape) == (1, (30, 40))
    if dtype == "uint8":
        np.testing.assert_array_equal(picture(patch["image"]), volume.data[:, :, 0].T)
    np.testing.assert_array_equal(picture(patch["label"]) > 0, volume.label[:, :, 0].T > 0)


def test_facts_of_volumes_in_memory(tmp_path, volume):
    facts = facts_of(tmp_path, [volume], [volume])
    check(facts, volume)
    assert facts["validation"] is False
    other = LabelledVolume(volume.data.copy(), volume.label)
    assert facts_of(tmp_path, [volume], [other])["validation"] is True


def test_an_object_that_no_sample_meets_is_foreground(tmp_path, volume):
    label = np.zeros_like(volume.label)
    label[1:3, :8, 0] = 1
    assert facts_of(tmp_path, [LabelledVolume(volume.data, label)], [])["foreground"] == pytest.approx(16 / label.size)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_facts_of_files_that_a_run_lists(tmp_path, volume, dtype):
    write_datasets(tmp_path / "v1.h5", {"data": volume.data.astype(dtype), "label": volume.label})
    for name in ("train_file.txt", "valid_file.txt"):
        (tmp_path / name).write_text(f"{tmp_path / 'v1.h5'}\n")
    facts = facts_of(tmp_path, (), ())
    check(facts, volume, dtype)
    assert facts["validation"] is False


@pytest.mark.parametrize("text", ["", "/absent.h5\n"])
def test_data_that_cannot_be_read_leave_the_facts_empty(tmp_path, text):
    (tmp_path / "train_file.txt").write_text(text)
    assert facts_of(tmp_path, (), ()) == {}


def test_patches_of_16_bits_use_the_range_that_they_have(tmp_path, volume):
    deep = LabelledVolume(volume.data.astype(np.uint16) + 1000, volume.label)
    image = picture(facts_of(tmp_path, [deep], ())["patches"][0]["image"])
    assert (image.min(), image.max()) == (0, 255)


def test_averages_of_whole_squares():
    plane = np.arange(12, dtype=np.uint8).reshape(3, 4) * 4
    assert reduced(plane, 4) is plane
    assert reduced(plane, 2).tolist() == [[10, 18]]
    np.testing.assert_array_equal(picture(data_uri(plane)), plane)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 0.5, 1, np.nan]), [0, 127, 255, 0]),
        (np.array([0, 256, 65535], np.uint16), [0, 1, 255]),
        (np.array([True, False]), [1, 0]),
    ],
)
def test_gray_values_of_any_type_fit_8_bits(values, expected):
    assert to_8_bits(values).tolist() == expected


def test_sampled_planes_are_read_alone(tmp_path):
    class Planes:
        shape = (9, 2, 3)

        def read(self, roi):
            assert roi.shape == (1, 2, 3)
            return np.full(roi.shape, roi.begin[0])

    assert [int(plane[0, 0]) for plane in sampled_planes(Planes(), 3)] == [0, 4, 8]


def filled(volume):
    data, label = (np.zeros((325, 325, 6), np.uint8) for _ in range(2))
    data[:40, -30:], label[:40, -30:] = volume.data, volume.label
    return LabelledVolume(data, label)


def test_zeros_that_fill_short_sides_are_not_what_a_net_is_trained_on(tmp_path, volume):
    check(facts_of(tmp_path, [filled(volume)], []), volume)


def test_a_blank_volume_of_the_filled_size_is_told_as_it_is(tmp_path):
    blank = LabelledVolume(np.zeros((325, 325, 2), np.uint8), np.zeros((325, 325, 2), np.uint8))
    assert facts_of(tmp_path, [blank], [])["shape"] == [2, 325, 325]


def test_gray_values_of_several_volumes_are_told_apart(tmp_path, volume):
    dark = LabelledVolume(volume.data // 10, volume.label)
    facts = facts_of(tmp_path, [volume, dark], [])
    check(facts, volume)
    (other,) = facts["other_histograms"]
    assert max(np.nonzero(other)[0]) < 20


def test_of_files_one_of_each_volume_is_looked_at(tmp_path, volume):
    for number, factor in ((1, 1), (2, 10)):
        for variant in (1, 2):
            path = tmp_path / f"training_full_stacks_v{number}_{variant}.h5"
            write_datasets(path, {"data": volume.data // factor, "label": volume.label})
    files = sorted(tmp_path.glob("*.h5"))
    (tmp_path / "train_file.txt").write_text("".join(f"{file}\n" for file in files))
    (tmp_path / "valid_file.txt").write_text(f"{files[0]}\n")
    facts = facts_of(tmp_path, (), ())
    assert (len(facts["other_histograms"]), facts["volumes"]) == (1, 4)
    assert max(np.nonzero(facts["other_histograms"][0])[0]) < 20
