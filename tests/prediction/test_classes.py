"""Models of several classes: a folder of maps for each, and what scores and shows them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from cdeep3m.api import load_model
from cdeep3m.api import predict as api_predict
from cdeep3m.cli import predict, runprediction, score
from cdeep3m.engines.base import CPU, TrainedModel
from cdeep3m.engines.embedded.engine import EmbeddedEngine
from cdeep3m.engines.embedded.prediction.predictor import Predictor
from cdeep3m.errors import InputError, NetError
from cdeep3m.evaluation.scoring import score_maps
from cdeep3m.nets.prototxts import deploy
from cdeep3m.prediction.run import PredictRequest
from cdeep3m.proto import caffemodel, prototxt
from cdeep3m.rules import ORIGINAL
from cdeep3m.runs.calibration import Calibration
from cdeep3m.runs.trained import TrainedRun
from cdeep3m.runs.validation import Validation
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
    box = tmp_path / "box"
    assert predict.main([*RUN, "--overlays", "--roi", "0:1,0:40,4:60", str(trained), str(images), str(box)]) == 0
    assert np.array(Image.open(box / "overlay" / "overlay_0001.png")).shape == (40, 56, 3)
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


@pytest.fixture
def predicted(tmp_path):
    """The folder of a prediction of three classes, their labels, and values that find two of them."""
    (tmp_path / "out").mkdir()
    values = {label: np.where(label == LABELS, 200, 10).astype(np.uint8) for label in (1, 2, 3)}
    values[3][LABELS == 3] = 100
    values[2][0, 0, :5] = 255
    for label, stack in values.items():
        png_folder(tmp_path / "out" / f"class_{label}" / "ensembled", stack, "Segmented_%04d.png")
    return [str(tmp_path / "out"), str(png_folder(tmp_path / "labels", LABELS.astype(np.uint8)))]


def test_every_class_of_a_prediction_is_scored_and_so_is_one_alone(predicted, capsys):
    assert score.main(["--json", *predicted]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told["classes"]) == ["1", "2", "3"]
    alone = score_maps(f"{predicted[0]}/class_2", predicted[1], label=2)
    assert told["classes"]["2"]["f1"] == alone.scores.f1 < 1
    assert told["classes"]["2"]["objects"]["true"] == alone.objects.true
    assert [told["classes"][label]["f1"] for label in ("1", "3")] == [1.0, 0.0]
    assert told["mean"]["f1"] == pytest.approx((1 + alone.scores.f1) / 3)
    assert told["mean"]["precision"] == pytest.approx((1 + alone.scores.precision) / 2), "of class 3 nothing is found"
    assert score.main(["--json", "--class", "2", *predicted]) == 0
    assert json.loads(capsys.readouterr().out)["f1"] == alone.scores.f1


def test_the_table_and_the_file_of_planes_name_the_classes(predicted, tmp_path, capsys):
    assert score.main(["--csv", str(tmp_path / "planes.csv"), *predicted]) == 0
    titles, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["1", "2", "3", "mean"]
    assert rows[0].split()[1:5] == ["0.502", "1.000", "1.000", "1.000"]
    assert len({len(line) for line in (titles, *rows[:3])}) == 1
    lines = (tmp_path / "planes.csv").read_text().splitlines()
    assert lines[0] == "class,plane,precision,recall,f1,iou"
    assert [line.split(",")[:2] for line in lines[1:]] == [[str(c), str(z)] for c in (1, 2, 3) for z in (1, 2)]


def test_each_class_gets_its_own_threshold(predicted, capsys):
    for asked in (["--threshold", "best"], ["--threshold-from", *predicted]):
        assert score.main(["--json", *asked, *predicted]) == 0
        told, said = capsys.readouterr()
        found = json.loads(told)["classes"]
        assert [found[label]["f1"] for label in ("1", "3")] == [1.0, 1.0]
        assert 10 / 255 < found["3"]["threshold"] <= 100 / 255
        assert ("chosen on the labels that are scored" in said) == (asked[1] == "best")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--picture", "scores.png"), "--picture draws one class: choose it with --class"),
        (("--class", "4"), "holds maps of class 1, 2, 3; found none of class 4"),
    ],
)
def test_what_is_of_one_class_alone_is_said(predicted, words, message, capsys):
    assert score.main([*words, *predicted]) == 1
    assert message in capsys.readouterr().err


def test_a_threshold_of_several_classes_is_no_threshold_of_one(predicted, capsys):
    alone = [f"{predicted[0]}/class_2", predicted[1]]
    assert score.main(["--threshold-from", *predicted, alone[0], alone[1]]) == 1
    assert "holds maps of class 1, 2, 3; expected those of one" in capsys.readouterr().err


def test_a_class_without_maps_is_told(predicted, tmp_path, capsys):
    (tmp_path / "out" / "class_3").rename(tmp_path / "elsewhere")
    assert score.main(predicted) == 0
    assert "hold 3, of which there are no maps" in capsys.readouterr().err
    assert score.main(["--ignore", "3", *predicted]) == 0
    assert "of which there are no maps" not in capsys.readouterr().err


def test_the_original_s_command_says_that_it_shows_one_class(trained, tmp_path, caplog):
    images = png_folder(tmp_path / "images", IMAGES)
    assert runprediction.main([*RUN, "--models", "1fm", str(trained), str(images), str(tmp_path / "out")]) == 0
    assert "tells 4 classes apart, and the maps will show class 1" in caplog.text


def test_each_class_is_shown_by_its_own_calibration(trained, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(trained, model)
    weights = "1fm_classifer_iter_1.caffemodel"
    fitted = [
        Calibration(weights=weights, scale=0.5 * label, offset=0.2 * label, planes="", label=label) for label in (1, 3)
    ]
    record = Validation()
    for calibration in fitted:
        record = record.with_calibration(calibration)
    record.write(model / "1fm")
    images = png_folder(tmp_path / "images", IMAGES)
    assert predict.main([*RUN, str(model), str(images), str(tmp_path / "out")]) == 0
    assert predict.main([*RUN, "--no-calibration", str(model), str(images), str(tmp_path / "plain")]) == 0
    of_classes = {label: [maps(tmp_path / name / f"class_{label}") for name in ("out", "plain")] for label in (1, 2, 3)}
    np.testing.assert_array_equal(*of_classes[2])
    for calibration in fitted:
        shown, plain = of_classes[calibration.label]
        assert np.abs(shown / 255 - calibration.apply(plain / 255)).max() < 0.01
        assert (shown != plain).any()
    loaded = load_model(model, aug_speed=10, gpu=-1, label=3)
    assert loaded.nets["1fm"].calibration == fitted[1]
    np.testing.assert_array_equal(api_predict(IMAGES, loaded, fit=True), of_classes[3][0])


@pytest.mark.parametrize("command", [predict, runprediction])
def test_a_net_of_one_class_is_refused_and_no_success(command, trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "trained")
    path = tmp_path / "trained" / "1fm" / "deploy.prototxt"
    net = prototxt.read_net(path)
    score_layer = [layer for layer in net.layer if layer.convolution_param.num_output == CLASSES][-1]
    score_layer.convolution_param.num_output = 1
    prototxt.write(path, net)
    images = png_folder(tmp_path / "images", IMAGES)
    models = ["--models", "1fm"]
    assert command.main([*RUN, *models, str(tmp_path / "trained"), str(images), str(tmp_path / "out")]) == 10
    assert "ERROR, " in capsys.readouterr().err
