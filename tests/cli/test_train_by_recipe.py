"""`cdeep3m train` by a recipe: what is written, what goes on, what is refused, and what predictions make of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cdeep3m.cli import predict, train, trainworker
from cdeep3m.engines import select
from cdeep3m.engines.identity import IdentityEngine
from cdeep3m.proto import prototxt
from cdeep3m.proto.caffemodel import read_model
from cdeep3m.runs.provenance import trained_on
from cdeep3m.runs.recipe import followed
from cdeep3m.runs.trained import TrainedRun
from cdeep3m.runs.validation import validation_of
from cdeep3m.training import planning
from cdeep3m.training.estimate import NetCost
from cdeep3m.training.recipes import recipe_called
from cdeep3m.volumes import open_volume, read_all
from cdeep3m.volumes.enhancement import Normalisation
from fake_training_engine import FakeTrainingEngine
from octave_cases import png_folder

if TYPE_CHECKING:
    from pathlib import Path

PLANES = 9
SMALL = ("--models", "1fm", "--width", "32", "--least_channels", "2", "--patch_side", "32")
SHORT = ("--recipe", "quick", *SMALL, "--numiterations", "6")
SCORED = (
    *("--holdout", "20%", "--snapshots", "3", "--keep", "best", "--calibrate"),
    *("--seed", "1", "--gpu", "-1", "--no-report"),
)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Images whose foreground is the brighter part, and their labels."""
    folder = tmp_path_factory.mktemp("volume")
    z, y, x = np.indices((PLANES, 40, 48))
    data = ((z * 13 + y * 5 + x * 3) % 200).astype(np.uint8)
    return [str(png_folder(folder / "images", data)), str(png_folder(folder / "labels", (data > 120) * np.uint8(255)))]


@pytest.fixture
def engine(monkeypatch):
    """The engine that every command gets: it trains nothing, and its probability is the voxel's own value."""
    identity = IdentityEngine()
    monkeypatch.setattr(select, "select_engine", lambda name, *, gpu: (identity, [-1]))
    return identity


def say(*words):
    return [str(word) for word in words]


def weights_of(path):
    """Return all weights of a net; the rest of the file names the training's folder."""
    return [(layer.name, blob.SerializeToString()) for layer in read_model(path).layer for blob in layer.blobs]


def files_of(folder):
    """Content of what a training leaves of its nets, and what it noted."""
    kinds = ("*/trainedmodel/*", "*/validation.json", "recipe.json", "trained_on.json")
    return {str(path.relative_to(folder)): path.read_bytes() for kind in kinds for path in folder.glob(kind)}


def test_a_training_by_a_recipe_repeats_itself_bit_for_bit(places, tmp_path):
    command = say(*SHORT[:-1], 2, *SCORED, "--holdout", "10%", "--snapshots", 2, *places)
    for name in ("one", "other"):
        assert train.main([*command, str(tmp_path / name)]) == 0
    one, other = (tmp_path / name / "1fm" for name in ("one", "other"))
    record = validation_of(one)
    assert record == validation_of(other)
    assert [scored.iteration for scored in record.scored] == [1, 2]
    assert record.planes == "planes 9 to 9 of 9, held out"
    assert record.calibration is None or record.calibration.weights == record.best.weights
    for scored in record.scored:
        same = [weights_of(net / "trainedmodel" / scored.weights) for net in (one, other)]
        assert same[0] == same[1]
        assert same[0]
    assert followed(tmp_path / "one") == followed(tmp_path / "other")


def test_a_recipe_is_followed_and_noted_as_a_whole(engine, places, tmp_path):
    assert train.main(say(*SHORT, *SCORED, *places, tmp_path / "one")) == 0
    assert [scored.iteration for scored in validation_of(tmp_path / "one" / "1fm").scored] == [2, 4, 6]
    solver = prototxt.read_solver(tmp_path / "one" / "1fm" / "solver.prototxt")
    quick = recipe_called("quick").options
    assert (solver.type, solver.max_iter, solver.snapshot) == ("Adam", 6, 2)
    assert round(solver.base_lr, 6) == quick["base_learn"]
    options = followed(tmp_path / "one").options
    assert (options["width"], options["seed"], options["holdout"]) == (32, 1, "20%")
    assert all(options[key] == value for key, value in quick.items() if key in ("solver", "loss", "batch", "rare"))


