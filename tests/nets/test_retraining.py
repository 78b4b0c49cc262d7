"""Training nets made from the nets that predict."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from cdeep3m.errors import NetError
from cdeep3m.nets.irregular import RESHAPE
from cdeep3m.nets.prototxts import NETS, NetMake, deploy, train_val
from cdeep3m.nets.retraining import training_net
from cdeep3m.proto.caffe_pb2 import NetParameter

BY_HAND = """
layer { name: "in" type: "Input" top: "image" input_param { shape { dim: 1 dim: 1 dim: 64 dim: 64 dim: 3 } } }
layer { name: "conv1_1" type: "Convolution" bottom: "image" top: "conv1_1" phase: PREDICT include { phase: TEST }
        convolution_param { num_output: 2 kernel_size: [1, 1, 3] } }
layer { name: "mine" type: "Convolution" bottom: "conv1_1" top: "mine" param { lr_mult: 5 }
        convolution_param { num_output: 2 kernel_size: [1, 1, 1] } }
layer { name: "bn" type: "BatchNorm" bottom: "mine" top: "mine" batch_norm_param { eps: 0.5 } }
layer { name: "only_trains" type: "Dropout" bottom: "mine" top: "mine" include { phase: TRAIN } }
layer { name: "drop" type: "Reshape" bottom: "mine" top: "mine" reshape_param { shape { dim: [0, 0, 0, 0] } } }
"""


def in_any_place(net: NetParameter) -> list[str]:
    """The layers, where the Reshape of the label may stand anywhere behind the patches."""
    return sorted(text_format.MessageToString(layer) for layer in net.layer)


@pytest.mark.parametrize(("width", "binning"), [(1, 1), (8, 1), (8, 2)])
@pytest.mark.parametrize("net", NETS)
def test_our_own_training_nets_come_out(net, width, binning):
    made = training_net(net, deploy(net, width=width, binning=binning), make=NetMake(patch_side=96, batch=2))
    expected = train_val(net, width=width, patch_side=96, batches=(2, 2), binning=binning)
    assert in_any_place(made) == in_any_place(expected)
    order = [layer.name for layer in expected.layer if layer.name != RESHAPE]
    assert [layer.name for layer in made.layer if layer.name != RESHAPE] == order


def test_rates_come_from_the_net_of_that_name_where_none_are_given():
    bare = deploy("1fm")
    for layer in bare.layer:
        del layer.param[:]
    made = training_net("1fm", bare)
    assert in_any_place(made) == in_any_place(train_val("1fm"))


def test_a_net_by_hand_keeps_its_layers_and_rates():
    made = training_net("3fm", text_format.Parse(BY_HAND, NetParameter()), make=NetMake(patch_side=32, bn_fraction=0.9))
    names = ["data", "data", "conv1_1", "mine", "bn", "drop", RESHAPE, "loss_deconv_all", "accuracy_conv"]
    assert [layer.name for layer in made.layer] == names
    conv, mine = made.layer[2:4]
    assert list(made.layer[0].top) == ["image", "label"]
    assert list(made.layer[0].patch_sampler_param.data_patch_shape.dim) == [32, 32, 3]
    assert [spec.lr_mult for spec in conv.param] == [1, 2]
    assert [spec.lr_mult for spec in mine.param] == [5]
    assert (made.layer[4].batch_norm_param.eps, round(made.layer[4].batch_norm_param.moving_average_fraction, 6)) == (
        0.5,
        0.9,
    )
    assert not conv.include
    assert not conv.HasField("phase")
    assert list(made.layer[7].bottom) == ["mine", "label"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('input: "d" input_dim: [1, 1, 8, 8] layer { name: "a" top: "a" }', r"found d \(1, 1, 8, 8\)"),
        ('layer { name: "a" top: "a" }', "found none"),
        ('input: "d" input_dim: [1, 1, 8, 8, 1]', "no layer that scores"),
    ],
)
def test_a_net_that_is_fed_otherwise_is_refused(text, complaint):
    with pytest.raises(NetError, match=complaint):
        training_net("1fm", text_format.Parse(text, NetParameter()))
