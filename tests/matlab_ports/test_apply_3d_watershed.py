"""The watershed against what Octave's own functions gave, and its two deviations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cdeep3m.matlab_ports.apply_3d_watershed import (
    apply_3d_watershed,
    fill_shallow_basins,
    gaussian_kernel,
    smooth,
)
from numpy.testing import assert_array_equal
from scipy import ndimage

from octave_cases import digest

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "octave_watershed.json").read_text())
MODES = pytest.mark.parametrize(("exact", "mode"), [(True, "exact"), (False, "corrected")])


def volume(planes: list[list[str]]) -> np.ndarray:
    return np.array([[row.split() for row in plane] for plane in planes]).astype(np.int64)


MAPS = volume(GOLDEN["maps"]).astype(np.uint8)


def two_rooms(wall: float = 1.0) -> np.ndarray:
    """Two dark rooms of 3 x 4 x 2 voxels with a bright wall between them; every voxel differs a little."""
    rooms = 0.001 * np.arange(3 * 4 * 5, dtype=np.float64).reshape(3, 4, 5)
    rooms[:, :, 2] += wall
    return rooms


@MODES
def test_shallow_basins_are_filled_as_octave_fills_them_to_the_last_bit(exact, mode):
    smoothed = np.stack([smooth(plane / 255, exact=exact) for plane in MAPS])
    assert digest(fill_shallow_basins(smoothed, 0.15, exact=exact)) == GOLDEN["filled"][mode]


@MODES
def test_objects_are_those_of_octave(exact, mode):
    ours, octave = apply_3d_watershed(MAPS, exact=exact), volume(GOLDEN["labels"][mode])
    inside = (ours > 0) & (octave > 0)
    pairs, voxels = np.unique(np.stack([octave[inside], ours[inside]]), axis=1, return_counts=True)
    assert ours.max() == octave.max()
    assert inside.mean() > 0.75
    best = [voxels[pairs[0] == label].max() for label in range(1, octave.max() + 1)]
    assert sum(best) / inside.sum() > 0.998
    assert len({pairs[1][pairs[0] == label][voxels[pairs[0] == label].argmax()] for label in pairs[0]}) == octave.max()


def test_the_kernel_is_the_mean_of_four_pixels():
    kernel = gaussian_kernel()
    assert kernel.shape == (6, 6)
    assert (kernel[2:4, 2:4] == 0.25).all()
    assert kernel.sum() == 1
    assert 0 < np.delete(kernel.ravel(), [14, 15, 20, 21]).max() < 1e-39


@MODES
def test_edges_see_zeros_in_exact_mode_and_themselves_otherwise(exact, mode):
    plane = np.array([[1, 2, 3], [5, 8, 13]], np.float64)
    edge = [[4, 6.5, 4], [3.25, 5.25, 3.25]] if exact else [[4, 6.5, 8], [6.5, 10.5, 13]]
    assert_array_equal(smooth(plane, exact=exact), edge)


@pytest.mark.parametrize(("exact", "objects"), [(True, 3), (False, 2)])
def test_a_wall_along_the_last_column_is_no_object(exact, objects):
    rooms = np.concatenate([two_rooms(), np.ones((3, 4, 2))], axis=2)
    assert apply_3d_watershed(rooms, exact=exact).max() == objects


@pytest.mark.parametrize(("exact", "minima"), [(True, 2), (False, 1)])
def test_a_dent_that_touches_a_basin_at_a_corner_is_no_basin_of_its_own(exact, minima):
    """Diagonal voxels are among the 26 neighbours of each other, but not among the 6 that the watershed knows."""
    floor = np.full((1, 3, 3), 0.18)
    floor[0, 0, 0], floor[0, 1, 1] = 0.0, 0.05
    filled = fill_shallow_basins(floor, 0.15, exact=exact)
    assert ndimage.label(filled < 0.16)[1] == minima
    assert filled[0, 1, 1] == pytest.approx(0.15 if exact else 0.18)


@pytest.mark.parametrize("exact", [True, False])
def test_rooms_far_from_the_edges_come_out_alike(exact):
    rooms = np.pad(two_rooms(), 1, constant_values=0.3)
    rooms[:, :, -2:], rooms[:, -2:] = 0, 0
    assert_array_equal(apply_3d_watershed(rooms, exact=exact), apply_3d_watershed(rooms))


@pytest.mark.parametrize(("depth", "objects"), [(0.1, 2), (0.4, 2), (0.55, 1)])
def test_a_wall_separates_where_it_is_higher_than_the_depth(depth, objects):
    assert apply_3d_watershed(two_rooms(wall=1.0), depth=depth).max() == objects


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_maps_of_any_type_count_from_0_to_1(dtype):
    rooms = np.clip(two_rooms(), 0, 1)
    maps = rooms.astype(dtype) if dtype == np.float32 else np.rint(rooms * np.iinfo(dtype).max).astype(dtype)
    assert apply_3d_watershed(maps).max() == 2


@pytest.mark.parametrize("value", [0, 100, 255])
def test_a_volume_without_boundaries_is_one_object(value):
    assert (apply_3d_watershed(np.full((2, 3, 4), value, np.uint8)) == 1).all()


def test_no_two_objects_touch():
    labels = apply_3d_watershed(MAPS)
    for axis in range(3):
        pairs = np.stack([np.delete(labels, -1, axis), np.delete(labels, 0, axis)])
        assert ((pairs[0] == pairs[1]) | (pairs == 0).any(axis=0)).all()
