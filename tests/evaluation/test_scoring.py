"""Scores against scikit-learn, scikit-image and counts made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cdeep3m.matlab_ports.snemi3d_metrics import Overlaps, overlaps
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy import ndimage
from skimage import measure, metrics
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, precision_recall_curve

from cdeep3m.errors import InputError
from cdeep3m.evaluation.border_zone import border_zone
from cdeep3m.evaluation.object_scores import Touching, resolved, score_objects
from cdeep3m.evaluation.precision_recall import precision_recall
from cdeep3m.evaluation.scoring import maps_in, score_instances, score_maps
from cdeep3m.geometry import to_caffe_axes
from cdeep3m.volumes.hdf5 import write_datasets


def write_planes(folder, planes):
    folder.mkdir(parents=True)
    for z, plane in enumerate(planes):
        Image.fromarray(plane).save(folder / f"plane_{z:03d}.png")
    return folder


@pytest.fixture
def volumes(tmp_path):
    """Maps that follow their labels with noise, and the folders of both."""
    rng = np.random.default_rng(5)
    labels = ndimage.gaussian_filter(rng.normal(size=(4, 60, 72)), (0.8, 5, 5))
    labels = labels > np.quantile(labels, 0.8)
    maps = np.clip(labels * 110 + rng.normal(70, 40, labels.shape), 0, 255).astype(np.uint8)
    folders = write_planes(tmp_path / "maps", maps), write_planes(tmp_path / "labels", labels.astype(np.uint8))
    return maps, labels, *folders


def count(maps, labels):
    return np.stack([np.bincount(maps[labels == kind], minlength=256) for kind in (False, True)])


def test_scores_are_those_of_scikit_learn(volumes):
    maps, labels, *folders = volumes
    found = score_maps(*folders, threshold=120)
    flat = labels.ravel(), maps.ravel() >= 120
    assert found.scores.f1 == pytest.approx(f1_score(*flat))
    assert found.scores.iou == pytest.approx(jaccard_score(*flat))
    assert found.curve.average_precision == pytest.approx(average_precision_score(labels.ravel(), maps.ravel()))


def test_curve_is_that_of_scikit_learn(volumes):
    maps, labels, *_ = volumes
    curve = precision_recall(count(maps, labels))
    precision, recall, thresholds = precision_recall_curve(labels.ravel(), maps.ravel())
    assert_array_equal(curve.thresholds, thresholds)
    assert_allclose(curve.precision, precision[:-1])
    assert_allclose(curve.recall, recall[:-1])


def test_planes_are_scored_one_by_one(volumes):
    maps, labels, *folders = volumes
    found = score_maps(*folders, threshold=100)
    expected = [f1_score(label.ravel(), plane.ravel() >= 100) for label, plane in zip(labels, maps, strict=True)]
    assert [plane.f1 for plane in found.planes] == pytest.approx(expected)


def test_best_threshold_is_chosen_on_these_voxels_only_when_that_is_asked_for(volumes):
    maps, labels, *folders = volumes
    usual, best = score_maps(*folders), score_maps(*folders, threshold=None)
    assert (usual.threshold, usual.chosen_here) == (128, False)
    scores = [f1_score(labels.ravel(), maps.ravel() >= threshold) for threshold in range(1, 256)]
    assert (best.threshold, best.chosen_here) == (1 + int(np.argmax(scores)), True)
    assert best.scores.f1 == pytest.approx(max(scores))


@pytest.mark.parametrize("ignored", [(0,), ()])
def test_object_measures_are_those_of_scikit_image(ignored):
    rng = np.random.default_rng(2)
    truth, found = (np.kron(rng.integers(0, 6, (3, 8, 8)), np.ones((1, 4, 4), int)) for _ in range(2))
    if not ignored:
        truth += 1
    scores = score_objects(overlaps(truth, found))
    error, *_ = metrics.adapted_rand_error(truth, found, ignore_labels=ignored)
    split, joined = metrics.variation_of_information(truth, found, ignore_labels=ignored)
    assert scores.rand_error == pytest.approx(error)
    assert (scores.split, scores.joined) == pytest.approx((split, joined))


def test_a_joined_pair_adds_to_what_is_joined_alone():
    scores = score_objects({(1, 1): 2, (2, 1): 2})
    assert (scores.joined, scores.split, scores.variation_of_information) == (1.0, 0.0, 1.0)
    assert (scores.true, scores.found, scores.matched) == (2, 1, 0)


def test_objects_are_those_of_scikit_image_with_26_neighbours(volumes):
    maps, labels, *folders = volumes
    found = score_maps(*folders, threshold=150)
    whole = (measure.label(volume, connectivity=3) for volume in (labels, maps >= 150))
    expected = score_objects(overlaps(*whole))
    assert found.objects == expected
    assert expected.true > 3


@given(arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6))))
@settings(max_examples=200, deadline=None)
def test_components_of_passing_planes_are_those_of_the_whole(volume):
    touching = Touching()
    numbers = np.stack([touching.number(plane) for plane in volume])
    whole, count = ndimage.label(volume, structure=np.ones((3, 3, 3)))
    pairs = {(touching.resolve(a), b) for a, b in zip(numbers.ravel().tolist(), whole.ravel().tolist(), strict=True)}
    assert touching.count == count == len({a for a, _ in pairs if a}) == len({p for p in pairs if p != (0, 0)})


def test_overlaps_of_parts_of_an_object_add_up():
    truth, found = Touching(), Touching()
    shared: Overlaps = Overlaps()
    ring = np.array([[1, 0, 1]], bool), np.array([[1, 1, 1]], bool)
    for plane in ring:
        shared.update(overlaps(truth.number(plane), found.number(plane)))
    assert sorted(resolved(shared, truth, found).values()) == [1, 5]


def test_zone_around_borders_does_not_count(tmp_path):
    label = np.zeros((1, 1, 9), np.uint8)
    label[..., 4:] = 1
    maps = np.where(label, 255, 0).astype(np.uint8)
    maps[..., 3] = 255  # one pixel too far
    folders = write_planes(tmp_path / "maps", maps), write_planes(tmp_path / "labels", label)
    assert score_maps(*folders).scores.false_positive == 1
    tolerant = score_maps(*folders, tolerance=1)
    assert (tolerant.scores.f1, tolerant.total.sum()) == (1.0, 7)


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))), st.sampled_from([0, 1, 1.5, 2, 3]))
@settings(max_examples=100, deadline=None)
def test_zone_holds_the_pixels_with_another_class_nearby(label, tolerance):
    points = np.argwhere(np.ones(label.shape, bool))
    squares = ((points[:, None] - points[None]) ** 2).sum(-1)
    other = label.ravel()[:, None] != label.ravel()[None]
    expected = (other & (squares <= tolerance**2)).any(1).reshape(label.shape)
    assert_array_equal(border_zone(label, tolerance), expected)


def test_region_is_a_box_or_a_volume(volumes, tmp_path):
    maps, labels, *folders = volumes
    inside = np.zeros(labels.shape, bool)
    inside[1:3, 10:50, 5:] = True
    mask = write_planes(tmp_path / "mask", inside.astype(np.uint8) * 9)
    of_box, of_mask = (score_maps(*folders, roi=roi) for roi in ("1:3,10:50,5:", str(mask)))
    assert_array_equal(of_box.total, count(maps[inside], labels[inside]))
    assert_array_equal(of_box.counts, of_mask.counts)
    assert of_box.objects == of_mask.objects


def test_instances_are_taken_as_they_are(tmp_path):
    truth, found = np.array([[[1, 1, 2, 2]]], np.uint8), np.array([[[7, 7, 7, 9]]], np.uint8)
    folders = write_planes(tmp_path / "found", found), write_planes(tmp_path / "truth", truth)
    scores = score_instances(*folders)
    assert (scores.true, scores.found, scores.matched) == (2, 2, 1)


def test_folder_of_a_prediction_means_its_ensemble(tmp_path):
    (tmp_path / "ensembled").mkdir()
    assert maps_in(tmp_path) == tmp_path / "ensembled"
    assert maps_in(tmp_path / "1fm") == tmp_path / "1fm"


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_maps_of_a_prediction_may_have_more_bits_and_be_one_file(volumes, tmp_path, dtype):
    maps, _, folder, labels = volumes
    (tmp_path / "predicted" / "ensembled").mkdir(parents=True)
    scaled = maps.astype(np.uint16) * 257 if dtype == "uint16" else maps.astype(np.float32) / 255
    path = tmp_path / "predicted" / "ensembled" / "Segmented.h5"
    write_datasets(path, {"data": to_caffe_axes(scaled)})
    assert maps_in(tmp_path / "predicted") == path
    found = score_maps(tmp_path / "predicted", labels, threshold=120)
    assert_array_equal(found.counts, score_maps(folder, labels, threshold=120).counts)


def test_nothing_found_and_nothing_there_is_nan_not_one(tmp_path):
    empty = np.zeros((1, 4, 4), np.uint8)
    scores = score_maps(write_planes(tmp_path / "maps", empty), write_planes(tmp_path / "labels", empty))
    assert math.isnan(scores.scores.f1)
    assert math.isnan(scores.objects.f1)
    assert math.isnan(scores.curve.average_precision)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"roi": "9:12,:,:"}, "holds no voxel"),
        ({"tolerance": -1}, "expected 0 or more"),
        ({"tolerance": 500}, "no voxel counts"),
    ],
)
def test_what_cannot_be_scored_is_refused(volumes, changes, said):
    *_, maps, labels = volumes
    with pytest.raises(InputError, match=said):
        score_maps(maps, labels, **changes)


def test_maps_of_other_sizes_and_types_are_refused(volumes, tmp_path):
    *_, maps, labels = volumes
    with pytest.raises(InputError, match="expected one size"):
        score_maps(write_planes(tmp_path / "small", np.zeros((4, 60, 71), np.uint8)), labels)
    with pytest.raises(InputError, match="uint16"):
        score_maps(write_planes(tmp_path / "deep", np.full((4, 60, 72), 300, np.uint16)), labels)
