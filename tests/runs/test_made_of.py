"""A folder of prepared data belongs to its images, labels and options; others leave it as it is."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest

from cdeep3m.cli import (
    create_train_job,
    def_data_packages,
    preprocess_image_data,
    preprocess_package,
    preprocess_training_data,
    preprocess_validation,
)
from octave_cases import png_folder

PLANES = np.arange(3 * 20 * 22, dtype=np.uint8).reshape(3, 20, 22)
LABELS = (PLANES % 7 < 3).astype(np.uint8) * 255


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.delenv("CDEEP3M_EXACT", raising=False)
    monkeypatch.chdir(tmp_path)
    png_folder(tmp_path / "one", PLANES)
    png_folder(tmp_path / "two", 255 - PLANES)
    png_folder(tmp_path / "labels", LABELS)
    png_folder(tmp_path / "others", 255 - LABELS)


def train(*words):
    return preprocess_training_data.main(words)


def validate(*words):
    return preprocess_validation.main(words)


def prepare(*words):
    return preprocess_image_data.main(words)


def divide(*words):
    return def_data_packages.main(words)


def content(folder):
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


OTHERS = [
    pytest.param(train, ["one", "labels", "out"], ["two", "labels", "out"], "other images", id="training images"),
    pytest.param(train, ["one", "labels", "out"], ["one", "others", "out"], "other labels", id="training labels"),
    pytest.param(
        train, ["one", "labels", "3", "out"], ["one", "labels", "3", "2", "out"], "SEC and TER = 3 0", id="strengths"
    ),
    pytest.param(
        train, ["one", "labels", "3", "out"], ["--seed", "4", "one", "labels", "3", "out"], "--seed = 0", id="seed"
    ),
    pytest.param(
        train,
        ["one", "labels", "0", "two", "labels", "0", "out"],
        ["one", "labels", "0", "out"],
        "other images",
        id="fewer volumes",
    ),
    pytest.param(
        train,
        ["one", "labels", "out"],
        ["--roi", "0:3,0:10,0:22", "one", "labels", "out"],
        "other images",
        id="part",
    ),
    pytest.param(validate, ["one", "labels", "out"], ["two", "labels", "out"], "other images", id="validation images"),
    pytest.param(validate, ["one", "labels", "out"], ["one", "others", "out"], "other labels", id="validation labels"),
    pytest.param(
        validate, ["one", "labels", "out"], ["one", "labels", "-1", "out"], "SEC = 0", id="validation enhanced"
    ),
    pytest.param(prepare, ["one", "out"], ["two", "out"], "other images", id="images to predict"),
    pytest.param(divide, ["one", "out"], ["two", "out"], "other images", id="packages"),
]


@pytest.mark.parametrize(("command", "first", "second", "words"), OTHERS)
def test_something_else_is_refused_and_the_folder_stays_as_it_is(command, first, second, words, tmp_path, capsys):
    assert command(*first) == 0
    before = content(tmp_path / "out")
    capsys.readouterr()
    assert command(*second) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ERROR")]
    assert len(said) == 1
    assert words in said[0]
    assert "--overwrite" in said[0]
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize(("command", "first", "second", "words"), OTHERS)
def test_overwriting_makes_what_an_empty_folder_would_get(command, first, second, words, tmp_path):
    assert command(*first) == 0
    assert command("--overwrite", *second) == 0
    assert command(*second[:-1], "fresh") == 0
    made, fresh = content(tmp_path / "out"), content(tmp_path / "fresh")
    assert {name: bytes_ for name, (bytes_, _) in made.items()} == {name: bytes_ for name, (bytes_, _) in fresh.items()}


@pytest.mark.parametrize(
    ("command", "words"),
    [(train, ["one", "labels", "out"]), (validate, ["one", "labels", "out"]), (prepare, ["one", "out"])],
)
def test_the_same_command_twice_is_no_error(command, words):
    assert command(*words) == 0
    assert command(*words) == 0


def test_images_replaced_by_others_of_the_same_names_are_others(tmp_path, capsys):
    assert train("one", "labels", "out") == 0
    png_folder(tmp_path / "one", 255 - PLANES)
    for path in (tmp_path / "one").iterdir():
        os.utime(path, ns=(1, 1))
    assert train("one", "labels", "out") == 1
    assert "other images" in capsys.readouterr().err


def test_a_package_of_other_images_is_refused(tmp_path, capsys):
    assert divide("one", "out") == 0
    assert preprocess_package.main(["one", "out", "1", "1", "1fm", "10"]) == 0
    before = content(tmp_path / "out")
    assert preprocess_package.main(["two", "out", "1", "1", "1fm", "10"]) == 1
    assert "other images" in capsys.readouterr().err
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize("net", ["../x", "/tmp/x", ".x"])
def test_packages_of_a_net_lie_in_its_folder(net, tmp_path):
    assert divide("one", "out") == 0
    before = sorted(tmp_path.rglob("*"))
    assert preprocess_package.main(["one", "out", "1", "1", net, "10"]) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_packages_are_not_written_through_a_link(tmp_path):
    assert divide("one", "out") == 0
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "1fm").symlink_to(tmp_path / "elsewhere")
    assert preprocess_package.main(["one", "out", "1", "1", "1fm", "10"]) == 1
    assert not list((tmp_path / "elsewhere").iterdir())


def test_overwriting_leaves_what_links_lead_to(tmp_path):
    assert prepare("--models", "1fm", "--augspeed", "10", "one", "out") == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "Pkg001_Z01").mkdir()
    (tmp_path / "mine" / "Pkg001_Z01" / "a").touch()
    (tmp_path / "out" / "x").symlink_to(tmp_path / "mine")
    assert prepare("--overwrite", "two", "out") == 0
    assert not (tmp_path / "out" / "1fm" / "Pkg001_Z01").exists()
    assert (tmp_path / "mine" / "Pkg001_Z01" / "a").exists()


def test_a_foreign_file_that_would_be_trained_on_is_named(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "volume.h5").touch()
    assert train("one", "labels", "out") == 1
    assert "holds volume.h5" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["volume.h5"]


def test_files_of_unknown_origin_are_made_anew(tmp_path):
    assert train("one", "labels", "out") == 0
    (tmp_path / "out" / ".made_of.json").unlink()
    assert train("two", "labels", "out") == 0
    with h5py.File(tmp_path / "out" / "training_full_stacks_v1.h5") as file:
        assert np.array_equal(file["data"][()].transpose(2, 1, 0)[:, :20, :22], 255 - PLANES)


def test_exact_mode_overwrites_as_the_original_does_and_leaves_no_note(tmp_path, caplog):
    assert train("one", "labels", "out") == 0
    assert train("--exact", "two", "labels", "out") == 0
    assert "other images" in caplog.text
    assert not (tmp_path / "out" / ".made_of.json").exists()


def test_a_training_is_not_made_of_half_of_its_files(tmp_path, capsys):
    assert train("one", "labels", "0", "two", "labels", "0", "out") == 0
    for path in (tmp_path / "out").glob("training_full_stacks_v2_*.h5"):
        path.unlink()
    assert create_train_job.main(["out", "trained", "out"]) != 0
    assert "16 .h5 files, 32 were to be made" in capsys.readouterr().err


def test_nothing_is_written_when_the_second_volume_does_not_fit(tmp_path):
    png_folder(tmp_path / "short", LABELS[:2])
    assert train("one", "labels", "0", "two", "short", "0", "out") == 1
    assert not (tmp_path / "out").exists()


def test_what_lies_deep_in_a_chunked_store_counts(tmp_path):
    from cdeep3m.volumes.identity import fingerprint

    chunk = tmp_path / "v.zarr" / "c" / "0" / "0"
    chunk.parent.mkdir(parents=True)
    chunk.write_bytes(b"one")
    before = fingerprint(tmp_path / "v.zarr")
    chunk.write_bytes(b"twos")
    assert fingerprint(tmp_path / "v.zarr") != before
