"""Gradients of all blobs together are those of each by itself; weights rounded once are those rounded by each layer."""

from __future__ import annotations

import pytest
import torch
from google.protobuf import text_format
from torch.testing import assert_close

from cdeep3m.engines.embedded.net.executor import Net
from cdeep3m.engines.embedded.training.batches import Batches, lay_out
from cdeep3m.engines.embedded.training.solver import Solver
from cdeep3m.proto.caffe_pb2 import TRAIN, NetParameter, SolverParameter

NET = """
layer { name: "data" type: "DummyData" top: "a" top: "label" dummy_data_param {
  shape { dim: 2 dim: 5 dim: 6 dim: 5 } shape { dim: 2 dim: 1 dim: 6 dim: 5 }
  data_filler { type: "gaussian" std: 2 } data_filler { type: "uniform" min: 0.6 max: 1.4 } } }
layer { name: "c1" type: "Convolution" bottom: "a" top: "b" convolution_param {
  num_output: 6 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "b" top: "b" }
layer { name: "scale" type: "Scale" bottom: "b" top: "b" scale_param { bias_term: true } }
layer { name: "c2" type: "Convolution" bottom: "b" top: "c" SHARED convolution_param {
  num_output: 6 kernel_size: 1 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "c3" type: "Convolution" bottom: "c" top: "d" SHARED convolution_param {
  num_output: 6 kernel_size: 1 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "c4" type: "Convolution" bottom: "d" top: "e" convolution_param {
  num_output: 2 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "e" bottom: "label" top: "loss" }
"""


SHARED = 'param { name: "w" }'


def net(shared: str = "") -> Net:
    message = text_format.Parse(NET.replace("SHARED", shared), NetParameter())
    return Net(message, phase=TRAIN, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("shared", ["", SHARED])
def test_gradients_added_together_are_those_of_each_blob(shared):
    compare(None, shared, rtol=1e-5, atol=1e-6)


def test_gradients_of_rounded_weights_are_near_those_of_exact_ones():
    compare(torch.bfloat16, "", rtol=0.1, atol=0.01)


def compare(number, shared: str, *, rtol: float, atol: float) -> None:
    plain, together = net(shared), net(shared)
    given = plain.read()
    for made, short, way in ((plain, None, False), (together, number, True)):
        made.read = lambda: given
        batches = Batches(made, number=short, together=way)
        assert_close(batches.run()[1], batches.run()[1])
    for one, other in zip(together.learnable, plain.learnable, strict=True):
        assert_close(one.blob, other.blob, rtol=rtol, atol=atol)
        assert (one.blob.grad is None) == (other.blob.grad is None)
        if other.blob.grad is not None:
            assert one.blob.grad.stride() == one.blob.stride()
            assert_close(one.blob.grad, other.blob.grad, rtol=rtol, atol=atol)


def test_rounded_weights_follow_the_net_s_own():
    made = net()
    given = made.read()
    made.read = lambda: given
    solver = Solver(SolverParameter(lr_policy="fixed", base_lr=0.5, iter_size=1), made.learnable)
    batches = Batches(made, number=torch.bfloat16, together=True)
    losses = []
    for _ in range(8):
        solver.clear_gradients()
        losses.append(float(batches.run()[1]))
        solver.update()
    assert losses[-1] < losses[0] / 2
    assert all(item.blob.dtype == torch.float32 for item in made.learnable)
    assert [blob.dtype for layer in made.layers for blob in layer.blobs] == [torch.float32] * 11


def test_a_blob_of_two_layers_is_not_rounded():
    made = net(SHARED)
    batches = Batches(made, number=torch.bfloat16, together=True)
    own = [layer.blobs[0] for layer in made.layers if layer.name in ("c1", "c4")]
    assert [id(blob) for blob, _ in batches._rounded.pairs] == [id(blob) for blob in own]


def test_weights_laid_out_anew_are_the_same_weights():
    made, other = net(), net()
    lay_out(made)
    assert made.layers[1].blobs[0].is_contiguous(memory_format=torch.channels_last)
    assert made.to_message() == other.to_message()


def test_gradients_can_be_cleared_where_they_are():
    made = net()
    solver = Solver(SolverParameter(), made.learnable)
    solver.clear_gradients(keep_memory=True)
    Batches(made, together=True).run()
    before = {id(item.blob): item.blob.grad for item in made.learnable}
    solver.clear_gradients(keep_memory=True)
    for item in made.learnable:
        assert item.blob.grad is before[id(item.blob)]
        assert item.blob.grad is None or not item.blob.grad.any()
