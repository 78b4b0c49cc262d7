"""Axes: every order of them leads to the same volume, and what is not said is asked for."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from cdeep3m.errors import InputError
from cdeep3m.geometry import Roi
from cdeep3m.volumes.axes import Layout, Selection, layout_of, refuse_unused

SIDES = {"t": 2, "c": 3, "z": 4, "y": 5, "x": 6}
ADDRESSES = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
ALL = Roi((0, 0, 0), (4, 5, 6))
NONE = Selection()


def stored_as(axes: str) -> np.ndarray:
    """The addresses, axes in another order; those that are left out are at their first index."""
    full = ADDRESSES[tuple(slice(None) if axis in axes else 0 for axis in "tczyx")]
    return full.transpose(["".join(a for a in "tczyx" if a in axes).index(axis) for axis in axes])


@pytest.mark.parametrize("axes", ["".join(order) for order in permutations("zyx")])
def test_every_order_of_three_axes_reads_the_same(axes: str) -> None:
    stored = stored_as(axes)
    layout = layout_of(stored.shape, axes, NONE, name="v")
    assert layout.shape == (4, 5, 6)
    np.testing.assert_array_equal(layout.arrange(stored[layout.index(ALL)]), ADDRESSES[0, 0])


@pytest.mark.parametrize("axes", ["".join(order) for order in permutations("tczyx")])
def test_every_order_of_five_axes_reads_the_channel_and_time_asked_for(axes: str) -> None:
    stored = stored_as(axes)
    layout = layout_of(stored.shape, axes, Selection(channel=2, time=1), name="v")
    box = Roi((1, 2, 3), (3, 5, 4))
    np.testing.assert_array_equal(layout.arrange(stored[layout.index(box)]), ADDRESSES[(1, 2, *box.slices)])


@pytest.mark.parametrize("axes", ["yx", "xy", "zyx", "xyz", "tyx", "cxyz", "yxc"])
def test_disarranged_values_go_back_to_where_they_came_from(axes: str) -> None:
    stored = stored_as(axes)
    layout = layout_of(stored.shape, axes, Selection(channel=0, time=0), name="v")
    whole = Roi((0, 0, 0), layout.shape)
    copy = np.full(stored.shape, -1)
    copy[layout.index(whole)] = layout.disarrange(layout.arrange(stored[layout.index(whole)]))
    np.testing.assert_array_equal(copy[layout.index(whole)], stored[layout.index(whole)])


def test_an_array_without_z_is_one_plane() -> None:
    layout = layout_of((5, 6), "yx", NONE, name="v")
    plane = stored_as("yx")
    assert layout.shape == (1, 5, 6)
    np.testing.assert_array_equal(layout.arrange(plane[layout.index(Roi((0, 1, 2), (1, 3, 4)))])[0], plane[1:3, 2:4])


def test_what_is_listed_for_stored_axes_is_found_for_space_and_back() -> None:
    layout = Layout((3, 4, 5, 2), "xyzc", {"c": 1})
    assert layout.in_space([8, 9, 30, 1], missing=1) == (30, 9, 8)
    assert Layout((4, 5), "yx").in_space([8, 9], missing=1) == (1, 8, 9)


def test_axes_that_nobody_names_are_asked_for() -> None:
    with pytest.raises(InputError, match=r"v.zarr has the shape \(4, 5, 6\) and does not say .* --axes zyx"):
        layout_of((4, 5, 6), None, NONE, name="v.zarr")


def test_the_user_s_axes_count_where_the_file_says_nothing() -> None:
    assert layout_of((6, 5, 4), None, Selection(axes="xyz"), name="v").shape == (4, 5, 6)


def test_the_user_s_axes_win_over_the_file_s_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert layout_of((4, 5, 6), "tyx", Selection(axes="zyx"), name="v.tif").shape == (4, 5, 6)
    assert "v.tif says that its axes are tyx; they are read as zyx" in caplog.text


def test_axes_that_agree_are_not_spoken_of(caplog: pytest.LogCaptureFixture) -> None:
    layout_of((4, 5, 6), "zyx", Selection(axes="zyx"), name="v")
    assert not caplog.text


@pytest.mark.parametrize("axes", ["zy", "zz", "zyxx", "abc", "zyxq", "", "ZYX"])
def test_axes_that_make_no_sense_are_refused(axes: str) -> None:
    with pytest.raises(InputError, match=r"--axes: found the axes"):
        Selection(axes=axes)


def test_axes_of_another_number_are_refused() -> None:
    with pytest.raises(InputError, match=r"3 axes, but --axes names 4 \(czyx\)"):
        layout_of((4, 5, 6), None, Selection(axes="czyx"), name="v")
    with pytest.raises(InputError, match=r"3 axes, but it names 2 \(yx\)"):
        layout_of((4, 5, 6), "yx", NONE, name="v")


def test_one_of_several_channels_or_times_has_to_be_chosen() -> None:
    with pytest.raises(InputError, match=r"holds 3 channels; .* --channel 0 to --channel 2"):
        layout_of((3, 4, 5, 6), "czyx", NONE, name="v")
    with pytest.raises(InputError, match=r"holds 2 times; .* --time 0 to --time 1"):
        layout_of((2, 4, 5, 6), "tzyx", NONE, name="v")


def test_the_only_channel_needs_no_choice_and_others_are_refused() -> None:
    assert layout_of((1, 4, 5, 6), "czyx", NONE, name="v").fixed == {"c": 0}
    assert layout_of((4, 5, 6), "zyx", Selection(channel=0), name="v").fixed == {}
    for shape, axes in (((1, 4, 5, 6), "czyx"), ((4, 5, 6), "zyx")):
        with pytest.raises(InputError, match=r"has channels 0 to 0; found --channel 1"):
            layout_of(shape, axes, Selection(channel=1), name="v")


def test_numbers_below_zero_are_refused() -> None:
    with pytest.raises(InputError, match=r"--time -1: expected a number from 0 on"):
        Selection(time=-1)


def test_unknown_axes_of_one_element_do_not_matter_and_longer_ones_do() -> None:
    layout = layout_of((1, 4, 5, 6), "qzyx", NONE, name="v")
    stored = stored_as("zyx")[None]
    np.testing.assert_array_equal(layout.arrange(stored[layout.index(ALL)]), stored[0])
    with pytest.raises(InputError, match=r"2 elements along an axis 'q'"):
        layout_of((2, 4, 5, 6), "qzyx", NONE, name="v")


def test_empty_arrays_are_refused() -> None:
    with pytest.raises(InputError, match="expected voxels along every axis"):
        layout_of((0, 5, 6), "zyx", NONE, name="v")


def test_files_without_channels_refuse_a_choice_of_them() -> None:
    refuse_unused(Selection(channel=0), name="v", kind="a folder of images")
    with pytest.raises(InputError, match="v is a folder of images and has no time 2; leave out --time"):
        refuse_unused(Selection(time=2), name="v", kind="a folder of images")
