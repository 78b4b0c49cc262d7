"""`import cdeep3m`: arrays or addresses in, an array or an address out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import cdeep3m
from address_volumes import ArrayVolume, addresses, maps_of, read_folder
from cdeep3m import api
from cdeep3m.api import Model, predict
from cdeep3m.cli import train
from cdeep3m.engines import select
from cdeep3m.engines.identity import IdentityEngine, IdentityNet
from cdeep3m.errors import InputError, MissingModelError, RunError
from cdeep3m.prediction.core import NetInUse
from cdeep3m.runs.gray_range import GrayRange
from cdeep3m.runs.recipe import followed
from cdeep3m.runs.trained import TrainedRun
from cdeep3m.runs.validation import validation_of
from cdeep3m.tiling.variants import VARIANTS
from cdeep3m.training import planning
from cdeep3m.training.estimate import NetCost
from cdeep3m.volumes.enhancement import Enhancement, enhance
from octave_cases import png_folder


@pytest.fixture
def model():
    """Two nets whose probability is the voxel's own value."""
    return Model({net: NetInUse(IdentityNet(frames), VARIANTS[:2]) for net, frames in (("1fm", 1), ("3fm", 3))})


def test_an_array_an_address_and_a_volume_give_the_same_map(model, tmp_path):
    images = addresses((3, 20, 1030))
    png_folder(tmp_path / "images", images)
    expected = maps_of(images)
    assert_array_equal(cdeep3m.predict(images, model), expected)
    assert_array_equal(cdeep3m.predict(tmp_path / "images", model), expected)
    assert_array_equal(cdeep3m.predict(ArrayVolume(images), model), expected)


def test_a_map_can_go_to_an_address(model, tmp_path):
    images = addresses((3, 20, 30))
    assert cdeep3m.predict(images, model, tmp_path / "map") == tmp_path / "map"
    assert_array_equal(read_folder(tmp_path / "map"), maps_of(images))


def test_what_is_there_is_not_written_over(model, tmp_path):
    (tmp_path / "map").mkdir()
    (tmp_path / "map" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="expected a new or empty one"):
        cdeep3m.predict(addresses((3, 20, 30)), model, tmp_path / "map")
    assert [path.name for path in (tmp_path / "map").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "images", [np.zeros((20, 30), np.uint8), np.zeros((1, 20, 30), np.int32), np.zeros((0, 20, 30))]
)
def test_arrays_that_are_no_volume_are_refused(images, model):
    with pytest.raises(InputError, match="found an array of"):
        cdeep3m.predict(images, model)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.full((1, 20, 30), np.nan, np.float32), "the array of images holds NaN"),
        (
            np.full((1, 20, 30), 200.0),
            "expected 8- or 16-bit gray values without a sign, or floating point from 0 to 1",
        ),
        (
            np.ma.masked_array(addresses((1, 20, 30)), mask=True),
            "the images are a masked array; expected a value",
        ),
        ([[[1, 2]]], "the images are a list; expected an array"),
    ],
)
def test_values_that_are_no_gray_values_are_refused(images, words, model):
    with pytest.raises(InputError, match=words):
        cdeep3m.predict(images, model)


def test_floating_point_is_read_from_memory_as_from_a_file(model):
    images = addresses((3, 20, 30)).astype(np.uint16) * 257
    assert_array_equal(cdeep3m.predict(images / 65535, model), cdeep3m.predict(images, model))


def test_arrays_of_other_libraries_are_read(model, tmp_path):
    images = addresses((3, 20, 30))
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["raw"] = images
        assert_array_equal(cdeep3m.predict(file["raw"], model), maps_of(images))
    assert_array_equal(cdeep3m.predict(tensor_of(images), model), maps_of(images))


def tensor_of(images):
    """What has no type of NumPy, as tensors have none, and can be an array."""

    class Tensor:
        dtype = "torch.uint8"

        def __array__(self, dtype=None, copy=None):
            return images

    return Tensor()


@pytest.mark.parametrize("high", [4000, 65535])
def test_images_of_other_gray_values_than_the_trainings_are_refused(model, high):
    images = addresses((3, 20, 30)).astype(np.uint16)
    images[1, 2, 3] = high
    trained = replace(model, grays=GrayRange(type="uint8", low=0, high=255))
    with pytest.raises(InputError, match=f"hold uint16 values from 0 to {high}, the model was trained on"):
        cdeep3m.predict(images, trained)