def test_the_original_leaves_no_record_of_a_recipe(engine, places, tmp_path):
    assert train.main(say("--width", 32, "--numiterations", 2, "--no-report", *places, tmp_path / "out")) == 0
    assert not (tmp_path / "out" / "recipe.json").exists()
    assert not list((tmp_path / "out").glob("*/validation.json"))
    assert set(json.loads((tmp_path / "out" / "trained_on.json").read_text())) == {
        *("edition", "enhancement", "augmentation", "ignores_voxels", "voxel_size", "volumes"),
    }


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ((), SHORT, "as the original trains"),
        (SHORT, (), "this one asks for none"),
        (SHORT, (*SHORT, "--rare", "0.5"), "with rare = 0.0; this one has 0.5"),
        (SHORT, (*SHORT, "--holdout", "30%"), "with holdout = "),
        (SHORT, (*SHORT, "--base_learn", "0.5"), "with base_learn = "),
        (("--holdout", "20%"), (), "this one asks for none"),
    ],
)
def test_another_recipe_or_option_in_the_same_folder_is_refused(engine, places, tmp_path, capsys, first, second, words):
    ends = ("--width", "32", "--numiterations", "6", "--no-report", *places, str(tmp_path / "out"))
    assert train.main([*first, *ends]) == 0
    before = files_of(tmp_path / "out")
    assert train.main([*second, *ends]) == 1
    assert words in capsys.readouterr().err
    assert files_of(tmp_path / "out") == before


def test_the_same_command_finds_nothing_to_do(engine, places, tmp_path):
    command = say(*SHORT, *SCORED, *places, tmp_path / "out")
    assert train.main(command) == 0
    before = files_of(tmp_path / "out")
    assert train.main(command) == 0
    assert files_of(tmp_path / "out") == before


def test_the_original_s_commands_do_not_go_on_by_a_recipe(engine, places, tmp_path, capsys):
    assert train.main(say(*SHORT, "--no-report", *places, tmp_path / "out")) == 0
    assert trainworker.main(say("--1fmonly", tmp_path / "out")) == 1
    assert "by the recipe quick" in capsys.readouterr().err


