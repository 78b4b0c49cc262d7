"""Labels of several classes, and of voxels that nobody has labelled: read, checked, trained on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cdeep3m.cli import train
from cdeep3m.engines import select
from cdeep3m.engines.base import LabelledVolume
from cdeep3m.engines.learning import Loss
from cdeep3m.engines.patches import LabelSelection, PatchSampler
from cdeep3m.errors import InputError
from cdeep3m.nets.prototxts import LABEL_CLASS_SELECTION, NETS, TRAIN_VAL, NetMake, deploy, messages, train_val
from cdeep3m.proto import prototxt
from cdeep3m.rules import ORIGINAL
from cdeep3m.training.data import load_labelled_volume
from cdeep3m.volumes.labels import IGNORED, Labelling
from fake_training_engine import InProcess
from octave_cases import hdf5_file, png_folder, synth, tiff_stack

if TYPE_CHECKING:
    from pathlib import Path

DATA = synth(3, 330, 340)
CLASSES = (np.arange(DATA.size).reshape(DATA.shape) // 7 % 4).astype(np.uint8)
MAKERS = {
    "png": png_folder,
    "tif": lambda path, stack: tiff_stack(path.with_suffix(".tif"), stack),
    "h5": lambda path, stack: hdf5_file(path.with_suffix(".h5"), stack),
}


def loaded(w: Path, label: np.ndarray, kind: str = "png", **labelling) -> np.ndarray:
    named = png_folder(w / "i", DATA), MAKERS[kind](w / "l", label)
    return load_labelled_volume(*named, labelling=Labelling(**labelling))[1]


@pytest.mark.parametrize("kind", MAKERS)
def test_classes_are_the_numbers_in_the_labels(tmp_path, kind):
    label = loaded(tmp_path, CLASSES, kind, classes=4)
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, CLASSES)


@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_ignored_is_255_in_memory(tmp_path, kind):
    label = loaded(tmp_path, np.where(CLASSES == 3, 77, CLASSES).astype(np.uint8), kind, classes=3, ignore=77)
    np.testing.assert_array_equal(label, np.where(CLASSES == 3, IGNORED, CLASSES))


@pytest.mark.parametrize("foreground", [1, 9, 255])
def test_of_two_classes_any_number_is_foreground(tmp_path, foreground):
    stored = np.array([0, foreground, 2, 0], np.uint8)[CLASSES]
    label = loaded(tmp_path, stored, ignore=2)
    np.testing.assert_array_equal(label, np.array([0, 1, IGNORED, 0])[CLASSES])


@pytest.mark.parametrize(
    ("labelling", "problem"),
    [
        ({"classes": 3}, "labels hold 3; expected 0 to 2 for 3 classes"),
        ({"ignore": 3}, "expected 0 for background and one other value"),
        ({"classes": 1}, "--classes 1: expected a number from 2"),
        ({"classes": 256}, "--classes 256: expected a number from 2"),
        ({"classes": 4, "ignore": 2}, "--ignore 2: 2 is a class"),
        ({"ignore": 0}, "--ignore 0: 0 is a class"),
    ],
)
def test_numbers_that_stand_for_nothing_are_refused(tmp_path, labelling, problem):
    with pytest.raises(InputError, match=problem):
        loaded(tmp_path, CLASSES, **labelling)


def test_exact_mode_knows_two_classes(tmp_path):
    named = png_folder(tmp_path / "i", DATA), png_folder(tmp_path / "l", CLASSES)
    with pytest.raises(InputError, match="leave out --exact, or --classes and --ignore"):
        load_labelled_volume(*named, rules=ORIGINAL, labelling=Labelling(classes=4))


def test_shares_of_the_classes_are_told_among_what_counts(tmp_path, caplog):
    stored = np.zeros_like(DATA)
    stored[0, :33] = 2
    stored[1:] = 5
    with caplog.at_level(logging.INFO):
        loaded(tmp_path, stored, classes=3, ignore=5)
    told = [record.getMessage().split(": ", 1)[1] for record in caplog.records if "class 0" in record.getMessage()]
    assert told == ["class 0 90 %, class 2 10 %"]
    assert any("66.7 % of the voxels do not count" in record.getMessage() for record in caplog.records)


def test_labels_of_one_class_alone_are_warned_of(tmp_path, caplog):
    loaded(tmp_path, np.where(CLASSES == 1, np.uint8(2), np.uint8(0)), ignore=2)
    assert "holds class 0 alone: there is nothing to tell apart" in caplog.text


@pytest.mark.parametrize(
    ("labelling", "words"),
    [
        ({"classes": 5}, "holds no voxel of class 4: nothing is learned of it here"),
        ({"classes": 4, "ignore": 9}, "holds no 9, the label that --ignore names"),
        ({"classes": 4}, None),
    ],
)
def test_classes_that_nothing_is_learned_of_are_warned_of(tmp_path, caplog, labelling, words):
    with caplog.at_level(logging.INFO):
        loaded(tmp_path, CLASSES, **labelling)
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == (words is not None)
    assert words is None or words in warned[0]
    assert ("do not count" in caplog.text) == ("ignore" in labelling)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("width", [1, 8, 32])
def test_nets_of_several_classes_differ_in_their_scores_alone(net, width):
    two, five = deploy(net, width=width), deploy(net, width=width, classes=5)
    scoring = {layer.name for layer in deploy(net).layer if layer.convolution_param.num_output == 2}
    assert len(scoring) == 20
    for one, other in zip(two.layer, five.layer, strict=True):
        if one.name in scoring:
            assert (one.convolution_param.num_output, other.convolution_param.num_output) == (2, 5)
            one.convolution_param.num_output = 5
        assert one == other


def test_training_nets_of_several_classes_know_their_number():
    net = train_val("3fm", classes=4)
    for layer in net.layer:
        if layer.type in ("PatchData", "SoftmaxWithLoss"):
            assert layer.label_select_param.num_labels == layer.label_select_param.num_top_label_balance == 4
        if layer.type == "Accuracy":
            assert layer.accuracy_param.ignore_label == 4
    assert sum(layer.convolution_param.num_output == 4 for layer in net.layer) == 20


def test_patches_are_centred_on_every_class_and_on_background_a_quarter_as_often():
    selection = LabelSelection.from_message(messages("1fm", make=NetMake(classes=4))[LABEL_CLASS_SELECTION])
    assert selection.acceptance == {0: 0.25, 1: 1.0, 2: 1.0, 3: 1.0}
    assert selection.rest == 0


@pytest.mark.parametrize("classes", [1, 256])
def test_a_number_of_classes_out_of_range_is_refused(classes):
    with pytest.raises(InputError, match=f"--classes {classes}"):
        NetMake(classes=classes)


def test_patches_of_a_volume_with_two_labelled_voxels_are_found_at_once():
    label = np.full((500, 400, 3), IGNORED, np.uint8)
    label[100, 200, 1], label[300, 100, 2] = 1, 0
    data = np.arange(label.size, dtype=np.float32).reshape(label.shape)
    selection = LabelSelection(acceptance={0: 0.25, 1: 1.0}, rest=0.0)
    sampler = PatchSampler(
        [LabelledVolume(data, label)], data_shape=(1, 1, 1), label_shape=(1, 1, 1), selection=selection
    )
    rng = np.random.default_rng(0)
    drawn = [int(sampler.draw(rng)[0].item()) for _ in range(200)]
    places = [int(data[100, 200, 1]), int(data[300, 100, 2])]
    assert set(drawn) == set(places)
    assert 110 < drawn.count(places[0]) < 190


def test_a_volume_without_a_label_to_train_on_is_told_at_once():
    label = np.full((20, 20, 3), IGNORED, np.uint8)
    selection = LabelSelection(acceptance={0: 0.25, 1: 1.0}, rest=0.0)
    volume = LabelledVolume(label, label)
    sampler = PatchSampler([volume], data_shape=(4, 4, 1), label_shape=(4, 4, 1), selection=selection)
    with pytest.raises(InputError, match="volume 1 has no place with a label to train on"):
        sampler.draw(np.random.default_rng(0))


def test_shares_of_classes_are_those_of_what_is_drawn_from():
    one = np.array([0, 0, 0, 1, 2, 7, 7, 7], np.uint8).reshape(2, 2, 2)
    other = np.ones((2, 2, 2), np.uint8)
    volumes = [
        LabelledVolume(one, one, 3.0),
        LabelledVolume(one[::-1], one[::-1], 3.0),
        LabelledVolume(other, other, 2.0),
    ]
    sampler = PatchSampler(volumes, data_shape=(1, 1, 1), label_shape=(1, 1, 1))
    expected = np.array([3 / 8 * 6 / 8, 1 / 8 * 6 / 8 + 2 / 8, 1 / 8 * 6 / 8])
    assert sampler.class_shares(3, ignored=[7]) == pytest.approx(list(expected / expected.sum()))


def words(w: Path, *options: str) -> list[str]:
    images, labels = png_folder(w / "i", DATA), png_folder(w / "l", np.where(CLASSES == 3, 9, CLASSES).astype(np.uint8))
    shape = ("--models", "1fm", "--width", "32", "--patch_side", "16", "--numiterations", "2", "--no-report")
    return [*shape, *options, str(images), str(labels), str(w / "out")]


def test_options_reach_the_nets_the_labels_and_the_loss(tmp_path, monkeypatch):
    engine = InProcess()
    monkeypatch.setattr(select, "select_engine", lambda name, *, gpu: (engine, [-1]))
    assert train.main(words(tmp_path, "--classes", "3", "--ignore", "9")) == 0
    (job,) = engine.jobs
    assert job.learning.loss == Loss(ignore=IGNORED)
    np.testing.assert_array_equal(job.training[0].label, np.where(CLASSES == 3, IGNORED, CLASSES).transpose(2, 1, 0))
    net = prototxt.read_net(tmp_path / "out" / "1fm" / TRAIN_VAL)
    assert net == messages_as_written(tmp_path / "out")


def messages_as_written(out: Path):
    """Return the net of three classes with the lists of a run in `out`."""
    net = train_val("1fm", width=32, patch_side=16, classes=3)
    for layer in net.layer:
        if layer.type == "PatchData":
            name = "train_file.txt" if layer.transform_nd_param.mirror else "valid_file.txt"
            layer.data_provider_param.data_source = str(out / name)
    return net


def test_labels_with_more_values_are_refused_without_a_word_of_them(tmp_path, capsys):
    assert train.main(words(tmp_path)) == 1
    assert "expected 0 for background and one other value" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("loss", [(), ("--loss", "ce,dice,focal=1", "--class-weights", "frequency")])
def test_sparse_labels_of_three_classes_train_for_real(tmp_path, loss):
    options = ("--classes", "3", "--ignore", "9", "--iter_size", "1", "--seed", "1", "--gpu", "-1", *loss)
    assert train.main(words(tmp_path, *options)) == 0
    log = (tmp_path / "out" / "1fm" / "log" / "out.log").read_text()
    assert "Optimization Done." in log
    assert (tmp_path / "out" / "1fm" / "trainedmodel" / "1fm_classifer_iter_2.caffemodel").is_file()
