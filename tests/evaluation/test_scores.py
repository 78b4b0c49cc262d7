"""Scores against counts made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from cdeep3m.errors import InputError
from cdeep3m.evaluation.scores import HALF, Scores, best_threshold, count_values, count_volumes, score

MAPS = [np.array([[0, 127, 128], [200, 255, 10]], np.uint8), np.array([[255, 0, 128], [0, 0, 130]], np.uint8)]
LABELS = [np.array([[0, 1, 1], [0, 1, 0]], np.uint8), np.array([[255, 0, 0], [0, 255, 255]], np.uint8)]


def test_voxels_are_counted_over_all_planes_with_half_as_the_first_foreground_value():
    assert score(count_values(MAPS, LABELS)) == Scores(true_positive=4, false_positive=2, false_negative=2)


def test_threshold_moves_voxels_between_the_classes():
    counts = count_values(MAPS, LABELS)
    assert score(counts, threshold=127) == Scores(true_positive=5, false_positive=2, false_negative=1)
    assert score(counts, threshold=256) == Scores(true_positive=0, false_positive=0, false_negative=6)
    assert score(counts, threshold=0) == Scores(true_positive=6, false_positive=6, false_negative=0)


def test_best_threshold_is_the_lowest_of_those_with_the_highest_f1():
    counts = count_values(MAPS, LABELS)
    scores = [score(counts, threshold=t).f1 for t in range(256)]
    assert best_threshold(counts) == scores.index(max(scores)) == 11


def test_scores_without_foreground_are_nan_and_the_threshold_stays_at_half():
    counts = count_values([np.zeros((2, 3), np.uint8)], [np.zeros((2, 3), np.uint8)])
    assert math.isnan(score(counts).f1)
    assert math.isnan(score(counts).precision)
    assert math.isnan(score(counts).recall)
    assert best_threshold(counts) == HALF


def test_one_pass_over_iterators_is_enough():
    counts = count_values(iter(MAPS), iter(LABELS))
    np.testing.assert_array_equal(counts, count_values(MAPS, LABELS))
    assert counts.sum() == 12


@pytest.mark.parametrize(
    ("maps", "labels", "words"),
    [
        (MAPS, LABELS[:1], "ground truth end after 1"),
        (MAPS[:1], LABELS, "maps end after 1"),
        (MAPS, [label[:1] for label in LABELS], "plane 0"),
        ([MAPS[0].astype(np.uint16)], LABELS[:1], "uint16"),
    ],
)
def test_planes_that_do_not_fit_are_refused(maps, labels, words):
    with pytest.raises(InputError, match=words):
        count_values(maps, labels)


def test_maps_and_labels_on_disk_are_counted_as_in_memory(tmp_path):
    for name, planes in (("maps", MAPS), ("labels", LABELS)):
        (tmp_path / name).mkdir()
        for z, plane in enumerate(planes):
            Image.fromarray(plane if name == "maps" else (plane > 0).astype(np.uint8) * 255).save(
                tmp_path / name / f"{z}.png"
            )
    found = count_volumes(tmp_path / "maps", tmp_path / "labels")
    np.testing.assert_array_equal(found, count_values(MAPS, LABELS))
