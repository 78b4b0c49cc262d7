"""Training folders, whole and broken."""

from __future__ import annotations

import re

import numpy as np
import pytest

from cdeep3m.engines import select
from cdeep3m.errors import EngineError, MissingModelError
from cdeep3m.models.verify import verify
from cdeep3m.nets.fits import Fit
from cdeep3m.nets.prototxts import NetMake, train_val
from cdeep3m.proto import caffemodel, prototxt
from cdeep3m.proto.caffe_pb2 import LayerParameter, NetParameter, SolverState
from cdeep3m.training.folder import create_run
from published import WIDTH


def weights(folder, net="3fm"):
    return folder / net / "trainedmodel" / f"{net}_classifer_iter_30000.caffemodel"


def problems(folder):
    return {each.net: list(each.problems) for each in verify(folder)}


def changed_weights(folder, change):
    model = caffemodel.read_model(weights(folder))
    change({layer.name: layer for layer in model.layer})
    caffemodel.write_model(weights(folder), model)


def test_a_published_folder_is_whole(published):
    told = []
    one, three = verify(published, report=told.append)
    assert (one.net, one.iteration, one.fit, one.problems, one.files) == ("1fm", 30000, Fit("1fm", WIDTH), (), 2)
    assert three.weights == weights(published)
    assert three.parameters == sum(
        len(blob.data) for layer in caffemodel.read_model(three.weights).layer for blob in layer.blobs
    )
    assert told == ["1fm", "3fm"]


def test_a_training_folder_is_whole_with_all_its_files(folder):
    for net in ("1fm", "3fm"):
        (folder / net / "deploy.prototxt").unlink()
    create_run(folder, make=NetMake(width=WIDTH))
    state = SolverState(iter=30000, learned_net="/elsewhere/3fm_classifer_iter_30000.caffemodel")
    caffemodel.write_state(weights(folder).with_suffix(".solverstate"), state)
    older = folder / "3fm" / "trainedmodel" / "3fm_classifer_iter_9.caffemodel"
    older.write_bytes(weights(folder).read_bytes())
    reports = {each.net: each for each in verify(folder)}
    assert {net: each.problems for net, each in reports.items()} == {"1fm": (), "3fm": (), "5fm": ()}
    assert {net: each.files for net, each in reports.items()} == {"1fm": 5, "3fm": 7, "5fm": 4}
    assert reports["5fm"].weights is None


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("deploy.prototxt", None, "deploy.prototxt is not there"),
        ("deploy.prototxt", 'layer { name: "a', "deploy.prototxt, line 1"),
        ("deploy.prototxt", 'layer { name: "a" type: "Odd" top: "a" }', "layer a: unknown type 'Odd'"),
        ("deploy.prototxt", 'layer { name: "a" type: "DummyData" top: "a" }', "layer a"),
        ("trainedmodel/3fm_classifer_iter_30000.caffemodel", "", "this is an empty file"),
        ("trainedmodel/3fm_classifer_iter_7.caffemodel", "words", "3fm_classifer_iter_7.caffemodel: .*this is text"),
        ("trainedmodel/3fm_classifer_iter_7.solverstate", "words", "3fm_classifer_iter_7.solverstate: .*this is text"),
        ("solver.prototxt", "base_lr: fast", "solver.prototxt, line 1"),
        ("label_class_selection.prototxt", "words", "label_class_selection.prototxt, line 1"),
        ("train_val.prototxt", "words", "train_val.prototxt, line 1"),
    ],
)
def test_a_broken_file_is_named_once_and_the_other_net_is_whole(folder, name, content, complaint):
    path = folder / "3fm" / name
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    found = problems(folder)
    assert found["1fm"] == []
    (problem,) = found["3fm"]
    assert re.search(complaint, problem)
    assert "\n" not in problem


def test_weights_of_another_width_do_not_fit(folder):
    prototxt.write(folder / "3fm" / "train_val.prototxt", train_val("3fm", width=16))
    (problem,) = problems(folder)["3fm"]
    assert "train_val.prototxt: its layer conv1_2 does not fit the trained weights" in problem


def test_weights_that_lack_a_layer_do_not_fit(folder):
    changed_weights(folder, lambda layers: layers["conv1_2"].blobs.pop())
    (problem,) = problems(folder)["3fm"]
    assert "layer conv1_2 (Convolution): the model holds 1 blobs for it, the net has 2" in problem


def test_values_that_are_no_numbers_are_found(folder):
    def diverge(layers):
        layers["conv2_1b"].blobs[1].data[0] = np.nan

    changed_weights(folder, diverge)
    (problem,) = problems(folder)["3fm"]
    assert "layer conv2_1b holds values that are no numbers" in problem


def test_a_snapshot_of_another_net_and_a_state_without_its_weights_are_found(folder):
    other = NetParameter(layer=[LayerParameter(name="a", blobs=[caffemodel.array_to_blob([1.0])])])
    caffemodel.write_model(folder / "3fm" / "trainedmodel" / "3fm_classifer_iter_5.caffemodel", other)
    state = SolverState(iter=6, learned_net="3fm_classifer_iter_6.caffemodel")
    caffemodel.write_state(folder / "3fm" / "trainedmodel" / "3fm_classifer_iter_6.solverstate", state)
    shapes, missing = problems(folder)["3fm"]
    assert "3fm_classifer_iter_5.caffemodel: its blobs have other shapes" in shapes
    assert "3fm_classifer_iter_6.caffemodel is not there" in missing


def test_hidden_files_are_none(folder):
    (folder / "3fm" / "trainedmodel" / ".3fm_classifer_iter_5.partial-1.caffemodel").write_text("half")
    (folder / ".unpacking" / "trainedmodel").mkdir(parents=True)
    assert problems(folder) == {"1fm": [], "3fm": []}


@pytest.mark.parametrize("place", ["", "nowhere", "1fm"])
def test_a_place_without_a_model_is_refused(tmp_path, place):
    (tmp_path / "1fm" / "trainedmodel").mkdir(parents=True)
    with pytest.raises(MissingModelError, match=r"<net>/deploy\.prototxt and <net>/trainedmodel/\*\.caffemodel"):
        verify(tmp_path / place)


def test_without_the_engine_that_builds_nets_nothing_is_called_whole(published, monkeypatch):
    monkeypatch.setattr(select.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match="needs PyTorch"):
        verify(published)
