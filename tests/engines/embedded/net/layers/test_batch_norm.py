from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from cdeep3m.errors import NetError
from cdeep3m.proto.caffe_pb2 import TEST, TRAIN
from one_layer import addresses, forward, give, make, run

BOTTOM = addresses(2, 3, 4, 5)
EPS = 1e-5


def normalised(bottom, mean, variance, eps=EPS):
    shape = (1, -1, *[1] * (bottom.ndim - 2))
    return (bottom - np.reshape(mean, shape)) / np.sqrt(np.reshape(variance, shape) + eps)


def test_test_divides_both_sums_by_their_factor():
    mean, variance = np.array([1, -2, 0.5]), np.array([4, 0.25, 9])
    (top,) = run('type: "BatchNorm"', BOTTOM, blobs=[mean * 2.5, variance * 2.5, [2.5]])
    assert_allclose(top, normalised(BOTTOM, mean, variance), rtol=1e-5, atol=1e-6)


def test_a_factor_of_0_means_statistics_of_0():
    (top,) = run('type: "BatchNorm"', BOTTOM, blobs=[[1, 2, 3], [4, 5, 6], [0]])
    assert_allclose(top, BOTTOM / np.sqrt(EPS), rtol=1e-5)


def test_train_normalises_by_the_batch_and_adds_to_the_sums():
    layer = make('type: "BatchNorm" batch_norm_param { moving_average_fraction: 0.75 }', BOTTOM.shape, phase=TRAIN)
    give(layer, [4, 8, 12], [40, 80, 120], [2])
    (top,) = forward(layer, BOTTOM)
    mean, variance = BOTTOM.mean((0, 2, 3)), BOTTOM.var((0, 2, 3))
    assert_allclose(top, normalised(BOTTOM, mean, variance), rtol=1e-4, atol=1e-5)
    sums = [blob.detach().numpy() for blob in layer.blobs]
    assert_allclose(sums[0], np.array([3, 6, 9]) + mean, rtol=1e-5)
    assert_allclose(sums[1], np.array([30, 60, 90]) + variance * 40 / 39, rtol=1e-5)
    assert_allclose(sums[2], [2.5])


def test_the_factor_after_three_batches_is_caffe_s():
    layer = make('type: "BatchNorm"', BOTTOM.shape, phase=TRAIN)
    for _ in range(3):
        forward(layer, BOTTOM)
    assert_allclose(layer.blobs[2].numpy(), [2.997001], rtol=1e-6)


def test_a_single_voxel_a_channel_adds_no_variance():
    layer = make('type: "BatchNorm"', (1, 2, 1, 1), phase=TRAIN)
    forward(layer, np.array([3, 4]).reshape(1, 2, 1, 1))
    assert_array_equal(layer.blobs[0].numpy(), [3, 4])
    assert_array_equal(layer.blobs[1].numpy(), [0, 0])


@pytest.mark.parametrize(("phase", "says"), [(TRAIN, "true"), (TEST, "false")])
def test_use_global_stats_overrides_the_phase(phase, says):
    text = f'type: "BatchNorm" batch_norm_param {{ use_global_stats: {says} eps: 0.5 }}'
    (top,) = run(text, BOTTOM, blobs=[[1, 2, 3], [4, 5, 6], [1]], phase=phase)
    own = (BOTTOM.mean((0, 2, 3)), BOTTOM.var((0, 2, 3)))
    statistics = ([1, 2, 3], [4, 5, 6]) if says == "true" else own
    assert_allclose(top, normalised(BOTTOM, *statistics, eps=0.5), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 2, 2, 2)])
def test_any_number_of_axes_is_normalised_by_channel(shape):
    bottom = addresses(*shape)
    (top,) = run('type: "BatchNorm"', bottom, blobs=[[1, 2, 3], [4, 5, 6], [1]])
    assert_allclose(top, normalised(bottom, [1, 2, 3], [4, 5, 6]), rtol=1e-5, atol=1e-6)


def test_a_single_axis_is_one_channel():
    layer = make('type: "BatchNorm"', (4,), phase=TRAIN)
    (top,) = forward(layer, np.array([1, 2, 3, 6]))
    assert_allclose(top, normalised(np.array([[1], [2], [3], [6]]), [3], [3.5])[:, 0], rtol=1e-4)


def test_its_top_is_no_view_whose_gradient_layers_in_place_would_copy():
    layer = make('type: "BatchNorm"', BOTTOM.shape, phase=TRAIN)
    (top,) = layer.forward(torch.ones(BOTTOM.shape, requires_grad=True))
    assert not top._is_view()


def test_its_blobs_are_learnable_without_a_gradient():
    layer = make('type: "BatchNorm"', BOTTOM.shape, phase=TRAIN)
    assert [blob.requires_grad for blob in layer.blobs] == [False] * 3
    assert [(spec.lr_mult, spec.decay_mult) for spec in layer.param_specs] == [(1, 1)] * 3


def test_other_channels_are_refused():
    with pytest.raises(NetError, match="expected 3 channels, found b0 1x2x4x4"):
        make('type: "BatchNorm"', BOTTOM.shape).top_shapes((1, 2, 4, 4))
