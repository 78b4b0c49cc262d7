"""What files hold, in numbers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cdeep3m.errors import FormatError, MissingFileError, MissingModelError
from cdeep3m.models.info import MAPPING, NET, SOLVER, info, net_infos
from cdeep3m.nets.fits import Fit, expected_shapes
from cdeep3m.nets.prototxts import NETS
from cdeep3m.proto import caffemodel
from cdeep3m.proto.caffe_pb2 import LayerParameter, NetParameter, SolverState
from cdeep3m.proto.foreign import MODEL, STATE
from published import WIDTH

NETWORKS = Path(__file__).parents[2] / "caffe_models"


def test_a_model_says_its_iteration_layers_and_net(published):
    path = published / "3fm" / "trainedmodel" / "3fm_classifer_iter_30000.caffemodel"
    found = info(path)
    assert (found.kind, found.fit) == (MODEL, Fit("3fm", WIDTH))
    assert found.facts == {"iteration": 30000, "net": "BIG_N_INCEPTION_FCN"}
    blobs = {layer.name: layer.blobs for layer in found.layers if layer.blobs}
    assert blobs == expected_shapes("3fm", WIDTH)
    assert found.layers[0].type == "Convolution"
    model = caffemodel.read_model(path)
    assert found.parameters == sum(len(blob.data) for layer in model.layer for blob in layer.blobs)


@pytest.mark.parametrize("net", NETS)
def test_states_that_caffe_wrote_say_whose_they_are(reference, net):
    found = info(reference / "caffe" / "training_steps" / net / f"{net}_classifer_iter_6.solverstate")
    assert (found.kind, found.fit) == (STATE, Fit(net, 32))
    assert found.facts == {"iteration": 6, "weights": f"{net}_classifer_iter_6.caffemodel", "step": 0}
    assert {layer.name: layer.blobs for layer in found.layers} == expected_shapes(net, 32)


def test_a_state_of_another_net_has_its_blobs_counted(tmp_path):
    history = [caffemodel.array_to_blob([[1.0, 2.0]]), caffemodel.array_to_blob([3.0])]
    caffemodel.write_state(tmp_path / "a.solverstate", SolverState(iter=3, learned_net="a", history=history))
    found = info(tmp_path / "a.solverstate")
    assert [(layer.name, layer.blobs) for layer in found.layers] == [("history 0", [(1, 2)]), ("history 1", [(1,)])]
    assert (found.fit, found.parameters) == (None, 3)


@pytest.mark.parametrize("name", ["deploy.prototxt", "train_val.prototxt"])
@pytest.mark.parametrize("net", NETS)
def test_a_net_says_what_its_weights_will_be(net, name):
    found = info(NETWORKS / f"inception_residual_train_prediction_{net}" / name)
    assert (found.kind, found.fit, found.unknown) == (NET, Fit(net, 1), [])
    if name == "deploy.prototxt":
        assert found.facts == {"net": "BIG_N_INCEPTION_FCN", "input data": f"1 x 1 x 1024 x 1024 x {net[0]}"}


def test_layers_that_depend_on_more_are_not_guessed(tmp_path):
    (tmp_path / "a.prototxt").write_text(
        'input: "d" input_dim: [1, 1, 8, 8] layer { name: "a" type: "InnerProduct" bottom: "d" top: "a" }'
    )
    found = info(tmp_path / "a.prototxt")
    assert (found.unknown, found.parameters, found.fit) == (["a"], 0, None)


@pytest.mark.parametrize(
    ("name", "kind", "fact"),
    [
        ("solver.prototxt", SOLVER, ("solver_mode", "GPU")),
        ("solver.prototxt", SOLVER, ("base_lr", "0.01")),
        ("solver.prototxt", SOLVER, ("test_iter", "20")),
        ("label_class_selection.prototxt", MAPPING, ("label 1", "foreground, 0.3")),
    ],
)
def test_other_prototxts_say_what_is_set(name, kind, fact):
    found = info(NETWORKS / "inception_residual_train_prediction_1fm" / name)
    assert found.kind == kind
    assert fact in found.facts.items()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("base_lr: 1 max_itr: 3", 'a SolverParameter has no field named "max_itr"'),
        ("layer { convolution_param { kernal_size: 3 } }", "a ConvolutionParameter has no field named"),
        ("words and more", "line 1"),
        ("\x00\x01", "binary data"),
        ("", "empty"),
        ("<html>", "a web page"),
    ],
)
def test_what_cannot_be_read_is_told_as_what_it_is_most_like(tmp_path, content, complaint):
    (tmp_path / "a.prototxt").write_text(content)
    with pytest.raises(FormatError, match=complaint):
        info(tmp_path / "a.prototxt")


@pytest.mark.parametrize("suffix", [".caffemodel", ".solverstate"])
def test_a_damaged_file_is_told_by_its_suffix(tmp_path, suffix):
    (tmp_path / f"a{suffix}").write_bytes(bytes(30))
    with pytest.raises(FormatError, match=rf"a{suffix}: .*\{suffix}\) expected, but this is binary data"):
        info(tmp_path / f"a{suffix}")


def test_the_content_counts_and_not_the_name(published, tmp_path):
    shutil.copy(published / "3fm" / "trainedmodel" / "3fm_classifer_iter_30000.caffemodel", tmp_path / "weights.bin")
    assert info(tmp_path / "weights.bin").kind == MODEL
    assert info(tmp_path / "weights.bin").facts == {"net": "BIG_N_INCEPTION_FCN"}


def test_a_model_of_caffe_before_2014_is_described(tmp_path):
    model = NetParameter(name="old")
    layer = model.layers.add(name="conv", type="CONVOLUTION")
    layer.blobs.append(caffemodel.array_to_blob([[[[1.0]]]]))
    caffemodel.write_model(tmp_path / "old.bin", model)
    found = info(tmp_path / "old.bin")
    assert [(each.name, each.type, each.blobs) for each in found.layers] == [("conv", "Convolution", [(1, 1, 1, 1)])]


def test_every_trained_net_of_a_folder_is_described(published):
    assert [(path.parent.parent.name, found.fit.net) for path, found in net_infos(published)] == [
        ("1fm", "1fm"),
        ("3fm", "3fm"),
    ]
    ((path, _),) = net_infos(published / "1fm")
    assert path.name == "1fm_classifer_iter_30000.caffemodel"


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="nowhere is no file"):
        info(tmp_path / "nowhere")
    with pytest.raises(MissingModelError, match="no trained model"):
        net_infos(tmp_path)


def test_layers_without_a_name_and_type_do_no_harm(tmp_path):
    caffemodel.write_model(tmp_path / "a.caffemodel", NetParameter(layer=[LayerParameter()]))
    assert info(tmp_path / "a.caffemodel").parameters == 0
