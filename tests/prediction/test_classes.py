"""Models of several classes: a folder of maps for each, and what scores and shows them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from cdeep3m.cli import predict, score
from cdeep3m.engines.base import CPU, TrainedModel
from cdeep3m.engines.embedded.engine import EmbeddedEngine
from cdeep3m.engines.embedded.prediction.predictor import Predictor
from cdeep3m.errors import InputError, NetError
from cdeep3m.evaluation.scoring import score_maps
from cdeep3m.nets.prototxts import deploy
from cdeep3m.prediction.run import PredictRequest
from cdeep3m.proto import caffemodel, prototxt
from cdeep3m.rules import ORIGINAL
from cdeep3m.runs.trained import TrainedRun
from octave_cases import png_folder, synth
from random_nets import random_net

CLASSES = 4
IMAGES = synth(2, 48, 64, 3)
RUN = ("--fit", "--augspeed", "10", "--gpu", "-1", "--no-report")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a training of a 1fm of four classes whose maps differ."""
    folder = tmp_path_factory.mktemp("trained")
    publish(folder, "1fm", CLASSES)
    return folder


def publish(folder, name: str, classes: int) -> None:
    net = random_net(deploy(name, width=32, sides=(48, 64), classes=classes))
    for layer in net.layers:
        if layer.name.startswith("conv") and layer.blobs:
            layer.blobs[0].mul_(4)
    (folder / name / "trainedmodel").mkdir(parents=True)
    prototxt.write(folder / name / "deploy.prototxt", net.message)
    caffemodel.write_model(folder / name / "trainedmodel" / f"{name}_classifer_iter_1.caffemodel", net.to_message())


def maps(folder) -> np.ndarray:
    return np.stack([np.array(Image.open(path)) for path in sorted((folder / "ensembled").glob("Segmented_*.png"))])


def test_a_model_of_several_classes_predicts_a_folder_of_maps_for_each(trained, tmp_path):
    images, out = png_folder(tmp_path / "images", IMAGES), tmp_path / "out"
    assert predict.main([*RUN, "--overlays", str(trained), str(images), str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["class_1", "class_2", "class_3", "overlay"]
    found = np.stack([maps(out / f"class_{label}") for label in (1, 2, 3)]).astype(float)
    assert len({each.tobytes() for each in found}) == 3
    assert (found.sum(axis=0) <= 257).all()
    pictures = [np.array(Image.open(path)) for path in sorted((out / "overlay").iterdir())]
    assert [picture.shape for picture in pictures] == [(48, 64, 3)] * 2
    one = tmp_path / "one"
    assert predict.main([*RUN, "--class", "2", str(trained), str(images), str(one)]) == 0
    np.testing.assert_array_equal(maps(one), found[1])
    assert predict.main([*RUN, "--class", "3", str(trained), str(images), str(one)]) != 0


def test_the_probabilities_of_all_classes_sum_up_to_1(trained):
    model = TrainedRun(trained).model("1fm")
    window = IMAGES[:1]
    of_classes = [next(loaded(model, label).foreground([window])) for label in range(CLASSES)]
    np.testing.assert_allclose(sum(of_classes), 1, atol=1e-5)
    together = next(Predictor(model, EmbeddedEngine().place(CPU)).probabilities([window]))
    np.testing.assert_allclose(np.stack(of_classes), together.swapaxes(1, 2), atol=1e-6)


def loaded(model: TrainedModel, label: int):
    return EmbeddedEngine().load(TrainedModel(net=model.net, deploy=model.deploy, weights=model.weights, label=label))


def test_a_class_that_the_net_lacks_is_refused(trained):
    with pytest.raises(NetError, match="class 4 was asked for, expected one of its 0 to 3"):
        loaded(TrainedRun(trained).model("1fm"), CLASSES)


def test_nets_of_different_classes_are_not_averaged(tmp_path, capsys):
    for name, classes in (("1fm", 2), ("3fm", 3)):
        publish(tmp_path / "trained", name, classes)
    images = png_folder(tmp_path / "images", IMAGES)
    assert predict.main([*RUN, str(tmp_path / "trained"), str(images), str(tmp_path / "out")]) == 1
    assert "different numbers of classes apart (1fm 2, 3fm 3)" in capsys.readouterr().err


def test_exact_mode_shows_class_1(tmp_path):
    with pytest.raises(InputError, match="the original shows class 1"):
        PredictRequest(trained=tmp_path, images=tmp_path, out=tmp_path, label=2, rules=ORIGINAL)


LABELS = np.arange(2 * 30 * 40).reshape(2, 30, 40) // 100 % 4


def test_each_class_is_scored_against_all_others(tmp_path):
    values = np.where(LABELS == 2, 200, 10).astype(np.uint8)
    values[0, 0, :5] = 255
    named = png_folder(tmp_path / "maps", values), png_folder(tmp_path / "labels", LABELS.astype(np.uint8))
    found = score_maps(*named, label=2, objects=False)
    assert found.scores.recall == 1
    assert found.scores.precision == pytest.approx((LABELS == 2).sum() / ((LABELS == 2).sum() + 5))
    without = score_maps(*named, label=2, ignore=0, objects=False)
    assert without.total.sum() == (LABELS != 0).sum()
    assert without.scores.precision == 1


def test_ignored_voxels_are_no_objects_and_count_nowhere(tmp_path, capsys):
    labels = np.zeros((1, 20, 20), np.uint8)
    labels[0, 2:6, 2:6], labels[0, 10:, :] = 1, 2
    values = np.where(labels, 255, 0).astype(np.uint8)
    named = [str(png_folder(tmp_path / name, volume)) for name, volume in (("maps", values), ("labels", labels))]
    assert score.main([*named]) == 1
    capsys.readouterr()
    assert score.main(["--json", "--ignore", "2", *named]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["voxels"], found["f1"], found["objects"]["true"]) == (200, 1.0, 1)
    assert score.main(["--json", "--class", "1", "--threshold-from", *named, *named]) == 0
    assert json.loads(capsys.readouterr().out)["recall"] == 1
    assert score.main(["--instances", "--class", "1", *named]) == 1
