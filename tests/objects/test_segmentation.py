"""Objects from files to files, and their scores."""

from __future__ import annotations

import sys
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from cdeep3m.matlab_ports.apply_3d_watershed import apply_3d_watershed
from cdeep3m.matlab_ports.label2rgb import colour_table
from PIL import Image

from cdeep3m.errors import InputError, MissingExtraError
from cdeep3m.objects.segmentation import label_objects, score_segmentation
from cdeep3m.objects.slabs import Basins
from cdeep3m.rules import CORRECTED, ORIGINAL
from cdeep3m.volumes import open_volume, read_all
from octave_cases import hdf5_file, png_folder, synth, tiff_folder, tiff_stack

if TYPE_CHECKING:
    from pathlib import Path

    from cdeep3m.volumes import Volume

ROOMS = np.kron([[[0, 255, 0, 255, 0]]], np.ones((3, 6, 4))).astype(np.uint8)
"""Three dark rooms with bright walls of 4 voxels between them."""
RAW = synth(3, 6, 20, 1)
LABELS = (synth(2, 5, 7, 3) % 4).astype(np.uint8)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return png_folder(tmp_path / "maps", ROOMS), tiff_stack(tmp_path / "raw.tif", RAW)


def test_labels_are_a_stack_and_overlays_show_them_in_colour(folders, tmp_path):
    assert label_objects(*folders, tmp_path / "out") == 3
    labels = tifffile.imread(tmp_path / "out" / "labels.tif")
    np.testing.assert_array_equal(labels, apply_3d_watershed(ROOMS))
    assert labels.dtype == np.uint16
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "Overlay_0001.png",
        "Overlay_0002.png",
        "Overlay_0003.png",
        "labels.tif",
    ]
    picture = np.asarray(Image.open(tmp_path / "out" / "Overlay_0002.png"))
    np.testing.assert_array_equal(
        picture, np.rint(0.45 * colour_table(3)[labels[1]] + 0.55 * RAW[1][..., None]).astype(np.uint8)
    )


def test_images_of_16_bits_are_scaled_for_the_picture(folders, tmp_path):
    bright = tiff_stack(tmp_path / "bright.tif", RAW.astype(np.uint16) * 257)
    for name, raw in (("a", folders[1]), ("b", bright)):
        label_objects(folders[0], raw, tmp_path / name)
    pictures = [np.asarray(Image.open(tmp_path / name / "Overlay_0001.png")) for name in "ab"]
    np.testing.assert_array_equal(*pictures)


def test_depth_and_exact_mode_arrive(tmp_path):
    weak = np.where(ROOMS > 0, 60, 0).astype(np.uint8)
    weak[:, :, -4:] = 255
    maps, raw = png_folder(tmp_path / "maps", weak), png_folder(tmp_path / "raw", RAW)
    counts = [
        label_objects(maps, raw, tmp_path / f"{depth}{rules.name}", depth=depth, rules=rules)
        for depth in (0.1, 0.24)
        for rules in (CORRECTED, ORIGINAL)
    ]
    assert counts == [2, 3, 1, 2]


@pytest.mark.parametrize("depth", [0, 1, -0.2, float("nan")])
def test_depth_out_of_range_is_refused(folders, tmp_path, depth):
    with pytest.raises(InputError, match="between 0 and 1"):
        label_objects(*folders, tmp_path / "out", depth=depth)


def test_volumes_of_different_size_are_refused(folders, tmp_path):
    other = tiff_stack(tmp_path / "other.tif", RAW[:, :5])
    with pytest.raises(InputError, match=r"\(3, 6, 20\).*\(3, 5, 20\)"):
        label_objects(folders[0], other, tmp_path / "out")
    with pytest.raises(InputError, match=r"\(3, 6, 20\).*\(3, 5, 20\)"):
        score_segmentation(folders[0], other)
    assert not (tmp_path / "out").exists()


def test_planes_of_a_larger_volume_are_not_left_among_the_new_ones(folders, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "Overlay_0004.png").touch()
    with pytest.raises(InputError, match="Overlay_0004.png of a larger volume"):
        label_objects(*folders, tmp_path / "out")


