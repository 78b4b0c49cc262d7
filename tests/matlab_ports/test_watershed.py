"""The watershed by ways of water against scikit-image's, which floods."""

from __future__ import annotations

import numpy as np
import pytest
from cdeep3m.matlab_ports.watershed import FAR, distances_down, ends, lowest_places, targets, watershed, with_lines
from numpy.testing import assert_array_equal
from scipy import ndimage
from skimage.segmentation import watershed as flooded


def landscape(seed: int, shape: tuple[int, int, int] = (9, 24, 30), *, heights: int | None = None) -> np.ndarray:
    """Smooth hills, as whole numbers up to `heights` where it is given: many flat places."""
    rough = np.random.default_rng(seed).standard_normal(shape)
    smooth = ndimage.gaussian_filter(rough, 1.5)
    if heights is None:
        return smooth
    return np.rint(heights * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.float64)


@pytest.mark.parametrize("seed", range(4))
def test_basins_of_different_heights_are_those_of_flooding_voxel_for_voxel(seed):
    heights = landscape(seed)
    assert_array_equal(watershed(heights), flooded(heights, connectivity=1))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("heights", "alike"), [(6, 0.9), (40, 0.95), (255, 0.99)])
def test_basins_of_equal_heights_are_those_of_flooding_but_for_ties_along_their_edges(seed, heights, alike):
    """The fewer heights there are, the more voxels can go either way."""
    volume = landscape(seed, heights=heights)
    found, other = watershed(volume), flooded(volume, connectivity=1)
    assert found.max() == other.max()
    assert (found == other).mean() > alike


def test_water_runs_off_a_flat_place_where_its_edge_is_nearest():
    heights = np.array([[[0.0, 5.0, 5.0, 5.0, 5.0, 5.0, 1.0]]])
    distances = distances_down(heights, np.full(heights.shape, FAR))
    assert distances.tolist() == [[[FAR, 0, 1, 2, 1, 0, FAR]]]
    assert watershed(heights).tolist() == [[[1, 1, 1, 1, 2, 2, 2]]]


def test_known_distances_of_elsewhere_go_on():
    known = np.array([[[7, FAR, FAR, FAR]]], np.int32)
    assert distances_down(np.full((1, 1, 4), 2.0), known).tolist() == [[[7, 8, 9, 10]]]


def test_of_equally_low_neighbours_the_steeper_one_is_taken():
    heights = np.array([[[0.0, 3.0, 4.0, 3.0, 2.0, 1.0]]])
    distances = distances_down(heights, np.full(heights.shape, FAR))
    assert targets(heights, distances).tolist() == [[[0, 0, 1, 4, 5, 5]]]


def test_a_volume_of_one_height_is_one_place():
    heights = np.full((2, 3, 4), 0.5)
    places, count = lowest_places(distances_down(heights, np.full(heights.shape, FAR)))
    assert count == 1
    assert (places == 1).all()
    assert (watershed(heights) == 1).all()


def test_ways_end_where_a_voxel_stays():
    way = np.append(np.arange(1, 1000), 999)
    assert (ends(way) == 999).all()


def test_of_two_neighbours_the_brighter_one_is_on_the_line():
    labels = np.array([[1, 2], [1, 2], [1, 2]])
    brightness = np.array([[0.1, 0.2], [0.2, 0.1], [0.3, 0.3]])
    assert with_lines(labels, brightness).tolist() == [[1, 0], [0, 2], [0, 2]]
