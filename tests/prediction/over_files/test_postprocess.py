"""Averages, maps and ensembles on disk."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from cdeep3m.errors import FormatError, InputError, MissingFileError
from cdeep3m.prediction.over_files import postprocess as postprocessing
from cdeep3m.prediction.over_files.postprocess import average_variants, ensemble_folders, merge_packages
from cdeep3m.prediction.over_files.prepare import define_packages, preprocess_package
from cdeep3m.rules import CORRECTED, ORIGINAL
from cdeep3m.tiling.grid import Tiling
from cdeep3m.tiling.info_file import write_tiling
from cdeep3m.tiling.stitching import to_probability_map
from cdeep3m.tiling.variants import variant, variants_for
from cdeep3m.volumes.hdf5 import read_dataset, write_datasets
from cdeep3m.volumes.png import write_picture, write_plane
from octave_cases import hdf5_file, png_folder, synth, tiff_stack


def pixels(path):
    return np.array(Image.open(path))


def predict_identity(stacks, folder, top):
    """Write what a net whose probability is value / top makes of a package's files."""
    for path in stacks:
        blob = read_dataset(path) / np.float32(top)
        out = folder / path.stem.split("_")[-1]
        out.mkdir(parents=True)
        for k in range(blob.shape[2]):
            p = blob[:, :, k].astype(np.float32)
            write_datasets(out / f"test.h5_shift_{k}.h5", {"data": np.stack([1 - p, p])[np.newaxis]})


def add_predictions(folder, variants, files=7, shape=(6, 6)):
    """Write predictions whose every plane tells its own number: plane k of the volume has probability k / 100."""
    for index in variants:
        (folder / f"v{index}").mkdir(parents=True)
        for k in range(files):
            plane = files - 1 - k if variant(index).reverses_planes else k
            p = np.full(shape, plane / 100, np.float32)
            write_datasets(folder / f"v{index}" / f"test.h5_shift_{k}.h5", {"data": np.stack([1 - p, p])[np.newaxis]})
    return folder


def averaged_planes(folder):
    """The planes that the averages of `add_predictions` came from."""
    return [round(int(pixels(path)[0, 0]) / 655.35) for path in sorted(folder.glob("test.h5_shift__*.png"))]


# The whole way over files

SOURCES = {
    "folder": lambda w, stack: png_folder(w / "images", stack),
    "stack": lambda w, stack: tiff_stack(w / "stack.tif", stack),
    "h5": lambda w, stack: hdf5_file(w / "stack.h5", stack),
}


@pytest.mark.parametrize(
    ("kind", "shape", "speed"),
    [("folder", (2, 14, 1030), 4), ("stack", (1, 30, 20), 2), ("h5", (3, 1013, 15), 10), ("folder", (4, 20, 22), 2)],
)
def test_the_files_of_an_identity_net_become_the_input(kind, shape, speed, tmp_path):
    volume = synth(*shape, 4)
    source, aug = SOURCES[kind](tmp_path, volume), tmp_path / "aug"
    for package in define_packages(source, aug).packages:
        folder = preprocess_package(source, aug, package.tile, package.z_block, "3fm", speed)
        predict_identity(folder.glob("*.h5"), folder, 255)
        assert average_variants(folder) == shape[0]
    assert merge_packages(aug / "3fm") == shape[0]
    for z, plane in enumerate(volume):
        expected = to_probability_map(np.rint(plane / 255 * 65535).astype(np.uint16))
        assert_array_equal(pixels(aug / "3fm" / f"Segmented_{z + 1:04d}.png"), expected)
    assert (aug / "3fm" / "DONE").read_text() == "0\n"
    shutil.rmtree(aug)


# StartPostprocessing


@pytest.mark.parametrize(("net", "speed"), [("1fm", 1), ("1fm", 2), ("3fm", 1), ("3fm", 4), ("5fm", 2)])
def test_padding_is_dropped_and_reversed_variants_are_read_backwards(net, speed, tmp_path):
    folder = add_predictions(tmp_path, [v.index for v in variants_for(net, speed)])
    assert average_variants(folder) == 3
    assert averaged_planes(folder) == [2, 3, 4]
    assert sorted(path.name for path in folder.iterdir()) == [f"test.h5_shift__{k:04d}.png" for k in range(3)]


def test_averages_are_16_bit(tmp_path):
    average_variants(add_predictions(tmp_path, [1]))
    assert pixels(tmp_path / "test.h5_shift__0000.png").dtype == np.uint16