def test_without_scikit_image_the_pip_command_is_named(folders, tmp_path, monkeypatch):
    for module in ("skimage", "skimage.morphology", "skimage.segmentation"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"scikit-image.*pip install 'cdeep3m\[watershed\]'"):
        label_objects(*folders, tmp_path / "out")


def test_more_objects_than_16_bits_can_count_take_32(tmp_path, monkeypatch):
    def many(maps: Volume, **_: object) -> Basins:
        labels = np.arange(prod(maps.shape)).reshape(maps.shape)
        return Basins(labels, np.zeros(maps.shape), int(labels.max()), [slice(0, 1)])

    monkeypatch.setattr("cdeep3m.objects.segmentation.find_basins", many)
    maps = png_folder(tmp_path / "maps", np.zeros((1, 257, 256), np.uint8))
    assert label_objects(maps, maps, tmp_path / "out") == 65791
    written = tifffile.imread(tmp_path / "out" / "labels.tif")
    assert written.dtype == np.uint32
    assert written.max() == 65791


KINDS = {
    "tif stack": lambda path, labels: tiff_stack(path.with_suffix(".tif"), labels),
    "tif folder": tiff_folder,
    "h5": lambda path, labels: hdf5_file(path.with_suffix(".h5"), labels),
    "png folder": png_folder,
}
TYPES = {"uint8": 1, "uint16": 9000, "uint32": 2**30, "float32": 65536}
"""Numbers that only this type holds are multiples of these."""


@pytest.mark.parametrize(
    ("kind", "dtype"), [(k, t) for k in KINDS for t in TYPES if k != "png folder" or t in ("uint8", "uint16")]
)
def test_labels_of_any_type_and_file_are_taken_as_they_are(tmp_path, kind, dtype):
    truth = tiff_stack(tmp_path / "truth.tif", LABELS)
    labels = LABELS.astype(np.int64) * TYPES[dtype]
    segmented = KINDS[kind](tmp_path / "segmented", labels.astype(dtype))
    np.testing.assert_array_equal(read_all(open_volume(segmented, role="segmentation")), labels)
    assert score_segmentation(truth, segmented).error == 0


def test_labels_that_differ_in_their_low_bits_alone_stay_apart(tmp_path):
    truth = tiff_stack(tmp_path / "a.tif", LABELS)
    segmented = tiff_stack(tmp_path / "b.tif", LABELS.astype(np.uint32) + 2**31)
    assert score_segmentation(truth, segmented).error == 0
    joined = tiff_stack(tmp_path / "c.tif", np.full(LABELS.shape, 2**31, np.uint32))
    assert score_segmentation(truth, joined).precision < 0.5


def test_two_labels_that_look_black_and_white_are_two_labels(tmp_path):
    truth = png_folder(tmp_path / "a", np.uint8([[[0, 1, 1, 1]]]))
    segmented = png_folder(tmp_path / "b", np.uint8([[[0, 255, 255, 255]]]))
    other = png_folder(tmp_path / "c", np.uint8([[[0, 1, 255, 255]]]))
    assert score_segmentation(truth, segmented).error == 0
    assert score_segmentation(truth, other).recall == pytest.approx(5 / 9)


def test_values_with_fractions_are_no_labels(tmp_path):
    truth = tiff_stack(tmp_path / "a.tif", LABELS)
    wrong = {
        "half": (LABELS + 0.5, "expected labels, in whole numbers"),
        "nan": (np.where(LABELS > 0, np.nan, LABELS), "expected (labels, in whole )?numbers"),
    }
    for name, (values, complaint) in wrong.items():
        fractions = tiff_stack(tmp_path / f"{name}.tif", values.astype(np.float32))
        with pytest.raises(InputError, match=complaint):
            score_segmentation(truth, fractions)
        with pytest.raises(InputError, match=complaint):
            score_segmentation(truth, hdf5_file(tmp_path / f"{name}.h5", values))


def test_score_counts_all_planes(tmp_path):
    truth, segmented = np.ones((3, 2, 2), np.uint8), np.ones((3, 2, 2), np.uint8)
    segmented[2] = 2
    scores = score_segmentation(tiff_stack(tmp_path / "a.tif", truth), tiff_stack(tmp_path / "b.tif", segmented))
    assert (scores.precision, scores.recall) == (1, (64 + 16) / 144)
