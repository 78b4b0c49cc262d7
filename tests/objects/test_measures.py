"""What is measured of objects."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cdeep3m.objects.measures import at_border, combine, elongation, measure, surface, with_contacts

LABELS = np.array([[[1, 1, 0, 2], [1, 0, 0, 2]], [[0, 0, 4, 4], [0, 0, 0, 4]]])
VALUES = np.arange(16, dtype=np.uint8).reshape(2, 2, 4) * 10
NO_CONTACTS = np.zeros((0, 4), np.int64)


def by_hand(labels: np.ndarray, values: np.ndarray, label: int) -> dict[str, object]:
    place = np.argwhere(labels == label)
    apart = place - place.mean(axis=0)
    products = apart.T @ apart
    return {
        "voxels": len(place),
        "first": np.flatnonzero(labels == label)[0],
        "begin": place.min(axis=0),
        "end": place.max(axis=0) + 1,
        "sum": place.sum(axis=0),
        "scatter": products[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]],
        "total": values[labels == label].sum(dtype=float),
    }


@pytest.mark.parametrize("label", [1, 2, 4])
def test_an_object_is_measured_by_its_voxels(label):
    row = measure(LABELS, VALUES, 4, begin=(0, 0, 0), shape=LABELS.shape)[label - 1]
    for name, expected in by_hand(LABELS, VALUES, label).items():
        assert_allclose(row[name], expected, atol=1e-12, err_msg=name)


def test_a_label_without_voxels_has_zeros():
    row = measure(LABELS, VALUES, 4, begin=(0, 0, 0), shape=LABELS.shape)[2]
    assert not any(np.any(row[name]) for name in row.dtype.names)


def test_random_objects_are_measured_by_their_voxels():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, (5, 6, 7))
    values = rng.random(labels.shape, np.float32)
    rows = measure(labels, values, 5, begin=(0, 0, 0), shape=labels.shape)
    for label in range(1, 6):
        for name, expected in by_hand(labels, values, label).items():
            assert_allclose(rows[label - 1][name], expected, rtol=1e-6, atol=1e-9, err_msg=name)


def test_places_are_those_in_the_volume():
    row = measure(LABELS, VALUES, 4, begin=(10, 20, 30), shape=(50, 60, 70))[3]
    assert row["first"] == (11 * 60 + 20) * 70 + 32
    assert row["begin"].tolist() == [11, 20, 32]
    assert row["end"].tolist() == [12, 22, 34]
    assert row["sum"].tolist() == [33, 61, 98]


def test_faces_are_those_towards_others_within_the_block():
    rows = measure(LABELS, VALUES, 4, begin=(0, 0, 0), shape=LABELS.shape)
    assert rows["faces"].tolist() == [[3, 1, 2], [2, 0, 2], [0, 0, 0], [3, 1, 2]]


def test_faces_between_blocks_count_where_objects_differ():
    rows = np.zeros(2, measure(LABELS, VALUES, 4, begin=(0, 0, 0), shape=(2, 2, 4)).dtype)
    contacts = np.array([[0, 1, 2, 5], [0, 2, 1, 3], [2, -1, 0, 7], [-1, 0, 0, 1]])
    with_contacts(rows, np.array([0, 0, 1]), contacts)
    assert rows["faces"].tolist() == [[1, 3, 0], [7, 3, 0]]


def test_two_halves_add_up_to_the_whole():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, (6, 7, 8))
    values = rng.integers(0, 256, labels.shape).astype(np.uint8)
    whole = measure(labels, values, 3, begin=(0, 0, 0), shape=labels.shape)
    halves = np.concatenate(
        [
            measure(labels[:2], values[:2], 3, begin=(0, 0, 0), shape=labels.shape),
            measure(labels[2:], values[2:], 3, begin=(2, 0, 0), shape=labels.shape),
        ]
    )
    added = combine(halves, np.array([0, 1, 2, 0, 1, 2]), 3)
    for name in set(whole.dtype.names) - {"faces"}:
        assert_allclose(added[name], whole[name], rtol=1e-12, err_msg=name)


def ball(radius: float, size: int) -> np.ndarray:
    grid = np.ogrid[:size, :size, :size]
    return sum((axis - size / 2 + 0.3) ** 2 for axis in grid) <= radius**2


def test_the_surface_of_a_ball_is_that_of_geometry():
    labels = ball(20, 50).astype(np.int32)
    row = measure(labels, labels, 1, begin=(0, 0, 0), shape=labels.shape)
    assert surface(row, (1, 1, 1))[0] == pytest.approx(4 * np.pi * 20**2, rel=0.02)
    assert surface(row, (2, 2, 2))[0] == pytest.approx(4 * np.pi * 40**2, rel=0.02)
    assert elongation(row, (1, 1, 1))[0] == pytest.approx(1, abs=0.01)


def test_the_surface_of_a_flat_ball_takes_the_voxel_s_sides_into_account():
    labels = ball(20, 50)[::2].astype(np.int32)
    row = measure(labels, labels, 1, begin=(0, 0, 0), shape=labels.shape)
    assert surface(row, (2, 1, 1))[0] == pytest.approx(4 * np.pi * 20**2, rel=0.03)


def test_elongation_is_the_longest_axis_over_the_second():
    labels = np.ones((3, 4, 12), np.int32)
    row = measure(labels, labels, 1, begin=(0, 0, 0), shape=labels.shape)
    assert elongation(row, (1, 1, 1))[0] == pytest.approx(3)
    assert elongation(row, (1, 3, 1))[0] == pytest.approx(1)
    assert elongation(row, (8, 1, 1))[0] == pytest.approx(2)


def test_a_single_voxel_is_not_elongated():
    row = measure(np.ones((1, 1, 1), int), VALUES[:1, :1, :1], 1, begin=(0, 0, 0), shape=(1, 1, 1))
    assert elongation(row, (1, 1, 1))[0] == pytest.approx(1)


def test_border_is_every_face_of_the_volume():
    rows = measure(LABELS, VALUES, 4, begin=(4, 4, 4), shape=(9, 9, 8))
    assert_array_equal(at_border(rows[[0, 1, 3]], (9, 9, 8)), [False, True, True])
    assert_array_equal(at_border(rows[[0, 1, 3]], (6, 9, 9)), [False, False, True])
    rows["begin"][0, 1] = 0
    assert at_border(rows[:1], (9, 9, 9)).all()


def test_objects_of_large_volumes_have_exact_sums():
    far = (10**6, 2 * 10**6, 3 * 10**6)
    row = measure(np.ones((2, 2, 2), int), VALUES[:, :, :2], 1, begin=far, shape=tuple(2 * n for n in far))
    assert (row["sum"][0] * 2 == 8 * (2 * np.array(far) + 1)).all()
    assert row["scatter"][0].tolist() == [2, 2, 2, 0, 0, 0]
    assert combine(row, np.array([0]), 1)["scatter"][0].tolist() == [2, 2, 2, 0, 0, 0]


def test_nothing_is_measured_where_there_is_nothing():
    rows = measure(np.zeros((2, 2, 2), int), VALUES[:, :, :2], 0, begin=(0, 0, 0), shape=(2, 2, 2))
    assert len(rows) == 0
    assert len(combine(rows, np.zeros(0, int), 0)) == 0
    assert len(with_contacts(rows, np.zeros(0, int), NO_CONTACTS)) == 0
