"""Packages: what they read and write, what the net sees, and the files that describe them."""

from __future__ import annotations

import dataclasses
import itertools
import time
import timeit

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from address_volumes import DEPTHS, SIDES
from cdeep3m.errors import FormatError, InputError, MissingFileError
from cdeep3m.geometry import Roi
from cdeep3m.rules import CORRECTED, ORIGINAL
from cdeep3m.tiling.grid import Tiling
from cdeep3m.tiling.info_file import COUNTS, INFO, counts_text, info_text, read_tiling, write_tiling


def addresses(shape):
    return np.arange(np.prod(shape), dtype=np.uint32).reshape(shape)


def axis(packages, i):
    """What packages read and write along axis i, each range once."""
    return sorted({(p.read.begin[i], p.read.end[i], p.write.begin[i], p.write.end[i]) for p in packages})


# What packages cover


@pytest.mark.parametrize("side", SIDES)
def test_write_rois_cover_every_voxel_of_an_axis_once(side):
    ranges = axis(Tiling.of((1, side, 14)).packages, 1)
    assert ranges[0][2] == 0
    assert ranges[-1][3] == side
    assert all(a[3] == b[2] for a, b in itertools.pairwise(ranges))


@pytest.mark.parametrize("side", SIDES)
def test_a_write_roi_has_its_halo_inside_the_read_roi(side):
    for begin, end, write_begin, write_end in axis(Tiling.of((1, 14, side)).packages, 2):
        assert 0 <= begin <= write_begin - 12 * (begin > 0)
        assert write_end + 12 * (end < side) <= end <= side


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_plane_belongs_to_one_z_block(depth):
    packages = Tiling.of((depth, 14, 1025)).packages
    assert [len(Tiling.of((depth, 14, 1025)).packages_at(z)) for z in range(depth)] == [2] * depth
    assert sum(len(package.planes) for package in packages) == 2 * depth


def test_packages_come_tile_after_tile_through_all_z_blocks():
    names = [package.name for package in Tiling.of((206, 14, 1025)).packages]
    assert names == [f"Pkg{tile:03d}_Z{z:02d}" for tile in (1, 2) for z in (1, 2, 3)]


def test_a_package_that_is_not_there_is_named():
    with pytest.raises(InputError, match="no package 3 of z-block 1.*2 packages and 1 z-blocks"):
        Tiling.of((3, 14, 1025)).package(3, 1)


# What the net sees


@pytest.mark.parametrize(
    "shape", [(20, 30), (1012, 14), (1013, 40), (1024, 1024), (1500, 14), (14, 2012), (1025, 1030)]
)
def test_the_canvas_holds_what_is_written_where_canvas_write_says(shape):
    volume = addresses((1, *shape))
    for package in Tiling.of(volume.shape).packages:
        canvas = package.canvas(volume[package.read.slices])
        assert canvas.shape == (1, 1024, 1024)
        assert_array_equal(canvas[0][package.canvas_write], volume[package.write.slices][0])


@pytest.mark.parametrize(
    ("shape", "sides"),
    [((20, 30), (64, 64)), ((512, 1000), (544, 1024)), ((1013, 40), (1024, 64)), ((14, 2012), (64, 1024))],
)
def test_a_canvas_that_fits_holds_the_same_in_fewer_zeros(shape, sides):
    volume = addresses((1, *shape))
    for package, whole in zip(*(Tiling.of(volume.shape, fit=fit).packages for fit in (True, False)), strict=True):
        canvas, large = (p.canvas(volume[p.read.slices])[0] for p in (package, whole))
        assert canvas.shape[0] <= sides[0]
        assert canvas.shape[1] <= sides[1]
        assert not any(side % 32 for side in canvas.shape)
        height, width = canvas.shape
        assert_array_equal(canvas, large[:height, :width])
        assert not large[height:].any()
        assert not large[:, width:].any()
        assert_array_equal(canvas[package.canvas_write], volume[package.write.slices][0])


def test_a_canvas_that_fits_is_not_the_original_s():
    with pytest.raises(InputError, match="--exact or --fit"):
        Tiling.of((3, 20, 30), rules=ORIGINAL, fit=True)


def test_the_canvas_refuses_planes_of_another_size():
    with pytest.raises(ValueError, match=r"\(20, 31\).*\(20, 30\)"):
        Tiling.of((1, 20, 30)).packages[0].canvas(np.zeros((1, 20, 31)))