@pytest.mark.correction(16, "exact", "corrected")
def test_16_stray_files_shift_planes_in_exact_mode_only(tmp_path):
    for rules in (ORIGINAL, CORRECTED):
        folder = add_predictions(tmp_path / rules.name, [1, 2])
        (folder / "v1" / "notes.txt").write_text("x")
        (folder / "v2" / "test.h5_shift_0.h5.bak").write_text("x")
        average_variants(folder, rules=rules)
    assert averaged_planes(tmp_path / "original") == [2, 3, 4, 5]
    assert averaged_planes(tmp_path / "corrected") == [2, 3, 4]


@pytest.mark.correction(16, "same")
def test_16_without_stray_files_both_modes_agree(tmp_path):
    for rules in (ORIGINAL, CORRECTED):
        average_variants(add_predictions(tmp_path / rules.name, [1, 9]), rules=rules)
    assert averaged_planes(tmp_path / "original") == averaged_planes(tmp_path / "corrected") == [2, 3, 4]


@pytest.mark.parametrize(("variants", "lost"), [([1, 2], "v2/test.h5_shift_3.h5"), ([1, 9], "v9/test.h5_shift_6.h5")])
def test_a_missing_plane_is_named_and_nothing_is_removed(variants, lost, tmp_path):
    folder = add_predictions(tmp_path, variants)
    (folder / lost).unlink()
    with pytest.raises(MissingFileError, match=lost):
        average_variants(folder)
    assert not list(folder.glob("*.png"))
    assert (folder / "v1").is_dir()


def test_too_few_planes_are_an_error(tmp_path):
    with pytest.raises(InputError, match="4 predicted planes; expected at least 5"):
        average_variants(add_predictions(tmp_path, [1], files=4))


def test_a_file_of_another_shape_is_named(tmp_path):
    folder = add_predictions(tmp_path, [1])
    write_datasets(folder / "v1" / "test.h5_shift_2.h5", {"data": np.zeros((6, 6), np.float32)})
    with pytest.raises(FormatError, match=r"test.h5_shift_2.h5 has shape \(6, 6\)"):
        average_variants(folder)


def test_predictions_stay_until_every_plane_is_written(tmp_path, monkeypatch):
    folder = add_predictions(tmp_path, [1, 2])

    def full(path, plane, **options):
        if path.name.endswith("2.png"):
            raise OSError(28, "No space left on device")
        write_plane(path, plane, **options)

    monkeypatch.setattr(postprocessing, "write_plane", full)
    with pytest.raises(OSError, match="No space"):
        average_variants(folder)
    assert len(list(folder.glob("v*/*.h5"))) == 14
    monkeypatch.undo()
    assert average_variants(folder) == 3


def test_a_run_killed_while_it_removes_predictions_is_finished_by_the_next(tmp_path, monkeypatch):
    folder = add_predictions(tmp_path, [1, 2, 3])
    for k in range(7):  # a mean of the others would differ
        write_datasets(folder / "v1" / f"test.h5_shift_{k}.h5", {"data": np.full((1, 2, 6, 6), 0.9, np.float32)})
    rmtree = shutil.rmtree

    def killed(path, **options):
        rmtree(path, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        average_variants(folder)
    monkeypatch.undo()
    before = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    assert average_variants(folder) == 3
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "v"} == before


def test_predictions_made_anew_are_averaged_and_not_taken_for_old_ones(tmp_path):
    folder = add_predictions(tmp_path, [5])
    marker = folder / ".averaged"
    marker.touch()
    add_predictions(folder, [1], files=6)
    newest = max(path.stat().st_mtime_ns for path in (folder / "v1").iterdir())
    os.utime(marker, ns=(newest - 1, newest - 1))
    for path in (folder / "v5").iterdir():
        os.utime(path, ns=(newest - 2, newest - 2))
    assert average_variants(folder) == 2
    assert averaged_planes(folder) == [2, 3]
    assert not marker.exists()


# Merge_LargeData


@pytest.fixture
def net_folder(tmp_path):
    """Two tiles and two z-blocks, the tiles' planes as StartPostprocessing leaves them."""
    shape = (106, 14, 1030)
    tiling = Tiling.of(shape)
    write_tiling(tiling, tmp_path)
    for package in tiling.packages:
        folder = tmp_path / "1fm" / package.name
        folder.mkdir(parents=True)
        for k, z in enumerate(package.planes):
            plane = np.full((1024, 1024), 600 * z + 100 * package.tile, np.uint16)
            write_plane(folder / f"test.h5_shift__{k:04d}.png", plane)
    return tmp_path / "1fm"


