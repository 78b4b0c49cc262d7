"""What a net's message alone tells of its weights."""

from __future__ import annotations

import importlib

import pytest
from google.protobuf import text_format

from cdeep3m.nets.prototxts import NETS, deploy, train_val
from cdeep3m.nets.shapes import blob_shapes
from cdeep3m.proto.caffe_pb2 import TEST, NetParameter

pytest.importorskip("torch")
Net = importlib.import_module("cdeep3m.engines.embedded.net.executor").Net

OTHERS = """
input: "image" input_shape { dim: 1 dim: 4 dim: 16 dim: 16 }
layer { name: "cut" type: "Slice" bottom: "image" top: "a" top: "b" }
layer { name: "grouped" type: "Convolution" bottom: "image" top: "grouped"
        convolution_param { num_output: 6 group: 2 kernel_size: 3 bias_term: false } }
layer { name: "up" type: "Deconvolution" bottom: "grouped" top: "up"
        convolution_param { num_output: 3 group: 3 kernel_h: 2 kernel_w: 4 } }
layer { name: "twice" type: "Scale" bottom: "grouped" bottom: "grouped" top: "twice" }
layer { name: "sums" type: "Scale" bottom: "grouped" top: "sums" }
layer { name: "high" type: "Concat" bottom: "grouped" bottom: "sums" top: "high" concat_param { axis: 2 } }
layer { name: "deep" type: "Concat" bottom: "grouped" bottom: "high" top: "deep" concat_param { concat_dim: 1 } }
layer { name: "after" type: "Convolution" bottom: "deep" top: "c" convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "part" type: "Convolution" bottom: "b" top: "part" convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "full" type: "InnerProduct" bottom: "c" top: "full" inner_product_param { num_output: 2 } }
"""


@pytest.mark.parametrize("width", [1, 8, 683])
@pytest.mark.parametrize("net", NETS)
def test_they_are_the_shapes_that_the_engine_makes(net, width):
    message = deploy(net, width=width, sides=(96, 80))
    expected = {
        layer.name: [tuple(blob.shape) for blob in layer.blobs]
        for layer in Net(message, phase=TEST, device="meta").layers
    }
    assert blob_shapes(message) == expected


@pytest.mark.parametrize("net", NETS)
def test_a_training_net_has_the_blobs_of_the_net_that_predicts(net):
    def learnable(message):
        return [(name, blobs) for name, blobs in blob_shapes(message).items() if blobs]

    assert learnable(train_val(net, width=4)) == learnable(deploy(net, width=4))
    assert len(learnable(deploy(net))) == 156


def test_what_other_layers_hold_is_told_where_it_can_be():
    shapes = blob_shapes(text_format.Parse(OTHERS, NetParameter()))
    assert shapes == {
        "cut": [],
        "grouped": [(6, 2, 3, 3)],
        "up": [(6, 1, 2, 4), (3,)],
        "twice": [],
        "sums": [(6,)],
        "high": [],
        "deep": [],
        "after": [(2, 12, 1, 1), (2,)],
        "part": None,
        "full": None,
    }