def test_a_model_knows_the_gray_values_of_its_training_and_leaves_other_nets_out(tmp_path):
    images = np.random.default_rng(0).integers(0, 200, (2, 40, 48), dtype=np.uint8)
    cdeep3m.train(images, images > 127, tmp_path, nets=["1fm"], iterations=1, width=32, patch_side=32)
    shutil.copytree(tmp_path / "1fm", tmp_path / "older")
    loaded = cdeep3m.load_model(tmp_path, aug_speed=10)
    assert (loaded.grays.type, loaded.grays.high) == ("uint8", images.max())
    assert list(loaded.nets) == ["1fm"]


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(MissingModelError, match="no trained net in"):
        cdeep3m.load_model(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"aug_speed": 3}, "found aug_speed 3; expected one of 1, 2"),
        ({"precision": "half"}, "found precision 'half'"),
    ],
)
def test_settings_that_are_none_are_refused(tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        cdeep3m.load_model(tmp_path, **options)


ONE_STEP = {"nets": "1fm", "iterations": 1, "width": 32, "patch_side": 32}


def test_a_training_does_not_write_into_what_it_reads_nor_nowhere(tmp_path):
    images = addresses((2, 40, 48))
    png_folder(tmp_path / "images", images)
    png_folder(tmp_path / "labels", images % 2)
    before = sorted(tmp_path.rglob("*"))
    for place in (tmp_path / "images", tmp_path / "labels"):
        with pytest.raises(RunError, match="is what is read"):
            cdeep3m.train(tmp_path / "images", tmp_path / "labels", place, **ONE_STEP)
    with pytest.raises(InputError, match="an empty name"):
        cdeep3m.train(tmp_path / "images", tmp_path / "labels", "", **ONE_STEP)
    with pytest.raises(InputError, match="found --models 7fm; expected some of 1fm,3fm,5fm"):
        cdeep3m.train(tmp_path / "images", tmp_path / "labels", tmp_path / "trained", **{**ONE_STEP, "nets": ["7fm"]})
    assert sorted(tmp_path.rglob("*")) == before


def test_a_training_on_other_arrays_is_refused_where_one_is(tmp_path):
    images = addresses((2, 40, 48))
    cdeep3m.train(images, images % 2, tmp_path, **ONE_STEP)
    cdeep3m.train(images, images % 2 * 255, tmp_path, **ONE_STEP)
    other = images.copy()
    other[1, 3, 4] += 1
    for pair in ((other, images % 2), (images, other % 2)):
        with pytest.raises(RunError, match="holds a training on other images or labels"):
            cdeep3m.train(*pair, tmp_path, **ONE_STEP)


def test_labels_that_are_no_numbers_are_refused(tmp_path):
    images = addresses((3, 40, 40))
    with pytest.raises(InputError, match="the array of labels holds NaN"):
        cdeep3m.train(images, np.where(images > 40, np.nan, 0.0), tmp_path / "trained")
    assert not (tmp_path / "trained").exists()


def test_labels_of_several_values_are_refused(tmp_path):
    images = addresses((3, 40, 40))
    with pytest.raises(InputError, match="found labels of 0, 1, 2"):
        cdeep3m.train(images, images % 3, tmp_path / "trained")
    assert not (tmp_path / "trained").exists()


def test_a_training_goes_on_where_it_stopped(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 48), dtype=np.uint8)
    options = {"nets": ["1fm"], "width": 32, "patch_side": 32, "seed": 1}
    cdeep3m.train(images, images > 127, tmp_path / "trained", iterations=1, **options)
    cdeep3m.train(images, images > 127, tmp_path / "trained", iterations=2, **options)
    weights = sorted(path.name for path in (tmp_path / "trained/1fm/trainedmodel").glob("*.caffemodel"))
    assert weights == ["1fm_classifer_iter_1.caffemodel", "1fm_classifer_iter_2.caffemodel"]


@pytest.fixture
def identity(monkeypatch):
    """An engine that trains nothing, for commands and calls alike."""
    engine = IdentityEngine()
    monkeypatch.setattr(select, "select_engine", lambda name, *, gpu: (engine, [-1]))
    monkeypatch.setattr(api, "select_engine", lambda name, *, gpu: (engine, [-1]))
    return engine


@pytest.fixture
def labelled():
    z, y, x = np.indices((9, 40, 48))
    images = ((z * 13 + y * 5 + x * 3) % 200).astype(np.uint8)
    return images, (images > 120) * np.uint8(255)


COMPACT = {"nets": ["1fm"], "width": 32, "patch_side": 32, "seed": 1}


