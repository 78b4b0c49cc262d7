"""The embedded engine against what real Caffe predicted with the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cdeep3m.engines.embedded.engine import EmbeddedEngine
from cdeep3m.engines.embedded.net.executor import Net
from cdeep3m.engines.embedded.prediction.predictor import Predictor
from cdeep3m.engines.embedded.prediction.stacks import window_at
from cdeep3m.maps.agreement import LARGEST_DIFFERENCE, agreement_of
from cdeep3m.proto import caffe_pb2, prototxt
from cdeep3m.proto.caffemodel import read_model
from recorded_caffe import NETS, foreground_pairs, predicted, recorded_model, recorded_volume


@pytest.fixture(params=NETS)
def recorded(request, reference, tmp_path):
    """A model that Caffe trained, and a function that returns a volume and Caffe's prediction of it."""
    model = recorded_model(reference, request.param, tmp_path)
    return model, lambda volume: recorded_volume(reference, request.param, volume)


@pytest.mark.parametrize("volume", ["volume_0", "volume_1"])
def test_probabilities_are_caffe_s(recorded, volume):
    model, read = recorded
    data, expected = read(volume)
    found = predicted(model, data)
    assert_allclose(found, expected, atol=LARGEST_DIFFERENCE, rtol=0)
    assert agreement_of(foreground_pairs(found, expected)).within_tolerance


def test_streaming_gives_the_foreground_of_the_same_probabilities(recorded):
    model, read = recorded
    data, expected = read("volume_0")
    net = EmbeddedEngine().load(model)
    (plane,) = net.foreground([window_at(data, 2, net.frames)])
    assert_allclose(plane, expected[2, 1].T, atol=LARGEST_DIFFERENCE, rtol=0)


def test_the_fused_net_is_the_plain_net(recorded):
    model, read = recorded
    data, _ = read("volume_0")
    plain = Net(prototxt.read_net(model.deploy), phase=caffe_pb2.TEST)
    plain.load_weights(read_model(model.weights))
    fast = EmbeddedEngine().load(model)
    window = window_at(data, 1, fast.frames)
    blob = torch.from_numpy(np.ascontiguousarray(window.transpose(2, 1, 0), dtype=np.float32))[None, None]
    with torch.inference_mode():
        (expected,) = plain.forward({"data": blob}).values()
    (found,) = fast.probabilities([window])
    assert_allclose(found, expected[0].numpy(), atol=2e-6, rtol=0)


def test_windows_of_two_shapes_are_predicted_as_if_each_were_alone(recorded):
    model, read = recorded
    data, _ = read("volume_0")
    net = EmbeddedEngine().load(model)
    wide = window_at(data, 1, net.frames)[:, :64]
    windows = [wide, wide[:, ::-1], np.rot90(wide, axes=(1, 2)), wide]
    assert wide.shape[1] != wide.shape[2]
    for together, alone in zip(net.foreground(windows), (next(net.foreground([w])) for w in windows), strict=True):
        assert_allclose(together, alone, atol=2e-6, rtol=0)


def test_windows_may_be_views_of_any_number_type(recorded):
    model, read = recorded
    data, _ = read("volume_0")
    net = EmbeddedEngine().load(model)
    window = window_at(data, 1, net.frames)
    flipped = window[:, ::-1, ::-1]
    kinds = [flipped, flipped.copy(), *(flipped.astype(kind) for kind in (np.uint16, np.float32, np.float64))]
    first, *others = net.foreground(kinds)
    for other in others:
        assert_allclose(other, first, atol=1e-6, rtol=0)


def test_fast_numbers_change_probabilities_little(recorded):
    """bfloat16 keeps 8 bits of every number; what the nets have learnt survives that within a few hundredths."""
    model, read = recorded
    data, _ = read("volume_0")
    window = window_at(data, 2, Predictor(model, torch.device("cpu")).frames)
    exact, fast = (
        next(Predictor(model, torch.device("cpu"), precision=precision).foreground([window]))
        for precision in ("float32", "fast")
    )
    assert fast.dtype == np.float32
    assert 0 < np.abs(fast - exact).max() < 0.03
