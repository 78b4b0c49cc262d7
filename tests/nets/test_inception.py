from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf import json_format

from cdeep3m.errors import FormatError
from cdeep3m.nets import prototxts
from cdeep3m.nets.prototxts import FRAMES, NETS
from cdeep3m.nets.spec import Blob, KernelSpec, concat, convolution, input_blob, total
from cdeep3m.proto import prototxt
from cdeep3m.proto.caffe_pb2 import NetParameter, SolverParameter

CHECKED_IN = Path(__file__).parents[2] / "caffe_models"
COMPACT_SIDES = (96, 80)


def net_of(path: Path) -> NetParameter:
    return json_format.ParseDict(json.loads(path.read_text()), NetParameter())


def assert_same_net(generated: NetParameter, original: NetParameter) -> None:
    assert [layer.name for layer in generated.layer] == [layer.name for layer in original.layer]
    for ours, theirs in zip(generated.layer, original.layer, strict=True):
        assert ours == theirs
    assert generated == original


@pytest.mark.parametrize("net", NETS)
def test_deploy_is_the_original_s_layer_by_layer(reference, net):
    assert_same_net(prototxts.deploy(net), net_of(reference / "networks" / f"{net}.deploy.json"))


@pytest.mark.parametrize("net", NETS)
def test_train_val_is_the_original_s_layer_by_layer(reference, net):
    assert_same_net(prototxts.train_val(net), net_of(reference / "networks" / f"{net}.train_val.json"))


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(("folder", "width"), [("prediction", 8), ("training_steps", 32)])
def test_compact_deploy_nets_are_those_of_the_reference(reference, net, folder, width):
    generated = prototxts.deploy(net, width=width, sides=COMPACT_SIDES)
    assert_same_net(generated, net_of(reference / "caffe" / folder / net / "deploy.json"))


@pytest.mark.parametrize("net", NETS)
def test_compact_training_nets_are_those_of_the_reference(reference, net):
    generated = prototxts.train_val(net, width=32, patch_side=96, batches=(2, 2))
    assert_same_net(generated, net_of(reference / "caffe" / "training_steps" / net / "train_val.json"))


@pytest.mark.parametrize("net", NETS)
def test_layers_with_weights_are_the_same_for_training_and_prediction(net):
    def learnable(spec):
        return [(layer.name, layer.convolution_param) for layer in spec.layer if layer.HasField("convolution_param")]

    assert learnable(prototxts.deploy(net)) == learnable(prototxts.train_val(net))


@pytest.mark.parametrize("net", NETS)
def test_files_in_caffe_models_are_what_the_generator_writes(tmp_path, net):
    prototxts.write_all(tmp_path)
    folder = f"inception_residual_train_prediction_{net}"
    expected = {path.name: path.read_text() for path in (tmp_path / folder).iterdir()}
    assert {path.name: path.read_text() for path in (CHECKED_IN / folder).iterdir()} == expected, (
        "run python -m cdeep3m.nets"
    )


@pytest.mark.parametrize("net", NETS)
def test_input_of_a_deploy_net_holds_the_net_s_frames(net):
    assert prototxt.input_shapes(prototxts.deploy(net)) == {"data": (1, 1, 1024, 1024, FRAMES[net])}


@pytest.mark.parametrize(("net", "interval"), [("1fm", 20), ("3fm", 10), ("5fm", 10)])
def test_solver_has_the_original_s_settings(net, interval):
    expected = SolverParameter(
        **{"net": "train_val.prototxt", "snapshot_prefix": f"trainedmodel/{net}_classifer", "solver_mode": 1},
        **{"base_lr": 0.01, "lr_policy": "poly", "power": 0.8, "momentum": 0.9, "weight_decay": 0.0005},
        **{"iter_size": 8, "max_iter": 30000, "display": 3, "average_loss": 16, "snapshot": 2000},
        **{"test_iter": [20], "test_interval": interval, "test_initialization": False},
    )
    assert prototxts.solver(net) == expected


def test_both_classes_have_a_probability():
    folder = CHECKED_IN / "inception_residual_train_prediction_3fm"
    mapping = prototxt.read_label_mapping(folder / prototxts.LABEL_CLASS_SELECTION)
    assert [(info.label, round(info.prob, 6)) for info in mapping.label_prob_mapping_info] == [(0, 1.0), (1, 0.3)]


def test_a_number_of_channels_never_falls_below_the_classes():
    narrow = prototxts.deploy("1fm", width=1000)
    channels = {layer.convolution_param.num_output for layer in narrow.layer if layer.HasField("convolution_param")}
    assert channels == {2}


def test_functions_of_blobs_append_layers_in_the_order_of_their_calls():
    data = input_blob(NetParameter(), "data", (1, 1, 8, 8))
    one = convolution(data, "one", 4, KernelSpec((1,)))
    two = convolution(data, "two", 4, KernelSpec((1, 3), pad=(0, 1)))
    answer = total([one, concat([one, two], "both")], "sum", coeff=[1, 0.5])
    assert answer == Blob(data.net, "sum")
    assert [(layer.type, list(layer.bottom)) for layer in data.net.layer] == [
        ("Convolution", ["data"]),
        ("Convolution", ["data"]),
        ("Concat", ["one", "two"]),
        ("Eltwise", ["one", "both"]),
    ]
    assert (data.net.layer[1].convolution_param.kernel_h, data.net.layer[1].convolution_param.kernel_w) == (1, 3)


@pytest.mark.parametrize("net", NETS)
def test_the_files_read_back_are_what_was_generated(net):
    folder, generated = CHECKED_IN / f"inception_residual_train_prediction_{net}", prototxts.messages(net)
    assert prototxt.read_net(folder / prototxts.DEPLOY) == generated[prototxts.DEPLOY]
    assert prototxt.read_net(folder / prototxts.TRAIN_VAL) == generated[prototxts.TRAIN_VAL]
    assert prototxt.read_solver(folder / prototxts.SOLVER) == generated[prototxts.SOLVER]


def test_a_solver_is_no_net():
    with pytest.raises(FormatError, match='no field named "test_iter"'):
        prototxt.read_net(CHECKED_IN / "inception_residual_train_prediction_1fm" / prototxts.SOLVER)
