"""Channels that are filled up with zeros change nothing of what a net predicts."""

from __future__ import annotations

import pytest
import torch
from google.protobuf import text_format
from torch.testing import assert_close

from cdeep3m.engines.embedded.fast.alignment import align, fixed_blobs
from cdeep3m.engines.embedded.fast.prediction_net import FusedNet, Rewriter, single_assignment
from cdeep3m.engines.embedded.fast.steps import ConvolutionStep
from cdeep3m.nets import prototxts
from cdeep3m.proto.caffe_pb2 import NetParameter
from random_nets import random_net

SIDE = 32


def rewritten(net):
    """The steps of a net, not placed yet."""
    graph = single_assignment(net)
    return Rewriter(graph._replace(nodes=graph.nodes[:-1], output=graph.nodes[-1].bottoms[0])).rewrite()


def convolutions(steps):
    return [step for step in steps if isinstance(step, ConvolutionStep)]


@pytest.fixture
def aligned(monkeypatch):
    """Make nets filled up on the processor, and with float32, too."""

    def make(net, multiple):
        def also(steps, output):
            return align(steps, output, multiple=multiple)

        found = FusedNet(net)
        rewrite = Rewriter.rewrite

        def filled(self):
            steps, output = rewrite(self)
            also(steps, output)
            return steps, output

        with monkeypatch.context() as patch:
            patch.setattr(Rewriter, "rewrite", filled)
            return found, FusedNet(net)

    return make


@pytest.mark.parametrize("net", prototxts.NETS)
@pytest.mark.parametrize("multiple", [8, 5])
def test_a_filled_net_predicts_the_same(net, multiple, aligned):
    made = random_net(prototxts.deploy(net, width=16, sides=(SIDE, SIDE)))
    plain, filled = aligned(made, multiple)
    blob = torch.randint(0, 256, next(iter(made.input_shapes.values())), generator=torch.Generator().manual_seed(0))
    given = {made.inputs[0]: blob.float()}
    assert_close(filled.forward(given), plain.forward(given), rtol=1e-5, atol=1e-5)


def test_all_convolutions_but_the_scores_are_filled_up():
    steps, output = rewritten(random_net(prototxts.deploy("1fm", width=16, sides=(SIDE, SIDE))))
    before = [len(step.bias) for step in convolutions(steps)]
    align(steps, output)
    after = [len(step.bias) for step in convolutions(steps)]
    assert any(count % 8 for count in before)
    assert [count for count in after if count % 8] == [2] * 4


NET = """
name: "odd" input: "data" input_shape { dim: 1 dim: 3 dim: 16 dim: 16 }
layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param { num_output: 5 kernel_size: 1 %s } }
layer { name: "b" type: "Convolution" bottom: "data" top: "b" convolution_param { num_output: 3 kernel_size: 1 %s } }
layer { name: "ab" type: "Concat" bottom: "a" bottom: "b" top: "ab" }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 8 kernel_size: 1 %s } }
layer { name: "sum" type: "Eltwise" bottom: "ab" bottom: "c" top: "sum" }
layer { name: "tanh" type: "%s" bottom: "b" top: "other" }
layer { name: "pool" type: "Pooling" bottom: "sum" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "two" type: "Concat" bottom: "pool" bottom: "pool" top: "two" }
layer { name: "end" type: "Convolution" bottom: "two" top: "end" convolution_param { num_output: 2 kernel_size: 1 %s } }
layer { name: "silent" type: "Silence" bottom: "other" }
layer { name: "soft" type: "Softmax" bottom: "end" top: "soft" }
"""
FILLED = 'weight_filler { type: "xavier" }'


@pytest.mark.parametrize("other", ["TanH", "Power"])
def test_where_channels_of_two_kinds_meet_or_a_layer_cannot_be_told_they_stay(other, aligned):
    message = text_format.Parse(NET % (FILLED, FILLED, FILLED, other, FILLED), NetParameter())
    made = random_net(message)
    steps, output = rewritten(made)
    assert len(fixed_blobs(steps, output)) > 5
    plain, filled = aligned(made, 8)
    blob = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert_close(filled.forward({"data": blob}), plain.forward({"data": blob}))
