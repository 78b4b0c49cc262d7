"""Averaging, scaling and ensembling, against numbers worked out by hand."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from cdeep3m.matlab_ports.ensemble_predictions import ensemble, octave_uint8
from cdeep3m.matlab_ports.merge_16_probs import (
    file_of_plane,
    mean_of_variants,
    to_uint16,
    wanted_files,
)
from cdeep3m.matlab_ports.merge_large_data import (
    crop_begin,
    scale_by_maximum,
    to_uint8,
    trusted_range,
)
from numpy.testing import assert_array_equal


def test_every_16_bit_value_survives_its_probability():
    values = np.arange(65536)
    assert_array_equal(to_uint16(values / 65535), values)


def test_probabilities_go_through_32_bits():
    p = np.array([2**-33 * 1.01, 32768.5 / 65535, np.nextafter(0.5, 0)])
    u32 = np.floor(p * (2**32 - 1) + 0.5)
    assert to_uint16(p).tolist() == np.rint(u32 / 65537).astype(int).tolist()


def test_what_is_no_probability_saturates():
    assert to_uint16(np.array([np.nan, -np.inf, np.inf, -1e-9, 1 + 1e-9])).tolist() == [0, 0, 65535, 0, 65535]


def test_the_mean_is_summed_in_double_in_the_order_given():
    planes = [np.float32([[0.1]]), np.float32([[0.7]]), np.float32([[0.3]])]
    expected = (np.float64(planes[0][0, 0]) + np.float64(planes[1][0, 0]) + np.float64(planes[2][0, 0])) / 3
    assert mean_of_variants(iter(planes))[0, 0] == expected
    assert planes[0][0, 0] == np.float32(0.1)


@pytest.mark.parametrize("layout", ["C", "F"])
def test_the_mean_of_planes_laid_out_alike_or_not_is_the_same(layout):
    planes = np.random.default_rng(0).random((5, 37, 41)).astype(np.float32)
    mixed = [plane.copy(order) for plane, order in zip(planes, f"{layout}FCFC", strict=True)]
    expected = planes[0].astype(np.float64)
    for plane in planes[1:]:
        expected = expected + plane
    assert_array_equal(mean_of_variants(mixed), expected / 5)


def test_a_plane_that_has_been_added_is_gone_when_the_next_one_is_made():
    class Plane(np.ndarray):
        """An array that can be looked for."""

    def planes():
        before = None
        for k in range(4):
            assert before is None or before() is None
            plane = np.full((2, 3), k, np.float32).view(Plane)
            before = weakref.ref(plane)
            yield plane
            del plane

    assert_array_equal(mean_of_variants(planes()), np.full((2, 3), 1.5))


def test_padding_planes_are_left_out_and_reversed_variants_read_backwards():
    assert list(wanted_files(9)) == [2, 3, 4, 5, 6]
    assert list(wanted_files(4)) == []
    assert [file_of_plane(2, variant, 9) for variant in (1, 8, 9, 16)] == [2, 2, 6, 6]


@pytest.mark.parametrize(("maximum", "scale"), [(0, 2), (1, 2), (3, 2), (6, 4), (191, 128), (192, 128), (193, 256)])
def test_the_original_scales_by_the_first_power_of_two_nearest_to_the_maximum(maximum, scale):
    assert scale_by_maximum(np.array([[0, maximum]], np.uint16)) == scale


def test_scaling_is_in_single_precision_and_rounds_halves_up():
    values = np.arange(65536, dtype=np.uint16)
    product = np.float32(255 / 65536) * values.astype(np.float32)
    expected = np.floor(product.astype(np.float64) + 0.5).clip(0, 255)
    assert_array_equal(to_uint8(values, 65536), expected)
    assert to_uint8(np.array([1, 2], np.uint8), 2).tolist() == [128, 255]


def test_an_uncut_volume_begins_after_the_reflected_voxels():
    assert [crop_begin(side) for side in (14, 1012, 1013, 1024)] == [12, 12, 0, 0]


def test_a_tile_is_trusted_12_voxels_from_its_inner_edges():
    assert trusted_range(988, 2012, 3000) == (1000, 2000)
    assert trusted_range(1988, 3000, 3000) == (2000, 3000)


def test_octave_rounds_halves_away_from_zero():
    assert octave_uint8(np.array([0.49, 0.5, 1.5, 2.5, 254.5, 255.5, -0.6])).tolist() == [0, 1, 2, 3, 255, 255, 0]


def test_an_ensemble_is_the_rounded_mean():
    planes = [np.array([[0, 1, 255]], np.uint8), np.array([[1, 1, 255]], np.uint8), np.array([[1, 2, 254]], np.uint8)]
    assert ensemble(planes).tolist() == [[1, 1, 255]]
    assert ensemble([np.array([[300]], np.uint16), np.array([[400]], np.uint16)]).tolist() == [[255]]


@pytest.mark.parametrize("nets", [1, 2, 3, 300])
def test_8_bit_maps_are_averaged_as_in_double(nets):
    planes = np.random.default_rng(nets).integers(0, 256, (nets, 256, 256), np.uint8)
    planes[-1], planes[:, 0, 0] = np.arange(256), 255
    expected = octave_uint8(planes.sum(0, dtype=np.float64) / nets)
    assert_array_equal(ensemble(list(planes)), expected)
    assert_array_equal(ensemble(list(planes.astype(np.uint16))), expected)
