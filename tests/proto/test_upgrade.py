"""Nets of Caffe before 2014 become the nets of today."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from cdeep3m.engines.embedded.net.layers import MODULES
from cdeep3m.errors import FormatError, NetError
from cdeep3m.proto import caffemodel, prototxt
from cdeep3m.proto.caffe_pb2 import BlobProto, LayerParameter, NetParameter, SolverParameter, V1LayerParameter
from cdeep3m.proto.upgrade import PARAMETERS, TYPES, upgraded

OLD = """
name: "old"
input: "data" input_dim: 1 input_dim: 1 input_dim: 8 input_dim: 8
layers {
  name: "conv" type: CONVOLUTION bottom: "data" top: "conv"
  param: "w" param: "b" blob_share_mode: PERMISSIVE blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
  convolution_param { num_output: 2 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } }
}
layers { name: "relu" type: RELU bottom: "conv" top: "conv" relu_param { negative_slope: 0.5 } }
layers {
  name: "loss" type: SOFTMAX_LOSS bottom: "conv" bottom: "label" top: "loss" loss_weight: 3 include { phase: TRAIN }
}
layers { name: "prob" type: SOFTMAX bottom: "conv" top: "prob" exclude { phase: TRAIN } }
"""

NEW = """
name: "old"
input: "data" input_dim: 1 input_dim: 1 input_dim: 8 input_dim: 8
layer {
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  param { name: "w" share_mode: PERMISSIVE lr_mult: 1 decay_mult: 1 } param { name: "b" lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 2 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } }
}
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" relu_param { negative_slope: 0.5 } }
layer {
  name: "loss" type: "SoftmaxWithLoss" bottom: "conv" bottom: "label" top: "loss" loss_weight: 3
  include { phase: TRAIN }
}
layer { name: "prob" type: "Softmax" bottom: "conv" top: "prob" exclude { phase: TRAIN } }
"""


def parse(text: str) -> NetParameter:
    return text_format.Parse(text, NetParameter())


def test_a_prototxt_is_upgraded(tmp_path):
    (tmp_path / "old.prototxt").write_text(OLD)
    assert prototxt.read_net(tmp_path / "old.prototxt") == parse(NEW)


def test_a_caffemodel_is_upgraded_with_its_blobs(tmp_path):
    net = parse(OLD)
    net.layers[0].blobs.add(num=2, channels=1, height=3, width=3, data=range(18))
    caffemodel.write_model(tmp_path / "old.caffemodel", net)
    layer = caffemodel.read_model(tmp_path / "old.caffemodel").layer[0]
    assert layer.name == "conv"
    assert np.array_equal(caffemodel.blob_to_array(layer.blobs[0]), np.arange(18).reshape(2, 1, 3, 3))


def test_the_nets_within_a_solver_are_upgraded(tmp_path):
    old, new = parse(OLD), parse(NEW)
    solver = SolverParameter(net_param=old, test_net_param=[new, old])
    prototxt.write(tmp_path / "solver.prototxt", solver)
    assert prototxt.read_solver(tmp_path / "solver.prototxt") == SolverParameter(
        net_param=new, test_net_param=[new, new]
    )


def test_a_net_of_today_is_left_as_it_is():
    net = parse(NEW)
    assert upgraded(net) is net
    assert net == parse(NEW)


def test_the_given_net_stays_as_it_is():
    net = parse(OLD)
    upgraded(net)
    assert net == parse(OLD)


def test_every_old_type_but_none_has_a_name_and_every_old_layer_of_the_engine_is_among_them():
    assert set(TYPES) == set(V1LayerParameter.LayerType.values()) - {V1LayerParameter.NONE}
    later = {"BatchNorm", "Crop", "Input", "PatchData", "Reshape", "Scale"}
    assert set(MODULES) - set(TYPES.values()) == later


def test_every_parameter_of_an_old_layer_has_its_place_in_a_new_one():
    for name in PARAMETERS:
        old, new = (kind.DESCRIPTOR.fields_by_name[name] for kind in (V1LayerParameter, LayerParameter))
        assert old.message_type is new.message_type
    others = {"name", "type", "bottom", "top", "blobs", "include", "exclude", "loss_weight", "layer"}
    of_blobs = {"param", "blob_share_mode", "blobs_lr", "weight_decay"}
    assert set(V1LayerParameter.DESCRIPTOR.fields_by_name) == {*PARAMETERS, *others, *of_blobs}


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_other_forks_add_to_parameters_is_kept(name):
    old = V1LayerParameter(name="x", type=V1LayerParameter.CONVOLUTION)
    getattr(old, name).MergeFromString(b"\xfa\x3f\x05hello")
    (layer,) = upgraded(NetParameter(layers=[old])).layer
    assert b"\xfa\x3f\x05hello" in layer.SerializeToString()


def test_a_type_that_the_engine_does_not_know_is_refused_with_the_layer_s_name():
    pytest.importorskip("torch")
    from cdeep3m.engines.embedded.net.executor import Net

    net = upgraded(parse('layers { name: "images" type: IMAGE_DATA top: "data" image_data_param { } }'))
    with pytest.raises(NetError, match=r"layer images: unknown type 'ImageData'; known are Accuracy"):
        Net(net, phase=1)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('layers { name: "x" }', "layer x has no type"),
        ('layers { name: "x" type: NONE }', "layer x has no type"),
        ("layers { }", "without a name"),
        ('layers { layer { } name: "x" }', "layer x is in Caffe's format of 2013"),
        ('layers { type: RELU } layer { name: "y" }', "both"),
    ],
)
def test_what_cannot_be_upgraded_is_refused(text, complaint):
    with pytest.raises(FormatError, match=complaint):
        upgraded(parse(text))


def test_an_old_net_computes_what_the_new_one_does():
    torch = pytest.importorskip("torch")
    from cdeep3m.engines.embedded.net.executor import Net

    weights = NetParameter(layers=[V1LayerParameter(name="conv", type=V1LayerParameter.CONVOLUTION)])
    weights.layers[0].blobs.extend(
        [
            BlobProto(num=2, channels=1, height=3, width=3, data=[(7 * i) % 5 - 2 for i in range(18)]),
            BlobProto(num=1, channels=1, height=1, width=2, data=[0.5, -1]),
        ]
    )
    results = []
    for net in (upgraded(parse(OLD)), parse(NEW)):
        built = Net(net, phase=1)
        built.load_weights(upgraded(weights))
        results.append(built.forward({"data": torch.arange(64.0).reshape(1, 1, 8, 8)})["prob"])
    assert torch.equal(*results)
    assert len(results[0].unique()) > 8
