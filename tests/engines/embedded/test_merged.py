"""Merged steps give what the layers give one after the other."""

from __future__ import annotations

import pytest
import torch
from google.protobuf import text_format
from torch.testing import assert_close

from cdeep3m.engines.embedded.executor import Net
from cdeep3m.engines.embedded.merged import NormaliseScale, merged
from cdeep3m.proto.caffe_pb2 import TRAIN, NetParameter

NET = """
input: "a" input_shape {{ dim: 2 dim: 3 dim: 4 dim: 5 }}
layer {{ name: "conv" type: "Convolution" bottom: "a" top: "b" convolution_param {{
  num_output: 3 kernel_size: 1 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "bn" type: "BatchNorm" bottom: "b" top: "b" }}
layer {{ name: "scale" type: "Scale" bottom: "b" top: "b" scale_param {{
  bias_term: {bias} filler {{ type: "gaussian" std: 1 }} }} }}
{after}
"""
RELU = 'layer { name: "relu" type: "ReLU" bottom: "b" top: "b" }'


def net(after: str = "", *, bias: str = "true") -> Net:
    message = text_format.Parse(NET.format(after=after, bias=bias), NetParameter())
    return Net(message, phase=TRAIN, generator=torch.Generator().manual_seed(3))


def plain(made: Net, blob: torch.Tensor) -> torch.Tensor:
    for layer in made.layers:
        (blob,) = layer.forward(blob)
    return blob


@pytest.mark.parametrize("after", ["", RELU])
@pytest.mark.parametrize("bias", ["true", "false"])
def test_values_gradients_and_statistics_are_those_of_the_layers(after, bias):
    blob = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(5)) * 3 + 1
    weights = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(6))
    one, other = net(after, bias=bias), net(after, bias=bias)
    results = one.forward({"a": blob})["b"], plain(other, blob)
    assert_close(*results)
    for result in results:
        (result * weights).sum().backward()
    for fast, slow in zip(one.learnable, other.learnable, strict=True):
        assert_close(fast.blob, slow.blob)
        if slow.blob.requires_grad:
            assert_close(fast.blob.grad, slow.blob.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("after", "types"),
    [
        (RELU, ["Convolution", "BatchNorm, Scale"]),
        (RELU.replace('top: "b"', 'top: "c"'), ["Convolution", "BatchNorm, Scale", "ReLU"]),
        (RELU.replace("top", "relu_param { negative_slope: 0.1 } top"), ["Convolution", "BatchNorm, Scale", "ReLU"]),
        (RELU + RELU.replace("relu", "again"), ["Convolution", "BatchNorm, Scale", "ReLU"]),
    ],
)
def test_only_what_is_in_place_on_one_blob_is_merged(after, types):
    assert [step.type for step in merged(net(after).layers)] == types


def test_a_scale_of_another_axis_stays_a_layer():
    message = text_format.Parse(NET.format(after="", bias="false"), NetParameter())
    message.layer[2].scale_param.axis = 2
    layers = Net(message, phase=TRAIN).layers
    assert not any(isinstance(step, NormaliseScale) for step in merged(layers))