def merged(folder):
    return {path.name: pixels(path) for path in sorted(folder.glob("Segmented_*.png"))}


@pytest.mark.slow
def test_planes_are_numbered_through_the_z_blocks_and_tiles_stand_side_by_side(net_folder):
    assert merge_packages(net_folder) == 106
    maps = merged(net_folder)
    assert list(maps) == [f"Segmented_{z:04d}.png" for z in range(1, 107)]
    for z, plane in enumerate(maps.values()):
        values = np.full((14, 1030), 600 * z + 200, np.uint16)
        values[:, :1000] -= 100
        assert_array_equal(plane, to_probability_map(values))
    moved = {path.name for path in (net_folder / "Pkg_002").iterdir()}
    assert moved == {f"segmentation_{z:04d}.png" for z in range(1, 107)}


@pytest.fixture
def small_net(tmp_path):
    write_tiling(Tiling.of((3, 20, 30)), tmp_path)
    folder = tmp_path / "1fm" / "Pkg001_Z01"
    folder.mkdir(parents=True)
    for k, plane in enumerate(synth(3, 1024, 1024, 2, "uint16")):
        write_plane(folder / f"test.h5_shift__{k:04d}.png", plane // (1 if k else 64))
    return tmp_path / "1fm"


@pytest.mark.correction(9, "exact", "corrected", "same")
def test_9_planes_share_one_scale_unless_exact(small_net):
    source = small_net / "Pkg001_Z01"
    shutil.copytree(small_net.parent, small_net.parent / "exact")
    merge_packages(small_net)
    merge_packages(small_net.parent / "exact" / "1fm", rules=ORIGINAL)
    corrected, exact = merged(small_net), merged(small_net.parent / "exact" / "1fm")
    assert corrected["Segmented_0001.png"].max() == 4
    assert exact["Segmented_0001.png"].max() == 255
    for name in ("Segmented_0002.png", "Segmented_0003.png"):
        assert_array_equal(corrected[name], exact[name])
    assert not list(source.iterdir())


def test_merging_again_changes_nothing(small_net):
    merge_packages(small_net)
    before = {name: plane.tobytes() for name, plane in merged(small_net).items()}
    merge_packages(small_net)
    assert {name: plane.tobytes() for name, plane in merged(small_net).items()} == before


def test_an_interrupted_move_is_finished(small_net):
    (small_net / "Pkg_001").mkdir()
    source = small_net / "Pkg001_Z01"
    (source / "test.h5_shift__0000.png").replace(small_net / "Pkg_001" / "segmentation_0001.png")
    assert merge_packages(small_net) == 3


def test_planes_predicted_anew_replace_the_moved_ones(small_net):
    merge_packages(small_net)
    for k in range(3):
        write_plane(small_net / "Pkg001_Z01" / f"test.h5_shift__{k:04d}.png", np.zeros((1024, 1024), np.uint16))
    merge_packages(small_net)
    assert not any(plane.any() for plane in merged(small_net).values())


def test_missing_planes_are_an_error_before_anything_moves(small_net):
    source = small_net / "Pkg001_Z01"
    (source / "test.h5_shift__0001.png").unlink()
    with pytest.raises(MissingFileError, match="holds 2 averaged planes; expected 3"):
        merge_packages(small_net)
    assert len(list(source.iterdir())) == 2
    assert not (small_net / "DONE").exists()


def test_stray_pictures_count_in_exact_mode_only(small_net):
    write_plane(small_net / "Pkg001_Z01" / "preview.png", np.zeros((5, 5), np.uint8))
    with pytest.raises(MissingFileError, match="holds 4"):
        merge_packages(small_net, rules=ORIGINAL)
    assert merge_packages(small_net) == 3


# EnsemblePredictions


@pytest.fixture
def nets(tmp_path):
    return [png_folder(tmp_path / f"{k}fm", synth(3, 15, 16, k), "Segmented_%04d.png") for k in (1, 3)]


def test_the_ensemble_is_the_rounded_mean_under_the_first_names(nets, tmp_path):
    assert ensemble_folders(nets, tmp_path / "out") == 3
    for z, (a, b) in enumerate(zip(synth(3, 15, 16, 1), synth(3, 15, 16, 3), strict=True)):
        expected = (a.astype(int) + b + 1) // 2
        assert_array_equal(pixels(tmp_path / "out" / f"Segmented_{z + 1:04d}.png"), expected)


@pytest.mark.correction(6, "exact", "corrected", "same")
def test_6_black_planes_binarise_others_in_exact_mode_only(nets, tmp_path):
    black = np.zeros((15, 16), np.uint8)
    write_plane(nets[0] / "Segmented_0001.png", black)
    for rules in (ORIGINAL, CORRECTED):
        ensemble_folders(nets, tmp_path / rules.name, rules=rules)
    other = synth(3, 15, 16, 3)[0]
    assert_array_equal(pixels(tmp_path / "original" / "Segmented_0001.png"), other > 0)
    assert_array_equal(pixels(tmp_path / "corrected" / "Segmented_0001.png"), (other.astype(int) + 1) // 2)
    for name in ("Segmented_0002.png", "Segmented_0003.png"):
        assert_array_equal(pixels(tmp_path / "original" / name), pixels(tmp_path / "corrected" / name))


@pytest.mark.correction(17, "exact", "corrected")
def test_17_folders_of_different_lengths_are_cut_in_exact_mode_only(nets, tmp_path):
    (nets[1] / "Segmented_0003.png").unlink()
    assert ensemble_folders(nets[::-1], tmp_path / "exact", rules=ORIGINAL) == 2
    with pytest.raises(InputError, match=r"1fm has 3, .*3fm has 2"):
        ensemble_folders(nets, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.correction(17, "exact")
def test_17_exact_mode_stops_where_a_later_folder_has_no_plane_left(nets, tmp_path):
    third = png_folder(tmp_path / "5fm", synth(1, 15, 16, 5), "Segmented_%04d.png")
    with pytest.raises(InputError, match=r"1fm has 3, .*3fm has 3, .*5fm has 1") as caught:
        ensemble_folders([*nets, third], tmp_path / "out", rules=ORIGINAL)
    assert caught.value.exit_code == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["Segmented_0001.png"]


@pytest.mark.parametrize("rules", [CORRECTED, ORIGINAL])
@pytest.mark.parametrize("which", [0, 1])
def test_colours_are_an_error_that_names_the_file(nets, tmp_path, rules, which):
    write_picture(nets[which] / "Segmented_0002.png", np.arange(15 * 16 * 3, dtype=np.uint8).reshape(15, 16, 3))
    with pytest.raises(InputError, match=r"fm/Segmented_0002.png (holds|is in) colour"):
        ensemble_folders(nets, tmp_path / "out", rules=rules)


@pytest.mark.correction(17, "same")
def test_17_folders_of_one_length_are_averaged_alike(nets, tmp_path):
    for rules in (ORIGINAL, CORRECTED):
        ensemble_folders(nets, tmp_path / rules.name, rules=rules)
    for path in (tmp_path / "original").iterdir():
        assert path.read_bytes() == (tmp_path / "corrected" / path.name).read_bytes()


def test_planes_after_the_9999th_follow_in_natural_order(tmp_path):
    names = ["Segmented_9999.png", "Segmented_10000.png"]
    folders = [png_folder(tmp_path / f"{k}fm", synth(2, 15, 16, k), names) for k in (1, 3)]
    ensemble_folders([folders[0], png_folder(tmp_path / "other", synth(2, 15, 16, 3))], tmp_path / "out")
    first = pixels(tmp_path / "out" / "Segmented_9999.png")
    assert_array_equal(first, (synth(2, 15, 16, 1)[0].astype(int) + synth(2, 15, 16, 3)[0] + 1) // 2)


def test_maps_of_different_sizes_are_named(nets, tmp_path):
    png_folder(nets[1], synth(3, 15, 17, 3), "Segmented_%04d.png")
    with pytest.raises(InputError, match=r"3fm/Segmented_0001.png is 15 x 17.*15 x 16"):
        ensemble_folders(nets, tmp_path / "out")


@pytest.mark.parametrize("names", [["1fm"], ["1fm", "nope"], ["1fm", "empty"]])
def test_fewer_than_two_folders_of_maps_are_an_error(names, nets, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises((InputError, MissingFileError), match=r"at least two|cannot average"):
        ensemble_folders([tmp_path / name for name in names], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_probabilities_that_are_no_numbers_are_told_and_stay(odd, tmp_path):
    folder = add_predictions(tmp_path, [1, 2])
    blob = np.array(read_dataset(folder / "v2" / "test.h5_shift_3.h5"))
    blob[0, 1, 2, 2] = odd
    write_datasets(folder / "v2" / "test.h5_shift_3.h5", {"data": blob})
    with pytest.raises(InputError, match=r"plane \d of .* holds (NaN|infinity)"):
        average_variants(folder)
    assert (folder / "v1").is_dir()
    assert (folder / "v2").is_dir()
