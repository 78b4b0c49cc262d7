"""The canvas around a package, against the steps of PreprocessPackage.m done one by one."""

from __future__ import annotations

import numpy as np
import pytest
from cdeep3m.matlab_ports.preprocess_package import (
    CANVAS,
    axis_order,
    canvas,
    lose_last_voxel,
    padding_before,
    zero_fill_as_double,
)
from numpy.testing import assert_array_equal


def step_by_step(rows: list[int], *, at_edge: bool) -> list[int]:
    """Both reflections, as the original makes them one after the other."""
    if at_edge and len(rows) <= 1012:
        rows = rows[1:13][::-1] + rows
    if len(rows) < 1024:
        m, n = min(1024 - len(rows), 12), len(rows)
        rows = rows + rows[n - m - 1 : n - 1][::-1]
    return rows


@pytest.mark.parametrize("at_edge", [True, False])
@pytest.mark.parametrize("size", [13, 14, 26, 300, 999, 1000, 1001, *range(1010, 1025)])
def test_an_axis_is_reflected_as_in_the_original(size, at_edge):
    assert axis_order(size, at_edge=at_edge).tolist() == step_by_step(list(range(size)), at_edge=at_edge)


def test_rows_and_columns_are_independent_and_zeros_follow():
    planes = np.arange(1, 2 * 14 * 20 + 1, dtype=np.uint16).reshape(2, 14, 20)
    filled = canvas(planes, top=True, left=False)
    assert filled.shape == (2, CANVAS, CANVAS)
    assert filled.dtype == np.uint16
    assert_array_equal(filled[:, 12:26, :20], planes)
    assert_array_equal(filled[:, :12, :20], planes[:, 1:13][:, ::-1])
    assert_array_equal(filled[:, 12:26, 20:32], planes[:, :, 7:19][:, :, ::-1])
    assert_array_equal(filled[:, 26:38, :20], planes[:, 1:13][:, ::-1])
    assert not filled[:, 38:].any()
    assert not filled[:, :, 32:].any()


def test_a_full_canvas_is_not_copied():
    planes = np.zeros((1, CANVAS, CANVAS), np.uint8)
    assert canvas(planes, top=True, left=True) is planes
    assert zero_fill_as_double(planes, top=True, left=True) is planes


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, bool])
def test_the_image_s_type_is_kept_and_only_the_original_s_way_makes_it_double(dtype):
    planes = np.ones((1, 14, 1024), dtype)
    assert canvas(planes, top=True, left=True).dtype == dtype
    as_double = zero_fill_as_double(planes, top=True, left=True)
    assert as_double.dtype == np.float64
    assert_array_equal(as_double, canvas(planes, top=True, left=True))


@pytest.mark.parametrize("shape", [(1013, 1013), (1012, 1020), (1024, 1013)])
def test_without_zeros_there_is_no_double(shape):
    planes = np.ones((1, *shape), np.uint8)
    assert zero_fill_as_double(planes, top=True, left=True).dtype == np.uint8


def test_padding_in_front_only_where_there_is_room_and_the_volume_begins():
    assert [padding_before(size, at_edge=True) for size in (14, 1012, 1013, 1024)] == [12, 12, 0, 0]
    assert padding_before(14, at_edge=False) == 0


def test_folders_lose_the_last_row_and_column():
    assert lose_last_voxel((988, 2012)) == (988, 2011)
