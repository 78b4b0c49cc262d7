"""Folders of published models: a net that predicts and its weights, written by whomever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from cdeep3m.cli import predict, runprediction, runtraining
from cdeep3m.engines.embedded.prediction.predictor import Predictor
from cdeep3m.nets.prototxts import deploy
from cdeep3m.proto.caffemodel import blob_to_array, read_model, write_model
from cdeep3m.runs.trained import TrainedRun
from deploy_spellings import SPELLINGS, by_hand, plain, with_fields_of_another_fork, with_input_dim, with_phases
from random_nets import random_net

if TYPE_CHECKING:
    from cdeep3m.engines.base import TrainedModel

WIDTH = 32
SIDES = (48, 64)
ITERATION = 30000


@pytest.fixture(scope="module")
def net():
    """A compact 3fm, and random weights for it whose scores differ from pixel to pixel."""
    message = deploy("3fm", width=WIDTH, sides=SIDES)
    random = random_net(message)
    for layer in random.layers:
        if layer.name.startswith(("conv_deconv", "fc1_")) and layer.blobs:
            layer.blobs[0].mul_(30)
    return message, random.to_message()


def publish(folder, message, weights, spelling, name="3fm"):
    """Write what a published model holds of one net, and nothing else."""
    (folder / name / "trainedmodel").mkdir(parents=True)
    (folder / name / "deploy.prototxt").write_text(spelling(message), encoding="utf-8", newline="")
    write_model(folder / name / "trainedmodel" / f"{name}_classifer_iter_{ITERATION}.caffemodel", weights)
    return folder


def windows():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (3, SIDES[1], SIDES[0]), dtype=np.uint8) for _ in range(2)]


def probabilities(model: TrainedModel) -> np.ndarray:
    import torch

    return np.stack(list(Predictor(model, torch.device("cpu")).foreground(windows())))


@pytest.fixture(scope="module")
def expected(net, tmp_path_factory):
    """What the net predicts as this project writes it."""
    return probabilities(TrainedRun(publish(tmp_path_factory.mktemp("plain"), *net, plain)).model("3fm"))


@pytest.mark.parametrize("spelling", SPELLINGS[1:], ids=lambda spelling: spelling.__name__)
def test_every_spelling_of_a_net_predicts_the_same(net, expected, spelling, tmp_path):
    found = probabilities(TrainedRun(publish(tmp_path, *net, spelling)).model("3fm"))
    assert np.ptp(expected) > 0.1
    assert_array_equal(found, expected)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56), dtype=np.uint8)).save(folder / "image_1.png")
    return folder


@pytest.mark.parametrize(("command", "spelling"), [(runprediction, by_hand), (predict, with_fields_of_another_fork)])
def test_the_commands_predict_with_a_published_folder(net, images, command, spelling, tmp_path):
    maps = []
    for name, way in (("plain", plain), ("other", spelling)):
        folder, out = publish(tmp_path / name, *net, way), tmp_path / f"{name} maps"
        options = ["--augspeed", "10", "--gpu", "-1", "--models", "3fm"]
        assert command.main([*options, str(folder), str(images), str(out)]) == 0
        maps.append(np.stack([np.array(Image.open(path)) for path in sorted((out / "ensembled").glob("*.png"))]))
    assert_array_equal(*maps)
    assert maps[0].shape == (1, 40, 56)
    assert len(np.unique(maps[0])) > 10


@pytest.fixture
def augmented(tmp_path):
    folder = tmp_path / "aug"
    folder.mkdir()
    data = np.random.default_rng(3).integers(0, 256, (40, 40, 4), dtype=np.uint8)
    for variant in range(1, 17):
        with h5py.File(folder / f"training_full_stacks_v{variant}.h5", "w") as file:
            file["data"], file["label"] = data, (data > 100).astype(np.uint8)
    return folder


@pytest.mark.parametrize("spelling", [with_input_dim, with_phases], ids=lambda spelling: spelling.__name__)
def test_a_published_folder_is_trained_further(net, augmented, spelling, tmp_path):
    message, weights = net
    published, out = publish(tmp_path / "published", message, weights, spelling), tmp_path / "out"
    before = {path: path.read_bytes() for path in published.rglob("*") if path.is_file()}
    options = ["--patch_side", "32", "--iter_size", "1", "--additerations", "1", "--gpu", "-1", "--seed", "1"]
    words = ["--models", "3fm", "--retrain", str(published), *options, str(augmented), str(out)]
    assert runtraining.main(words) == 0
    assert {path: path.read_bytes() for path in published.rglob("*") if path.is_file()} == before
    model = TrainedRun(out).model("3fm")
    assert model.weights.name == "3fm_classifer_iter_1.caffemodel"
    old, new = (factors(each) for each in (weights, read_model(model.weights)))
    assert old == pytest.approx([2.5] * len(old))
    assert new == pytest.approx([2.5 * 0.999 + 1] * len(old), rel=1e-3), "the training began with other weights"
    assert np.isfinite(probabilities(model)).all()


def factors(model):
    """What BatchNorm's statistics are divided by: it counts the batches seen."""
    return [float(blob_to_array(layer.blobs[2])[0]) for layer in model.layer if layer.type == "BatchNorm"]
