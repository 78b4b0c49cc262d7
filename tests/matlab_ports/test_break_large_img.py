"""Where volumes are cut."""

from __future__ import annotations

import itertools

import pytest
from cdeep3m.matlab_ports.add_z_padding import plane_order
from cdeep3m.matlab_ports.break_large_img import (
    axis_ranges,
    cuts,
    from_octave_area,
    tile_ranges,
    to_octave_area,
    z_cuts,
)


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (14, ((0, 14),)),
        (1024, ((0, 1024),)),
        (1025, ((0, 1012), (988, 1025))),
        (2000, ((0, 1012), (988, 2000))),
        (2012, ((0, 1012), (988, 2012), (1988, 2012))),
        (3050, ((0, 1012), (988, 2012), (1988, 3012), (2988, 3050))),
    ],
)
def test_tiles_overlap_by_24_voxels(side, expected):
    assert tile_ranges(side) == expected


def test_tiles_begin_every_1000_voxels():
    assert cuts(11000) == tuple(range(0, 11001, 1000))


def test_an_uncut_axis_beside_a_cut_one_begins_late_in_exact_mode_only():
    columns = ((0, 1012), (988, 1500))
    assert axis_ranges(700, 1500, skip_first=True) == (((1, 700),), columns)
    assert axis_ranges(700, 1500, skip_first=False) == (((0, 700),), columns)


@pytest.mark.parametrize(("height", "width"), [(700, 900), (1024, 1024), (1025, 1025), (1500, 2100)])
def test_other_volumes_are_divided_alike_in_both_modes(height, width):
    assert axis_ranges(height, width, skip_first=True) == axis_ranges(height, width, skip_first=False)


@pytest.mark.parametrize(
    ("planes", "octave"),
    [
        (1, [1, 1]),
        (100, [1, 100]),
        (101, [1, 101]),
        (105, [1, 105]),
        (106, [1, 101, 106]),
        (201, [1, 101, 201]),
        (205, [1, 101, 205]),
        (206, [1, 101, 201, 206]),
    ],
)
def test_z_blocks_are_the_original_s(planes, octave):
    assert list(z_cuts(planes))[1:] == octave[1:]
    assert z_cuts(planes)[0] == 0


def test_no_z_block_has_fewer_than_five_or_more_than_105_planes():
    sizes = {end - begin for planes in range(5, 1205) for begin, end in itertools.pairwise(z_cuts(planes))}
    assert (min(sizes), max(sizes)) == (5, 105)


def test_octave_areas_and_back():
    assert to_octave_area((988, 2012, 0, 14)) == (989, 2012, 1, 14)
    assert from_octave_area(to_octave_area((988, 2012, 0, 14))) == (988, 2012, 0, 14)


@pytest.mark.parametrize(
    ("planes", "expected"),
    [
        (1, (0, 0, 0, 0, 0)),
        (2, (0, 1, 0, 1, 0, 1)),
        (3, (2, 1, 0, 1, 2, 1, 0)),
        (5, (2, 1, 0, 1, 2, 3, 4, 3, 2)),
    ],
)
def test_padding_planes_reflect_the_z_block(planes, expected):
    assert plane_order(planes) == expected
