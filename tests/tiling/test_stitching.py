"""Stitching: with a net whose probability is the voxel's own value the volume comes back."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cdeep3m.rules import ORIGINAL
from cdeep3m.tiling.grid import Tiling
from cdeep3m.tiling.stitching import (
    average,
    ensemble,
    laid_out_alike,
    paste,
    scale_by_dtype,
    to_png16,
    to_probability_map,
)
from cdeep3m.tiling.variants import VARIANTS, variants_for

HEIGHTS = [*range(14, 41), 300, *range(1000, 1041), *range(1999, 2031), 3001]
PAIRS = [(1013, 1500), (1500, 1013), (1024, 2012), (2012, 14), (1025, 1025), (300, 2001), (1040, 1999), (14, 14)]


def addresses(height, width):
    """A plane of 16 bits in which neighbours differ and nothing is symmetric."""
    y, x = np.indices((height, width), dtype=np.uint32)
    return ((y * 257 + x * 7919 + y * x) % 65521).astype(np.uint16)


def stitched(plane, tiling, through=lambda canvas: canvas):
    out = np.zeros(plane.shape, np.uint16)
    for package in tiling.packages:
        paste(out, package, through(package.canvas(plane[np.newaxis][package.read.slices])[0]))
    return out


@pytest.mark.parametrize("height", HEIGHTS)
def test_identity_returns_every_row(height):
    plane = addresses(height, 14)
    assert_array_equal(stitched(plane, Tiling.of((1, *plane.shape))), plane)


@pytest.mark.parametrize("width", HEIGHTS)
def test_identity_returns_every_column(width):
    plane = addresses(14, width)
    assert_array_equal(stitched(plane, Tiling.of((1, *plane.shape))), plane)


@pytest.mark.parametrize(("height", "width"), PAIRS)
def test_identity_returns_the_plane(height, width):
    plane = addresses(height, width)
    tiling = Tiling.of((1, height, width), folder_input=True)
    assert_array_equal(stitched(plane, tiling, lambda canvas: to_png16(canvas / 65535)), plane)


@pytest.mark.parametrize(("height", "width"), [(1025, 1500), (300, 200), (1024, 1013), (2012, 2012)])
def test_exact_mode_returns_the_plane_of_a_stack_where_the_original_is_right(height, width):
    plane = addresses(height, width)
    assert_array_equal(stitched(plane, Tiling.of((1, height, width), rules=ORIGINAL)), plane)


@pytest.mark.correction(3, "exact")
def test_exact_mode_leaves_13_black_rows_beside_a_cut_axis():
    plane = addresses(700, 1500) | 1
    out = stitched(plane, Tiling.of((1, 700, 1500), rules=ORIGINAL))
    assert not out[:13].any()
    assert_array_equal(out[13:], plane[13:])


@pytest.mark.parametrize("net", ["1fm", "3fm", "5fm"])
@pytest.mark.parametrize("speed", [1, 2, 4, 10])
def test_averaging_undoes_every_variant(net, speed):
    plane = addresses(6, 6).astype(np.float32) / 2**16
    shown = [(variant, variant.apply(plane[np.newaxis])[0]) for variant in variants_for(net, speed)]
    assert_array_equal(average(shown), plane)


def test_averaging_is_in_double():
    one_third = np.float32([[1 / 3]])
    total = np.float64(one_third[0, 0]) + 1 + 0
    mean = average(zip(VARIANTS, [one_third, np.float32([[1]]), np.float32([[0]])], strict=False))
    assert mean.dtype == np.float64
    assert mean[0, 0] == total / 3


@pytest.mark.correction(9, "corrected")
@pytest.mark.parametrize(("dtype", "top"), [(np.uint16, 65535), (np.uint8, 255)])
def test_9_one_scale_serves_all_planes(dtype, top):
    noise = np.array([[0, top // 64]], dtype)
    full = np.array([[top // 64, top]], dtype)
    assert to_probability_map(noise)[0, 1] == to_probability_map(full)[0, 0] in (3, 4)
    assert to_probability_map(full)[0, 1] in (254, 255)


@pytest.mark.correction(9, "exact")
def test_9_exact_mode_multiplies_the_noise_of_an_empty_plane():
    noise = np.array([[0, 1023]], np.uint16)
    assert to_probability_map(noise, rules=ORIGINAL).tolist() == [[0, 255]]
    assert to_probability_map(noise).tolist() == [[0, 4]]


@pytest.mark.correction(9, "same")
def test_9_a_plane_with_full_values_is_the_same_in_both_modes():
    plane = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert_array_equal(to_probability_map(plane), to_probability_map(plane, rules=ORIGINAL))


def test_an_ensemble_of_one_is_itself():
    plane = addresses(5, 7).astype(np.uint8)
    assert_array_equal(ensemble([plane]), plane)


@pytest.mark.parametrize("first", ["C", "F"])
@pytest.mark.parametrize("second", ["C", "F"])
def test_planes_laid_out_alike_have_the_same_values_and_the_order_of_the_first(first, second):
    plane = np.arange(600, dtype=np.float32).reshape(20, 30)
    given = plane.copy(first)[::-1, ::-1], plane.copy(second)[:, ::-1]
    made = list(laid_out_alike(given))
    for one, other in zip(made, given, strict=True):
        assert_array_equal(one, other)
        assert np.argsort(np.abs(one.strides)).tolist() == np.argsort(np.abs(given[0].strides)).tolist()


def test_no_plane_is_kept_while_later_ones_are_added():
    class Plane(np.ndarray):
        """An array that can be looked for."""

    made = []

    def planes():
        for k, order in enumerate("CFCF"):
            assert sum(plane() is not None for plane in made) <= 1, f"planes before number {k - 1} are in memory"
            plane = np.full((4, 6), k, np.float32).copy(order).view(Plane)
            made.append(weakref.ref(plane))
            yield VARIANTS[0], plane
            del plane

    assert_array_equal(average(planes()), np.full((4, 6), 1.5))


def test_the_corrected_scale_depends_on_the_type_alone():
    assert scale_by_dtype(np.zeros(1, np.uint16)) == 65536
    assert scale_by_dtype(np.zeros(1, np.uint8)) == 256
