"""Training files of several volumes, and trainings on them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from cdeep3m.augmentation.settings import Augmentation
from cdeep3m.cli import preprocess_training_data, preprocess_validation
from cdeep3m.edition2.settings import Strengths, settings_text
from cdeep3m.engines.embedded.net.h5_files import open_training_file
from cdeep3m.errors import InputError
from cdeep3m.rules import CORRECTED, EDITION2
from cdeep3m.runs.provenance import trained_on
from cdeep3m.tiling.variants import VARIANTS, variant
from cdeep3m.training.as_edition_2 import chance_of, write_training_data, write_validation_data
from cdeep3m.training.folder import create_run_over_files
from cdeep3m.training.volume_files import augment_stack
from cdeep3m.training.volumes_given import Given, volumes_given
from cdeep3m.volumes import open_volume, read_all
from cdeep3m.volumes.enhancement import Enhancement, enhance
from cdeep3m.volumes.labelled import labelled_shape
from cdeep3m.volumes.labels import IGNORED
from octave_cases import png_folder, synth, tiff_stack


def volume(folder, name: str, z: int = 2, y: int = 330, x: int = 340, seed: int = 1) -> tuple[str, str]:
    rows, columns = np.mgrid[:y, :x]
    smooth = 120 + 60 * np.sin(rows / 9 + seed) * np.cos(columns / 11 + np.arange(z)[:, None, None])
    data = (smooth + synth(z, y, x, seed) % 9).astype(np.uint8)
    png_folder(folder / name, data)
    png_folder(folder / f"{name}_labels", (data > 120).astype(np.uint8) * np.uint8(255))
    return str(folder / name), str(folder / f"{name}_labels")


def stored(path, name: str = "data") -> np.ndarray:
    with h5py.File(path, "r") as file:
        return file[name][()].transpose(2, 1, 0)


def planes(folder: str) -> np.ndarray:
    return np.stack([np.array(Image.open(path)) for path in sorted(Path(folder).glob("*.png"))])


def run(tmp_path, *words: str) -> int:
    return preprocess_training_data.main([*words, str(tmp_path / "aug")])


def test_volumes_of_different_sizes_are_written_one_after_another(tmp_path):
    one, two = volume(tmp_path, "one"), volume(tmp_path, "two", y=326, x=328, seed=2)
    assert run(tmp_path, *one, "0", *two, "0") == 0
    aug = tmp_path / "aug"
    assert len(list(aug.glob("training_full_stacks_v?_*.h5"))) == 32
    for each in VARIANTS[::5]:
        assert_array_equal(stored(aug / f"training_full_stacks_v2_{each.index}.h5"), each.apply(planes(two[0])))
    assert (aug / "ConfigSettings_v2.txt").read_text() == settings_text("0", "0")
    assert trained_on(aug).volumes == 2
    create_run_over_files(aug, tmp_path / "job")
    assert len((tmp_path / "job" / "train_file.txt").read_text().splitlines()) == 32
    assert "batch_size: 32" in (tmp_path / "job" / "1fm" / "train_val.prototxt").read_text()


@pytest.mark.correction2(5, "exact", "corrected", "same")
def test_enhanced_planes_keep_the_order_of_their_labels(tmp_path):
    pair = volume(tmp_path, "many", z=11, y=20, x=24)
    assert run(tmp_path, *pair, "-1") == 0
    found = stored(tmp_path / "aug" / "training_full_stacks_v1_1.h5")[:, :20, :24]
    assert_array_equal(found, np.stack([enhance(plane) for plane in planes(pair[0])]))
    assert trained_on(tmp_path / "aug").enhancement == Enhancement()
    import tifffile

    tifffile.imwrite(tmp_path / "s.tif", planes(pair[0]), photometric="minisblack")
    given = Given(str(tmp_path / "s.tif"), pair[1], "-1")
    write_training_data([given], tmp_path / "exact", chance=chance_of(1), confirm=print)
    written = sorted(path.name for path in (tmp_path / "exact" / "enhanced_v1").iterdir())
    assert written[:3] == ["s_1.png", "s_10.png", "s_11.png"]
    exact = stored(tmp_path / "exact" / "training_full_stacks_v1_7.h5")
    assert np.abs(exact[1, :20, :24].astype(int) - found[1]).mean() > 5
    assert np.abs(exact[1, :20, :24].astype(int) - found[9]).mean() < 1


BOX = ("--roi", "1:2,2:330,5:338")


@pytest.mark.parametrize("options", [("0",), ("-1",), ("--edition", "2")], ids=str)
def test_a_box_of_a_volume_is_written_alone(tmp_path, options):
    pair = volume(tmp_path, "one")
    assert run(tmp_path, *pair, *options, *BOX) == 0
    whole = planes(pair[0])
    seen = np.stack([enhance(plane) for plane in whole]) if options != ("0",) else whole
    for name, wanted in (("data", seen), ("label", planes(pair[1]) // 255)):
        found = stored(tmp_path / "aug" / "training_full_stacks_v1_1.h5", name)
        assert_array_equal(found, wanted[1:2, 2:330, 5:338])


@pytest.mark.parametrize("main", [preprocess_training_data.main, preprocess_validation.main])
def test_cdeep3m2_reads_whole_volumes(tmp_path, capsys, main):
    pair = volume(tmp_path, "one")
    assert main(["--exact", "--edition", "2", *BOX, *pair, "0", str(tmp_path / "aug")]) == 1
    assert "CDeep3M2 reads whole files" in capsys.readouterr().err
    assert not (tmp_path / "aug").exists()


@pytest.mark.correction2(9, "exact", "corrected")
def test_stacks_of_16_bits_keep_their_values(tmp_path):
    _, labels = volume(tmp_path, "one")
    wide = synth(2, 330, 340, 7, "uint16")
    images = str(tiff_stack(tmp_path / "wide.tif", wide))
    assert run(tmp_path, images, labels, "0") == 0
    assert_array_equal(stored(tmp_path / "aug" / "training_full_stacks_v1_1.h5"), wide)
    write_training_data([Given(images, labels, "0")], tmp_path / "exact", chance=chance_of(1), confirm=print)
    assert_array_equal(stored(tmp_path / "exact" / "training_full_stacks_v1_7.h5"), wide % 256)


@pytest.mark.correction2(16, "corrected")
def test_augmented_files_repeat_with_their_seed_and_say_what_was_drawn(tmp_path):
    pair = volume(tmp_path, "one", z=1)
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert preprocess_training_data.main(["--seed", seed, *pair, "5", "3", str(tmp_path / name)]) == 0
    files = [f"training_full_stacks_v1_{k}.h5" for k in range(1, 17)]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)
    assert any((tmp_path / "a" / name).read_bytes() != (tmp_path / "c" / name).read_bytes() for name in files)
    drawn = json.loads((tmp_path / "a" / "draws_v1.json").read_text())
    assert drawn["seeds"]["16"] == [1, 1, 16]
    assert trained_on(tmp_path / "a").ignores_voxels
    labels = {value for name in files for value in np.unique(stored(tmp_path / "a" / name, "label"))}
    assert labels <= {0, 1, IGNORED}


def test_enhanced_volumes_beside_others_are_warned_about(tmp_path, caplog):
    one, two = volume(tmp_path, "one", z=1), volume(tmp_path, "two", z=1)
    assert run(tmp_path, *one, "-1", *two, "0") == 0
    assert "enhanced volumes (SEC -1) beside others" in caplog.text
    made = tmp_path / "aug"
    assert trained_on(made).enhancement == Enhancement()
    first, second = (stored(made / f"training_full_stacks_v{k}_1.h5") for k in (1, 2))
    assert_array_equal(second, read_all(open_volume(two[0])))
    assert_array_equal(first, [enhance(plane) for plane in read_all(open_volume(one[0]))])


def test_enhanced_volumes_do_not_mix_with_16_bits(tmp_path, capsys):
    one, two = volume(tmp_path, "one", z=1), volume(tmp_path, "two", z=1)
    png_folder(tmp_path / "wide", read_all(open_volume(two[0])).astype(np.uint16) * 257)
    assert run(tmp_path, *one, "-1", str(tmp_path / "wide"), two[1], "0") == 1
    assert "expected 8 bits everywhere" in capsys.readouterr().err
    assert not (tmp_path / "aug").exists()


def test_the_second_edition_enhances_where_nothing_is_said(tmp_path):
    pair = volume(tmp_path, "one", z=1)
    assert preprocess_training_data.main(["--edition", "2", *pair, str(tmp_path / "aug")]) == 0
    assert trained_on(tmp_path / "aug").enhancement == Enhancement()
    assert preprocess_training_data.main([*pair, str(tmp_path / "first")]) == 0
    assert trained_on(tmp_path / "first") is None
    assert (tmp_path / "first" / "training_full_stacks_v16.h5").is_file()


@pytest.mark.correction2(22, "exact", "corrected", "same")
def test_labels_of_three_values_are_an_error_that_lists_them(tmp_path, capsys):
    images, _ = volume(tmp_path, "one")
    three = png_folder(tmp_path / "three", planes(images) // 90)
    assert run(tmp_path, images, str(three), "0") == 1
    assert "0, 1, 2" in capsys.readouterr().err
    asked = []
    write_training_data([Given(images, str(three), "0")], tmp_path / "x", chance=chance_of(1), confirm=asked.append)
    assert len(asked) == 1
    assert set(np.unique(stored(tmp_path / "x" / "training_full_stacks_v1_1.h5", "label"))) == {0, 1}


@pytest.mark.correction2(23, "exact", "corrected")
def test_validation_can_be_trained_on_and_that_of_cdeep3m2_is_read(tmp_path):
    pair = volume(tmp_path, "one", z=3, y=330, x=332)
    assert preprocess_validation.main([*pair, "0", str(tmp_path / "val")]) == 0
    file = tmp_path / "val" / "validation_stack_v1.h5"
    assert labelled_shape(file) == (332, 330, 3)
    exact = write_validation_data(Given(*pair, "0"), tmp_path / "exact", confirm=print)
    with h5py.File(exact, "r") as raw:
        assert raw["data"].shape == (3, 330, 332, 1)
    assert labelled_shape(exact) == (332, 330, 3)
    assert_array_equal(open_training_file(exact).data, open_training_file(file).data)


@pytest.mark.correction2(19, "exact", "corrected")
def test_one_plane_is_3d_and_a_2d_one_is_read(tmp_path):
    pair = volume(tmp_path, "one", z=1)
    assert run(tmp_path, *pair, "0") == 0
    assert labelled_shape(tmp_path / "aug" / "training_full_stacks_v1_1.h5") == (340, 330, 1)
    write_training_data([Given(*pair, "0")], tmp_path / "exact", chance=chance_of(1), confirm=print)
    file = tmp_path / "exact" / "training_full_stacks_v1_1.h5"
    with h5py.File(file, "r") as raw:
        assert raw["data"].shape == (330, 340)
    assert open_training_file(file).data.shape == (330, 340, 1)


@pytest.mark.correction2(19, "exact", "corrected")
def test_one_plane_is_distorted_and_not_lost(tmp_path):
    strengths, pair = tmp_path / "elastic.ini", volume(tmp_path, "one", z=1)
    strengths.write_text(Strengths(**{**vars(Strengths.all_of(0)), "elasticdistortion": 10}).text())
    assert run(tmp_path, *pair, str(strengths)) == 0
    written = [tmp_path / "aug" / f"training_full_stacks_v1_{k}.h5" for k in range(1, 17)]
    plain = planes(pair[0])
    assert any((stored(path) != each.apply(plain)).any() for path, each in zip(written, VARIANTS, strict=True))
    for path in written:
        assert stored(path).mean() == pytest.approx(plain.mean(), rel=0.1)
        assert (stored(path, "label") == 1).mean() > 0.2
    write_training_data([Given(*pair, str(strengths))], tmp_path / "exact", chance=chance_of(1), confirm=print)
    with h5py.File(tmp_path / "exact" / "training_full_stacks_v1_13.h5", "r") as lost:
        assert not lost["data"][()].any()


@pytest.mark.correction2(21, "corrected")
def test_what_is_filled_up_is_0_whatever_is_done_to_the_rest(tmp_path):
    """CDeep3M2 fills first, and the filling gets its noise and counts for its contrast."""
    strengths, pair = tmp_path / "noise.ini", volume(tmp_path, "small", z=1, y=20, x=24)
    strengths.write_text(Strengths(**{**vars(Strengths.all_of(0)), "uniformnoise": 10}).text())
    assert run(tmp_path, *pair, str(strengths)) == 0
    changed = 0
    for each in VARIANTS:
        found, plain = (
            stored(tmp_path / "aug" / f"training_full_stacks_v1_{each.index}.h5"),
            each.apply(planes(pair[0])),
        )
        _, height, width = plain.shape
        assert not found[:, height:].any()
        assert not found[:, :, width:].any()
        changed += (found[:, :height, :width] != plain).any()
    assert changed


@pytest.mark.correction2(17, "corrected")
def test_gray_values_of_files_are_rounded(monkeypatch):
    data, label = np.full((2, 8, 9), 100, np.uint8), np.zeros((2, 8, 9), np.uint8)
    monkeypatch.setattr("cdeep3m.training.volume_files.change_gray_values", lambda patch, *_: patch + 0.7)
    found, _ = augment_stack(data, label, Augmentation(), np.random.default_rng(1))
    assert_array_equal(found, data + 1)


@pytest.mark.correction2(28, "exact", "corrected")
def test_a_folder_of_17_files_or_none_is_an_error(tmp_path):
    (tmp_path / "aug").mkdir()
    with pytest.raises(InputError, match="holds 0 .h5 files, expected 16 for every volume"):
        create_run_over_files(tmp_path / "aug", tmp_path / "job")
    create_run_over_files(tmp_path / "aug", tmp_path / "exact", rules=EDITION2)
    for number in range(17):
        (tmp_path / "aug" / f"{number}.h5").touch()
    with pytest.raises(InputError, match="holds 17 .h5 files"):
        create_run_over_files(tmp_path / "aug", tmp_path / "job")


@pytest.mark.correction2(28, "exact", "corrected")
def test_files_of_a_training_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aug").mkdir()
    for number in range(1, 17):
        (tmp_path / "aug" / f"training_full_stacks_v1_{number}.h5").touch()
    for out, rules in (("job", CORRECTED), ("exact", EDITION2)):
        create_run_over_files(Path("aug"), Path(out), rules=rules)
        named = (tmp_path / out / "train_file.txt").read_text().split()
        for file, key in (("train_val", "data_source"), ("solver", "snapshot_prefix")):
            text = (tmp_path / out / "1fm" / f"{file}.prototxt").read_text()
            named += re.findall(rf'^ *{key}: "(.*)"', text, re.MULTILINE)
        assert len(named) >= 18
        assert {Path(name).is_absolute() for name in named} == {rules is CORRECTED}


def test_arguments_are_taken_apart():
    given, out = volumes_given(["a", "b", "c.ini", "d", "e", "-1", "4", "out"], default="0")
    assert given == [Given("a", "b", "c.ini"), Given("d", "e", "-1", "4")]
    assert out == "out"
    with pytest.raises(InputError, match="expected IMAGES LABELS"):
        volumes_given(["a", "out"], default="0")
    assert variant(1).index == 1