@pytest.mark.parametrize("frames", [1, 3, 5])
@pytest.mark.parametrize("depth", [1, 2, 3, 7, 106])
def test_a_window_is_the_neighbourhood_in_the_padded_z_block(depth, frames):
    for package in Tiling.of((depth, 14, 14)).packages:
        for k, z in enumerate(package.planes):
            window = package.z_window(z, frames)
            assert window[frames // 2] == z
            assert window == package.padded_planes[k + 2 - frames // 2 : k + 2 + (frames + 1) // 2]


def test_windows_do_not_leave_their_z_block():
    first, second = Tiling.of((106, 14, 14)).packages
    assert first.z_window(100, 5) == (98, 99, 100, 99, 98)
    assert second.z_window(101, 5) == (103, 102, 101, 102, 103)
    assert second.z_window(105, 3) == (104, 105, 104)


def test_a_net_of_more_frames_than_the_padding_allows_is_refused():
    with pytest.raises(InputError, match="sees 7 planes"):
        Tiling.of((9, 14, 14)).packages[0].z_window(4, 7)


def test_a_plane_of_another_z_block_is_our_own_mistake():
    with pytest.raises(ValueError, match="plane 101"):
        Tiling.of((106, 14, 14)).packages[0].z_window(101, 3)


# Corrections, by number: exact mode shows the defect, corrected mode does not; where it does not apply both agree


def in_both_modes(shape, *, folder_input=False):
    return tuple(Tiling.of(shape, rules=rules, folder_input=folder_input).packages for rules in (ORIGINAL, CORRECTED))


@pytest.mark.correction(1, "exact", "corrected")
def test_1_folders_lose_the_last_row_and_column_in_exact_mode_only():
    exact, corrected = in_both_modes((3, 1500, 20), folder_input=True)
    assert axis(exact, 1)[1] == (988, 1499, 1000, 1500)
    assert axis(exact, 2)[0][1] == 19
    assert axis(corrected, 1)[1] == (988, 1500, 1000, 1500)
    assert axis(corrected, 2)[0][1] == 20


@pytest.mark.correction(1, "exact")
def test_1_the_lost_last_row_repeats_the_one_before_the_last_but_one():
    plane = addresses((1, 40, 1024))
    package = Tiling.of(plane.shape, rules=ORIGINAL, folder_input=True).packages[0]
    canvas = package.canvas(plane[package.read.slices])[0]
    assert_array_equal(canvas[package.canvas_write][39, :1023], plane[0, 37, :1023])


@pytest.mark.correction(1, "same")
@pytest.mark.parametrize("shape", [(3, 1500, 1030), (3, 400, 30), (106, 1024, 1024), (5, 2012, 1100)])
def test_1_stacks_are_read_alike_in_both_modes(shape):
    exact, corrected = in_both_modes(shape)
    assert [package.read for package in exact] == [package.read for package in corrected]


@pytest.mark.correction(2, "exact", "corrected")
def test_2_a_folder_of_1013_is_shifted_in_exact_mode_only():
    plane = addresses((1, 1013, 1013))
    exact, corrected = (packages[0] for packages in in_both_modes(plane.shape, folder_input=True))
    shifted = exact.canvas(plane[exact.read.slices])[0][exact.canvas_write]
    assert_array_equal(shifted[12:, 12:], plane[0, :1001, :1001])
    assert_array_equal(corrected.canvas(plane)[0][corrected.canvas_write], plane[0])


@pytest.mark.correction(2, "exact", "corrected")
@pytest.mark.parametrize("side", [2001, 3001])
def test_2_a_last_tile_of_12_voxels_fails_in_exact_mode_only(side):
    plane = addresses((1, side, 20))
    exact, corrected = (packages[-1] for packages in in_both_modes(plane.shape, folder_input=True))
    with pytest.raises(InputError, match="12 x .* voxels"):
        exact.canvas(plane[exact.read.slices])
    canvas = corrected.canvas(plane[corrected.read.slices])
    assert_array_equal(canvas[0][corrected.canvas_write], plane[corrected.write.slices][0])


@pytest.mark.correction(2, "same")
def test_2_stacks_of_1013_are_the_same_in_both_modes():
    plane = addresses((1, 1013, 1013))
    exact, corrected = (packages[0] for packages in in_both_modes(plane.shape))
    assert_array_equal(exact.canvas(plane), corrected.canvas(plane))
    assert exact.canvas_write == corrected.canvas_write == (slice(0, 1013), slice(0, 1013))


@pytest.mark.correction(3, "exact", "corrected")
@pytest.mark.parametrize("height", [14, 1012, 1013, 1024])
def test_3_an_uncut_axis_beside_a_cut_one_loses_13_voxels_in_exact_mode_only(height):
    exact, corrected = in_both_modes((1, height, 1500))
    assert {package.write.begin[1] for package in exact} == {13}
    assert {package.write.begin[1] for package in corrected} == {0}
    assert {package.write.end[1] for package in corrected} == {height}


@pytest.mark.correction(3, "same")
@pytest.mark.parametrize("shape", [(1, 1024, 1000), (1, 1500, 1025), (3, 2100, 3000)])
def test_3_volumes_cut_along_both_axes_or_none_are_written_alike(shape):
    exact, corrected = in_both_modes(shape)
    assert [(p.write, p.canvas_write) for p in exact] == [(p.write, p.canvas_write) for p in corrected]


@pytest.mark.correction(4, "corrected")
@pytest.mark.parametrize("shape", [(3, 13, 40), (3, 40, 13), (3, 5, 5), (3, 13, 2000)])
def test_4_small_sides_are_an_error_that_names_the_smallest_size(shape):
    with pytest.raises(InputError, match="smallest size is 14 x 14"):
        Tiling.of(shape)


@pytest.mark.correction(4, "exact")
def test_4_in_exact_mode_the_package_fails_and_not_the_tiling():
    package = Tiling.of((3, 13, 40), rules=ORIGINAL, folder_input=True).packages[0]
    with pytest.raises(InputError, match="12 x 39 voxels"):
        package.canvas(np.zeros((3, 12, 39)))


@pytest.mark.correction(4, "same")
def test_4_sides_of_14_are_read_shown_and_written_alike_in_both_modes():
    volume = addresses((3, 14, 14))
    exact, corrected = (packages[0] for packages in in_both_modes(volume.shape))
    assert (exact.read, exact.write, exact.canvas_write) == (corrected.read, corrected.write, corrected.canvas_write)
    assert_array_equal(exact.canvas(volume), corrected.canvas(volume))


@pytest.mark.correction(5, "exact", "corrected")
@pytest.mark.parametrize("depth", [1, 2])
def test_5_one_or_two_planes_fail_in_exact_mode_only(depth):
    exact, corrected = (packages[0] for packages in in_both_modes((depth, 14, 14)))
    with pytest.raises(InputError, match="needs 3"):
        _ = exact.padded_planes
    expected = np.pad(np.arange(depth), 2, mode="edge" if depth == 1 else "reflect")
    assert list(corrected.padded_planes) == list(expected)


@pytest.mark.correction(5, "same")
def test_5_more_planes_are_padded_alike():
    exact, corrected = in_both_modes((106, 14, 14))
    assert [package.padded_planes for package in exact] == [package.padded_planes for package in corrected]


@pytest.mark.correction(10, "exact", "corrected")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_10_zeros_make_doubles_in_exact_mode_only(dtype):
    exact, corrected = (packages[0].canvas(np.ones((3, 20, 30), dtype)) for packages in in_both_modes((3, 20, 30)))
    assert exact.dtype == np.float64
    assert corrected.dtype == dtype
    assert_array_equal(exact, corrected)


@pytest.mark.correction(10, "same")
def test_10_without_zeros_both_keep_the_type():
    for packages in in_both_modes((3, 1013, 1024)):
        assert packages[0].canvas(np.ones((3, 1013, 1024), np.uint8)).dtype == np.uint8


# Files


@pytest.mark.parametrize("shape", [(1, 20, 30), (206, 1024, 1500), (3, 2012, 1100), (106, 3050, 14)])
@pytest.mark.parametrize("rules", [ORIGINAL, CORRECTED])
def test_a_tiling_survives_its_files(shape, rules, tmp_path):
    tiling = Tiling.of(shape, rules=rules)
    write_tiling(tiling, tmp_path)
    assert read_tiling(tmp_path, rules=rules) == tiling
    assert {path.name for path in tmp_path.iterdir()} == {INFO, COUNTS}


def test_the_info_file_is_octave_s_text_format():
    assert info_text(Tiling.of((206, 1024, 1500), rules=ORIGINAL)).split("\n", 1)[1] == (
        "# name: packages\n# type: cell\n# rows: 1\n# columns: 2\n"
        "# name: <cell-element>\n# type: matrix\n# rows: 1\n# columns: 4\n 2 1024 1 1012\n\n\n\n"
        "# name: <cell-element>\n# type: matrix\n# rows: 1\n# columns: 4\n 2 1024 989 1500\n\n\n\n\n\n"
        "# name: num_of_pkg\n# type: scalar\n2\n\n\n"
        "# name: imagesize\n# type: matrix\n# rows: 1\n# columns: 3\n 1024 1500 206\n\n\n"
        "# name: z_blocks\n# type: matrix\n# rows: 1\n# columns: 4\n 1 101 201 206\n\n\n"
    )


def test_the_counts_file_is_the_original_s():
    text = counts_text(Tiling.of((206, 1024, 1500)))
    assert text == "\nNumber of XY Packages\n2\nNumber of z-blocks\n3"


def test_a_file_of_the_original_keeps_its_areas_in_corrected_mode(tmp_path):
    write_tiling(Tiling.of((3, 1024, 1500), rules=ORIGINAL), tmp_path)
    read = read_tiling(tmp_path)
    assert read.packages[0].read == Roi((0, 1, 0), (3, 1024, 1012))
    assert read.packages[0].write.begin == (0, 1, 0)


def test_white_space_order_and_further_variables_do_not_matter(tmp_path):
    (tmp_path / INFO).write_text(
        "# Created by Octave 4.2.2\r\n# name: z_blocks\r\n# type: matrix\r\n 1 101\t206.0\r\n"
        "# name: imagesize\n# type: matrix\n# rows: 1\n# columns: 3\n20 30 206\n"
        "# name: comment\n# type: string\n# elements: 1\n# length: 5\nhello\n"
        "# name: packages\n# type: cell\n# name: <cell-element>\n# type: matrix\n 1 20 1 30\n"
    )
    tiling = read_tiling(tmp_path)
    assert (tiling.shape, tiling.z_cuts) == ((206, 20, 30), (0, 101, 206))
    assert tiling.areas == ((0, 20, 0, 30),)


def test_without_the_info_file_the_error_says_how_to_make_it(tmp_path):
    with pytest.raises(MissingFileError, match="run DefDataPackages"):
        read_tiling(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        info_text(Tiling.of((3, 20, 30)))[:150],
        info_text(Tiling.of((3, 20, 30))).replace(" 1 3\n", " 1 4\n"),
        info_text(Tiling.of((3, 20, 30))).replace("scalar\n1", "scalar\n2"),
        info_text(Tiling.of((206, 20, 30))).replace(" 1 101 201", " 1 201 101"),
    ],
)
def test_a_damaged_info_file_is_an_error(text, tmp_path):
    (tmp_path / INFO).write_text(text)
    with pytest.raises(FormatError, match="Run DefDataPackages again"):
        read_tiling(tmp_path)


def test_a_tiling_is_a_value():
    tiling = Tiling.of((3, 20, 30))
    with pytest.raises(dataclasses.FrozenInstanceError):
        tiling.shape = (1, 1, 1)


def test_what_tiles_are_trusted_for_stops_where_the_next_tile_is_trusted():
    spans = [package.write for package in Tiling.of((1, 20, 2012)).packages]
    assert [(roi.begin[2], roi.end[2]) for roi in spans] == [(0, 1000), (1000, 2000), (2000, 2012)]


def test_a_plan_of_a_million_packages_is_made_at_once():
    begin = time.perf_counter()
    tiling = Tiling.of((10_000, 100_000, 100_000))
    assert len(tiling.packages) == 1_000_000
    assert tiling.packages[999_999].name == "Pkg10000_Z100"
    assert time.perf_counter() - begin < 0.1


def test_packages_of_a_plane_are_found_without_looking_at_the_others():
    tiling = Tiling.of((10_000, 100_000, 100_000))
    assert tiling.packages_at(9_000)[5].name == "Pkg006_Z90"
    assert min(timeit.repeat(lambda: tiling.packages_at(5_000)[77], number=100, repeat=3)) / 100 < 1e-4
    assert not tiling.packages_at(10_000)
    assert not tiling.packages_at(-1)


def test_a_slice_of_packages_is_what_a_list_would_give():
    packages = Tiling.of((206, 14, 2100)).packages
    assert packages[1:6:2] == list(packages)[1:6:2]
    assert packages[-1] == list(packages)[-1]


def test_rows_of_tiles_come_first():
    assert Tiling.of((1, 1025, 1500)).areas == (
        (0, 1012, 0, 1012),
        (0, 1012, 988, 1500),
        (988, 1025, 0, 1012),
        (988, 1025, 988, 1500),
    )


def test_packages_that_form_no_grid_are_refused(tmp_path):
    text = info_text(Tiling.of((3, 14, 1500))).replace(" 1 14 989 1500", " 2 14 989 1500")
    (tmp_path / INFO).write_text(text)
    with pytest.raises(FormatError, match="no grid"):
        read_tiling(tmp_path, rules=CORRECTED)
