"""Training files of several volumes, and trainings on them."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from cdeep3m.cli import preprocess_training_data, preprocess_validation
from cdeep3m.edition2.settings import settings_text
from cdeep3m.engines.embedded.net.h5_files import open_training_file
from cdeep3m.errors import InputError
from cdeep3m.runs.provenance import trained_on
from cdeep3m.tiling.variants import VARIANTS, variant
from cdeep3m.training.as_edition_2 import chance_of, write_training_data, write_validation_data
from cdeep3m.training.folder import create_run_over_files
from cdeep3m.training.volumes_given import Given, volumes_given
from cdeep3m.volumes.enhancement import Enhancement, enhance
from cdeep3m.volumes.labelled import labelled_shape
from cdeep3m.volumes.labels import IGNORED
from octave_cases import png_folder, synth


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
    from pathlib import Path

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


def test_enhanced_volumes_do_not_mix_with_others(tmp_path, capsys):
    one, two = volume(tmp_path, "one", z=1), volume(tmp_path, "two", z=1)
    assert run(tmp_path, *one, "-1", *two, "3") == 1
    assert "expected one kind" in capsys.readouterr().err
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


@pytest.mark.correction2(28, "corrected")
def test_a_folder_of_17_files_or_none_is_an_error(tmp_path):
    (tmp_path / "aug").mkdir()
    with pytest.raises(InputError, match="holds 0 .h5 files, expected 16 for every volume"):
        create_run_over_files(tmp_path / "aug", tmp_path / "job")


def test_arguments_are_taken_apart():
    given, out = volumes_given(["a", "b", "c.ini", "d", "e", "-1", "4", "out"], default="0")
    assert given == [Given("a", "b", "c.ini"), Given("d", "e", "-1", "4")]
    assert out == "out"
    with pytest.raises(InputError, match="expected IMAGES LABELS"):
        volumes_given(["a", "out"], default="0")
    assert variant(1).index == 1
