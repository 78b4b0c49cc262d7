"""The adapted Rand error against pairs of voxels counted one by one, and against scikit-image."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from cdeep3m.matlab_ports.snemi3d_metrics import overlaps, snemi3d_metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import adapted_rand_error

BIG = 2**32 - 5

labels = st.lists(
    st.tuples(st.sampled_from([0, 0, 1, 2, BIG]), st.sampled_from([0, 3, 70000, 9])), min_size=1, max_size=24
)


def error(a, b) -> float:
    return snemi3d_metrics(overlaps(np.asarray(a), np.asarray(b))).error


def error_by_pairs(voxels: list[tuple[int, int]]) -> float:
    """1 - F-score over all ordered pairs of voxels that count, each voxel paired with itself too."""
    inside = [(a, b) for a, b in voxels if a != 0]
    same_a = sum(p[0] == q[0] for p, q in product(inside, repeat=2))
    same_b = sum(p[1] == q[1] != 0 for p, q in product(inside, repeat=2))
    same_both = sum(p[0] == q[0] and p[1] == q[1] != 0 for p, q in product(inside, repeat=2))
    lost = sum(b == 0 for _, b in inside) / len(voxels)
    if not inside:
        return 1.0
    precision, recall = (same_both + lost) / (same_b + lost), (same_both + lost) / same_a
    return 1 - 2 * precision * recall / (precision + recall)


@settings(deadline=None)
@given(labels)
def test_it_is_what_counting_pairs_of_voxels_gives(voxels):
    a, b = np.array(voxels, np.int64).T
    assert error(a, b) == pytest.approx(error_by_pairs(voxels), abs=1e-12)


@settings(deadline=None)
@given(labels, st.integers(0, 24))
def test_counts_of_parts_add_up_to_those_of_the_whole(voxels, cut):
    a, b = np.array(voxels, np.int64).T
    parts = overlaps(a[:cut], b[:cut])
    parts.update(overlaps(a[cut:], b[cut:]))
    assert parts == overlaps(a, b)


@settings(deadline=None)
@given(labels)
def test_it_is_scikit_image_s_error_where_every_voxel_belongs_to_an_object(voxels):
    """scikit-image leaves out the pairs of voxels with themselves, one for each of the n voxels, in both counts."""
    a, b = (np.unique(x, return_inverse=True)[1] + 1 for x in np.array(voxels, np.int64).T)
    n, pairs = len(voxels), [sum(np.bincount(x).astype(float) ** 2) for x in (a, b)]
    if min(pairs) > n:
        assert adapted_rand_error(a, b)[0] * (sum(pairs) - 2 * n) == pytest.approx(error(a, b) * sum(pairs), abs=1e-9)


def test_numbers_of_labels_do_not_matter():
    a, b = np.array([1, 1, 2, 2, 0, 3]), np.array([1, 2, 2, 2, 1, 3])
    assert error(a, b) == error(a * 1000 + 7 * (a > 0), BIG - b) > 0


@pytest.mark.parametrize(
    ("a", "b", "precision", "recall"),
    [
        ([1, 1, 1, 1], [5, 5, 5, 5], 1, 1),
        ([1, 1, 2, 2], [5, 5, 5, 5], 0.5, 1),
        ([1, 1, 1, 1], [5, 5, 6, 6], 1, 0.5),
        ([0, 1, 1, 0], [5, 5, 5, 6], 1, 1),
        ([1, 1, 1, 1], [0, 0, 0, 0], 1, 1 / 16),
        ([1, 1, 1, 0], [5, 5, 0, 0], 1, 4.25 / 9),
    ],
    ids=["equal", "joined", "split", "outside", "all lost", "one of four lost"],
)
def test_precision_falls_for_joined_objects_and_recall_for_split_or_lost_ones(a, b, precision, recall):
    scores = snemi3d_metrics(overlaps(np.array(a), np.array(b)))
    assert (scores.precision, scores.recall) == (precision, recall)
    assert scores.error == pytest.approx(1 - 2 * precision * recall / (precision + recall))


def test_ground_truth_without_objects_is_an_error_of_1():
    scores = snemi3d_metrics(overlaps(np.zeros(5, int), np.arange(5)))
    assert scores.error == 1
    assert math.isnan(scores.precision)


def test_counts_do_not_overflow():
    huge = 10**12
    assert snemi3d_metrics({(1, 1): huge, (2, 2): huge}).error == 0
    assert snemi3d_metrics({(1, 1): huge, (2, 1): huge}).precision == 0.5
