"""Merged steps give what the layers give one after the other."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from google.protobuf import text_format
from torch.testing import assert_close

from cdeep3m.engines.embedded.fast.training_steps import DeconvolutionSum, NormaliseScale, merged
from cdeep3m.engines.embedded.net.executor import Net
from cdeep3m.proto.caffe_pb2 import TEST, TRAIN, NetParameter

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


def net(after: str = "", *, bias: str = "true", rewrite=merged) -> Net:
    message = text_format.Parse(NET.format(after=after, bias=bias), NetParameter())
    return Net(message, phase=TRAIN, generator=torch.Generator().manual_seed(3), rewrite=rewrite)


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


@pytest.mark.parametrize("after", ["", RELU])
@pytest.mark.parametrize("bias", ["true", "false"])
def test_convolutions_joined_with_what_normalises_them_are_the_layers(after, bias):
    blob = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(5)) * 3 + 1
    weights = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(6))
    one, other = net(after, bias=bias, rewrite=partial(merged, convolutions=True)), net(after, bias=bias)
    for made in (one, other):
        made.layers[0].bias.data += torch.tensor([5.0, -3, 2])
    assert [step.type for step in merged(one.layers, convolutions=True)] == ["Convolution, BatchNorm, Scale"]
    results = one.forward({"a": blob})["b"], plain(other, blob)
    assert_close(*results)
    for result in results:
        (result * weights).sum().backward()
    for fast, slow in zip(one.learnable, other.learnable, strict=True):
        assert_close(fast.blob, slow.blob)
        if slow.blob.requires_grad:
            found = torch.zeros_like(slow.blob) if fast.blob.grad is None else fast.blob.grad
            assert_close(found, slow.blob.grad, rtol=1e-4, atol=1e-5)
    assert one.layers[0].bias.grad is None


def test_a_convolution_keeps_its_bias_where_running_statistics_normalise():
    message = text_format.Parse(NET.format(after="", bias="true"), NetParameter())
    layers = Net(message, phase=TEST).layers
    assert [step.type for step in merged(layers, convolutions=True)] == ["Convolution", "BatchNorm, Scale"]


def test_a_convolution_whose_top_something_else_takes_stays_a_layer():
    message = text_format.Parse(NET.format(after="", bias="true"), NetParameter())
    message.layer[1].top[0] = message.layer[2].bottom[0] = message.layer[2].top[0] = "c"
    layers = Net(message, phase=TRAIN).layers
    assert [step.type for step in merged(layers, convolutions=True)] == ["Convolution", "BatchNorm", "Scale"]


def test_a_scale_of_another_axis_stays_a_layer():
    message = text_format.Parse(NET.format(after="", bias="false"), NetParameter())
    message.layer[2].scale_param.axis = 2
    layers = Net(message, phase=TRAIN).layers
    assert not any(isinstance(step, NormaliseScale) for step in merged(layers))


SUM = """
input: "a" input_shape { dim: 2 dim: 3 dim: 5 dim: 4 }
layer { name: "conv" type: "Convolution" bottom: "a" top: "b" convolution_param {
  num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "d" type: "Deconvolution" bottom: "b" top: "d" convolution_param {
  num_output: 2 kernel_size: 4 stride: 2 pad: 1 weight_filler { type: "xavier" } bias_filler { value: 3 } } }
layer { name: "c" type: "Deconvolution" bottom: "b" top: "c" convolution_param {
  num_output: 2 kernel_size: 4 stride: 2 pad: 7 dilation: 5 bias_term: BIAS weight_filler { type: "xavier" } } }
layer { name: "e" type: "Convolution" bottom: "b" top: "e" convolution_param { num_output: 1 kernel_size: 1 } }
layer { name: "sum" type: "Eltwise" bottom: "c" bottom: "d" top: "s" eltwise_param { coeff: 1 coeff: -2 } }
"""


def summing(text: str = SUM, *, bias: str = "true") -> Net:
    message = text_format.Parse(text.replace("BIAS", bias), NetParameter())
    return Net(message, phase=TRAIN, generator=torch.Generator().manual_seed(3), rewrite=merged)


@pytest.mark.parametrize("bias", ["true", "false"])
def test_sums_of_deconvolutions_and_their_gradients_are_those_of_the_layers(bias):
    blob = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(5))
    weights = torch.randn(2, 2, 10, 8, generator=torch.Generator().manual_seed(6))
    one, other = summing(bias=bias), summing(bias=bias)
    fast = one.forward({"a": blob})
    slow = other.forward({"a": blob}, keep=["c"])
    assert [step.type for step in merged(one.layers)] == ["Convolution", "Convolution", "Deconvolution, Eltwise"]
    assert fast.keys() == {"e", "s"}
    assert slow.keys() == {"c", "e", "s"}
    for result in (fast["s"], slow["s"]):
        (result * weights).sum().backward()
    assert_close(fast["s"], slow["s"])
    for found, expected in zip(one.learnable, other.learnable, strict=True):
        if found.layer.name != "e":
            assert_close(found.blob.grad, expected.blob.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        ('layer { name: "sum"', 'layer { name: "r" type: "ReLU" bottom: "b" top: "b" } layer { name: "sum"'),
        ('layer { name: "sum"', 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" } layer { name: "sum"'),
        ('layer { name: "sum"', 'layer { name: "r" type: "Silence" bottom: "c" } layer { name: "sum"'),
        ('bottom: "c" bottom: "d"', 'bottom: "a2" bottom: "d"'),
        ('type: "Deconvolution" bottom: "b" top: "c"', 'type: "Deconvolution" bottom: "b" top: "c" loss_weight: 1'),
        ("coeff: 1 coeff: -2", "operation: MAX"),
        ("num_output: 2", "num_output: 9"),
    ],
)
def test_sums_of_anything_else_stay_layers(change):
    first, *rest = SUM.split("layer", 1)
    second = 'input: "a2" input_shape { dim: 2 dim: 2 dim: 10 dim: 8 }'
    made = summing(first + second + "layer" + rest[0].replace(*change))
    assert not any(isinstance(step, DeconvolutionSum) for step in merged(made.layers))
