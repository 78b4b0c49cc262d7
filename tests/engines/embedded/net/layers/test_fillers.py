from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from numpy.testing import assert_allclose, assert_array_equal

from cdeep3m.engines.embedded.net.layers.fillers import fill
from cdeep3m.errors import NetError
from cdeep3m.proto.caffe_pb2 import FillerParameter

SHAPE = (40, 30, 5, 5)
FAN_IN, FAN_OUT = 30 * 25, 40 * 25


def filled(text, shape=SHAPE, seed=0):
    return fill(shape, text_format.Parse(text, FillerParameter()), torch.Generator().manual_seed(seed)).numpy()


def test_no_filler_means_zeros_and_constant_its_value():
    assert_array_equal(filled("", (2, 3)), np.zeros((2, 3)))
    assert_array_equal(filled('type: "constant" value: 0.5', (2, 3)), np.full((2, 3), 0.5))


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ('type: "xavier"', math.sqrt(3 / FAN_IN)),
        ('type: "xavier" variance_norm: FAN_OUT', math.sqrt(3 / FAN_OUT)),
        ('type: "xavier" variance_norm: AVERAGE', math.sqrt(6 / (FAN_IN + FAN_OUT))),
        ('type: "uniform" min: -2 max: 2', 2),
    ],
)
def test_uniform_fillers_fill_their_range(text, limit):
    blob = filled(text)
    assert -limit <= blob.min() < -0.99 * limit
    assert 0.99 * limit < blob.max() <= limit
    assert abs(blob.mean()) < 0.02 * limit


@pytest.mark.parametrize(
    ("text", "mean", "deviation"),
    [
        ('type: "gaussian" std: 0.01', 0, 0.01),
        ('type: "gaussian" mean: 3 std: 2', 3, 2),
        ('type: "msra"', 0, math.sqrt(2 / FAN_IN)),
        ('type: "msra" variance_norm: FAN_OUT', 0, math.sqrt(2 / FAN_OUT)),
    ],
)
def test_normal_fillers_have_their_deviation(text, mean, deviation):
    blob = filled(text)
    assert_allclose(blob.std(), deviation, rtol=0.02)
    assert abs(blob.mean() - mean) < 0.03 * deviation
    assert abs(blob).max() > mean + 3 * deviation


def test_a_sparse_gaussian_keeps_so_many_inputs_of_an_output():
    blob = filled('type: "gaussian" std: 1 sparse: 4', (40, 1000))
    assert_allclose((blob != 0).mean(), 4 / 40, rtol=0.05)


@pytest.mark.parametrize(
    ("side", "line"), [(4, [0.25, 0.75, 0.75, 0.25]), (3, [0.25, 0.75, 0.75]), (8, [0.125, 0.375, 0.625, 0.875] * 1)]
)
def test_bilinear_is_the_kernel_that_upsamples(side, line):
    line = np.array(line if len(line) == side else line + line[::-1])
    blob = filled('type: "bilinear"', (2, 3, side, side))
    for kernel in blob.reshape(-1, side, side):
        assert_allclose(kernel, np.outer(line, line), rtol=1e-6)


def test_a_seed_repeats_its_values_and_another_does_not():
    assert_array_equal(filled('type: "xavier"', seed=3), filled('type: "xavier"', seed=3))
    assert (filled('type: "xavier"', seed=3) != filled('type: "xavier"', seed=4)).mean() > 0.99


@pytest.mark.parametrize(
    ("text", "shape", "problem"),
    [
        ('type: "orthogonal"', (2, 2), "unknown filler 'orthogonal'; known: constant, uniform"),
        ('type: "bilinear"', (2, 2, 3, 4), "square 2-D kernel"),
    ],
)
def test_what_is_not_known_is_refused(text, shape, problem):
    with pytest.raises(NetError, match=problem):
        filled(text, shape)