def test_a_recipe_is_followed_as_by_the_command(identity, labelled, tmp_path, caplog):
    caplog.set_level("INFO")
    places = [
        str(png_folder(tmp_path / name, stack)) for name, stack in zip(("images", "labels"), labelled, strict=True)
    ]
    how = {**COMPACT, "recipe": "quick", "iterations": 6, "holdout": "20%", "keep": "best"}
    cdeep3m.train(*places, tmp_path / "call", **how)
    words = [
        "--models",
        "1fm",
        "--width",
        "32",
        "--patch_side",
        "32",
        "--seed",
        "1",
        "--recipe",
        "quick",
        "--no-report",
    ]
    words += ["--numiterations", "6", "--holdout", "20%", "--keep", "best"]
    for folder in (tmp_path / "command", tmp_path / "call"):
        assert train.main([*words, *places, str(folder)]) == 0
    assert "1fm has reached iteration 6 of 6: nothing to do" in caplog.text
    call, command = (followed(tmp_path / name) for name in ("call", "command"))
    assert call == command
    for name in ("trained_on.json", ".training_images.json", "1fm/validation.json", "1fm/deploy.prototxt"):
        assert (tmp_path / "call" / name).read_bytes() == (tmp_path / "command" / name).read_bytes()


def test_arrays_are_held_out_scored_and_the_best_snapshot_is_kept(identity, labelled, tmp_path):
    folder = cdeep3m.train(
        *labelled, tmp_path / "out", recipe="quick", iterations=4, holdout=0.2, keep="best", **COMPACT
    )
    record = validation_of(folder / "1fm")
    assert (record.keep, record.planes) == ("best", "planes 8 to 9 of 9, held out")
    assert [scored.iteration for scored in record.scored] == [2, 4]
    assert followed(folder).options["holdout"] == "0.2"


def test_a_time_plans_the_iterations_once(identity, labelled, tmp_path, monkeypatch):
    calls = []

    def plan(request, engine, **options):
        calls.append(options["seconds"])
        return [
            NetCost(net=net, start=1.0, iteration=1.0, test=0.0, score=0.0, iterations=7, tests=1)
            for net in request.nets
        ]

    monkeypatch.setattr(planning, "plan", plan)
    for time in ("2m", 120):
        cdeep3m.train(*labelled, tmp_path / "out", recipe="quick", time=time, **COMPACT)
    assert calls == [120.0]
    assert followed(tmp_path / "out").iterations == {"1fm": 7}
    assert TrainedRun(tmp_path / "out").highest_iteration("1fm") == 7


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"recipe": "slow"}, "no recipe is called slow; expected one of original, quick, best"),
        ({"time": "soon"}, "expected a time as in 30m"),
        ({"time": "5m", "iterations": 3}, "both say how long to train"),
        ({"keep": "best"}, "without held-out planes"),
        ({"holdout": "120%"}, "expected a part of the planes"),
    ],
)
def test_what_cannot_be_together_is_refused(how, message, labelled, tmp_path):
    with pytest.raises(InputError, match=message):
        cdeep3m.train(*labelled, tmp_path / "out", **how)
    assert not (tmp_path / "out").exists()


def test_another_recipe_in_the_same_folder_is_refused(identity, labelled, tmp_path):
    cdeep3m.train(*labelled, tmp_path / "out", recipe="quick", iterations=2, **COMPACT)
    with pytest.raises(RunError, match="this one asks for none"):
        cdeep3m.train(*labelled, tmp_path / "out", iterations=2, **COMPACT)


def test_the_original_leaves_no_record_of_a_recipe(identity, labelled, tmp_path):
    cdeep3m.train(*labelled, tmp_path / "out", iterations=2, **COMPACT)
    assert not (tmp_path / "out" / "recipe.json").exists()
    assert not (tmp_path / "out" / "1fm" / "validation.json").exists()


def test_the_interface_is_loaded_when_it_is_asked_for():
    code = "import sys, cdeep3m; print('numpy' in sys.modules, callable(cdeep3m.predict), 'torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "True", "False"]


def test_other_names_are_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = cdeep3m.nonsense
    assert set(cdeep3m.__all__) <= set(dir(cdeep3m))


def test_images_are_enhanced_as_those_of_the_training_were():
    y, x = np.mgrid[:24, :30]
    stack = (120 + 60 * np.sin(y / 5) * np.cos(x / 6) + np.arange(2)[:, None, None] * 9 + (7 * x + 3 * y) % 11).astype(
        np.uint8
    )
    net = NetInUse(IdentityNet(1), VARIANTS[:1])
    plain = predict(stack, Model({"1fm": net}), fit=True)
    found = predict(stack, Model({"1fm": net}, enhancement=Enhancement()), fit=True)
    assert_array_equal(found, predict(np.stack([enhance(plane) for plane in stack]), Model({"1fm": net}), fit=True))
    assert (found != plain).any()