def test_engines_over_files_follow_no_recipe(places, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(select, "select_engine", lambda name, *, gpu: (FakeTrainingEngine(), [-1]))
    assert train.main(say(*SHORT, *places, tmp_path / "out")) == 1
    assert "the engine fake" in capsys.readouterr().err


@pytest.fixture
def measured(monkeypatch):
    """How often the speed was measured; every iteration takes a tenth of a second."""
    calls = []

    def estimate(request, engine, **options):
        calls.append(options["seconds"])
        costs = {"start": 1.0, "iteration": 0.1, "test": 0.0, "score": 0.0, "iterations": 0, "tests": 0}
        return [NetCost(net=net, **costs) for net in request.nets]

    monkeypatch.setattr(planning, "estimate_training", estimate)
    monkeypatch.setattr(planning.time, "monotonic", lambda: 0.0)
    monkeypatch.setattr(train.time, "monotonic", lambda: 0.0)
    return calls


def test_iterations_are_planned_once_for_the_time_and_kept(engine, places, tmp_path, measured):
    command = say(
        *("--recipe", "quick", "--models", "1fm,3fm", "--shares", "1,2", "--width", "32", "--time", "60s"),
        *("--no-report", *places, tmp_path / "out"),
    )
    assert train.main(command) == 0
    planned = followed(tmp_path / "out").iterations
    # 98 % of 60 s, a third of it for 1fm, after a second each to start
    assert planned == {"1fm": 1 + int((58.8 / 3 - 1) / 0.1), "3fm": 1 + int((58.8 * 2 / 3 - 1) / 0.1)}
    assert TrainedRun(tmp_path / "out").highest_iteration("3fm") == planned["3fm"]
    assert train.main(command) == 0
    assert len(measured) == 1
    assert followed(tmp_path / "out").iterations == planned


def test_another_time_is_refused(engine, places, tmp_path, measured, capsys):
    ends = say(*SHORT[:-2], "--no-report", *places, tmp_path / "out")
    assert train.main(["--time", "60s", *ends]) == 0
    assert train.main(["--time", "2m", *ends]) == 1
    assert "with --time 60s; this one has --time 120s" in capsys.readouterr().err


def test_a_recipe_holds_nothing_out_of_too_few_planes_but_a_command_line_is_refused(engine, tmp_path, capsys):
    data = np.arange(3 * 40 * 48).reshape(3, 40, 48).astype(np.uint8)
    images = png_folder(tmp_path / "images", data)
    labels = png_folder(tmp_path / "labels", (data > 99) * np.uint8(255))
    ends = say("--models", "1fm", "--width", 32, "--numiterations", 2, "--no-report", images, labels, tmp_path / "out")
    assert train.main(["--recipe", "best", *ends]) == 0
    assert validation_of(tmp_path / "out" / "1fm").calibration.planes == "planes that were trained on"
    assert train.main(["--holdout", "30%", *ends[:-1], str(tmp_path / "other")]) == 1
    assert "leave 1 to train on, expected 3 at least" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def maps(folder: Path) -> np.ndarray:
    return read_all(open_volume(folder / "1fm"))


def test_predictions_are_calibrated_unless_they_are_told_not_to_or_are_exact(engine, places, tmp_path, caplog):
    caplog.set_level("INFO")
    assert train.main(say(*SHORT, *SCORED, *places, tmp_path / "out")) == 0
    calibration = validation_of(tmp_path / "out" / "1fm").calibration
    ends = ("--models", "1fm", "--augspeed", "10", "--no-report", tmp_path / "out", places[0])
    for name, words in (
        ("plain", ["--no-calibration"]),
        ("exact", ["--exact"]),
        ("usual", []),
        ("wide", ["--workers=2"]),
    ):
        assert predict.main(say(*words, *ends, tmp_path / name)) == 0
    plain, usual = maps(tmp_path / "plain"), maps(tmp_path / "usual")
    assert np.abs(plain.astype(float) / 255 - read_all(open_volume(places[0])) / 255).max() < 0.01
    assert np.abs(usual / 255 - calibration.apply(plain / 255)).max() < 0.02
    assert not np.array_equal(plain, usual)
    assert np.array_equal(usual, maps(tmp_path / "wide"))
    assert f"Calibrated: 1fm ({calibration.words})" in caplog.text
    assert "Maps are not calibrated, as asked" in caplog.text
    assert "calibration" not in (tmp_path / "exact" / "predict.config").read_text()


def test_calibrated_and_other_maps_are_not_mixed(engine, places, tmp_path, capsys):
    assert train.main(say(*SHORT, *SCORED, *places, tmp_path / "out")) == 0
    ends = say("--models", "1fm", "--augspeed", "10", "--no-report", tmp_path / "out", places[0], tmp_path / "maps")
    assert predict.main(ends) == 0
    assert predict.main(["--no-calibration", *ends]) != 0
    assert "with calibration = 1fm" in capsys.readouterr().err


def test_images_are_normalised_as_the_model_s_were(engine, tmp_path):
    z, y, x = np.indices((6, 40, 48))
    data = (9000 + 7 * ((z * 13 + y * 5 + x * 3) % 200)).astype(np.uint16)
    images = png_folder(tmp_path / "images", data)
    labels = png_folder(tmp_path / "labels", (data > 9700) * np.uint8(255))
    ends = say("--models", "1fm", "--width", 32, "--numiterations", 2, "--no-report", images, labels, tmp_path / "out")
    assert train.main(["--normalise", "volume", *ends]) == 0
    assert trained_on(tmp_path / "out").enhancement == Normalisation(whole_volume=True)
    ends = say("--augspeed", "10", "--no-report", tmp_path / "out")
    other = png_folder(tmp_path / "darker", ((data - 9000) // 7 + 20).astype(np.uint8))
    for name, volume in (("one", images), ("other", other)):
        assert predict.main([*ends, str(volume), str(tmp_path / name)]) == 0
    one, two = maps(tmp_path / "one"), maps(tmp_path / "other")
    assert np.abs(one.astype(int) - two).max() <= 1
    assert abs(one.mean() - 128) < 1
    assert abs(one.std() - 42) < 1


def test_several_classes_are_scored_on_held_out_planes_and_calibrated(engine, tmp_path):
    z, y, x = np.indices((PLANES, 40, 48))
    data = ((z * 13 + y * 5 + x * 3) % 200).astype(np.uint8)
    labels = np.digitize(data, (80, 140)).astype(np.uint8)
    named = png_folder(tmp_path / "images", data), png_folder(tmp_path / "labels", labels)
    assert train.main(say(*SHORT, *SCORED, "--classes", 3, *named, tmp_path / "out")) == 0
    record = validation_of(tmp_path / "out" / "1fm")
    assert [len(scored.classes) for scored in record.scored] == [2, 2, 2]
    assert record.best.f1 == pytest.approx(np.mean(record.best.classes))
    assert [record.calibration_of(label).label for label in (1, 2)] == [1, 2]
    # the identity shows gray values as the probability of either class
    assert record.calibration_of(2).threshold * 255 == pytest.approx(139.5, abs=1.5)
