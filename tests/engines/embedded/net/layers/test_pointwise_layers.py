"""Layers whose top has the bottom's shape, and those that combine blobs of one shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from cdeep3m.errors import NetError
from cdeep3m.proto.caffe_pb2 import TRAIN
from one_layer import addresses, forward, give, make, run

VALUES = np.array([[-2.0, -0.5, 0.0, 3.0]])

FUNCTIONS = {
    "ReLU": ('type: "ReLU"', [-0.0, 0, 0, 3]),
    "leaky ReLU": ('type: "ReLU" relu_param { negative_slope: 0.25 }', [-0.5, -0.125, 0, 3]),
    "Sigmoid": ('type: "Sigmoid"', [0.11920292, 0.37754067, 0.5, 0.95257413]),
    "TanH": ('type: "TanH"', [-0.96402758, -0.46211716, 0, 0.99505475]),
    "Power": ('type: "Power" power_param { power: 2 scale: 3 shift: 1 }', [25, 0.25, 1, 100]),
    "linear Power": ('type: "Power" power_param { scale: 3 shift: 1 }', [-5, -0.5, 1, 10]),
    "Softmax": ('type: "Softmax"', [0.00620025, 0.02778758, 0.04581397, 0.9201982]),
    "Dropout in TEST": ('type: "Dropout"', [-2, -0.5, 0, 3]),
}


@pytest.mark.parametrize("case", FUNCTIONS.values(), ids=FUNCTIONS)
def test_function_of_every_value(case):
    text, expected = case
    assert_allclose(run(text, VALUES)[0], [expected], rtol=2e-5)


def test_softmax_sums_to_1_along_its_axis():
    (top,) = run('type: "Softmax" softmax_param { axis: 2 }', addresses(2, 3, 4))
    assert_allclose(top.sum(2), np.ones((2, 3)), rtol=1e-6)


def test_dropout_in_train_drops_its_share_and_keeps_the_mean():
    (top,) = run('type: "Dropout" dropout_param { dropout_ratio: 0.25 }', np.ones((100, 100)), phase=TRAIN)
    assert_allclose(np.unique(top), [0, 1 / 0.75], rtol=1e-6)
    assert abs((top == 0).mean() - 0.25) < 0.02


@pytest.mark.parametrize(
    ("text", "shape", "expected"),
    [
        ("bias_term: true", (3,), lambda x, f, b: x * f[:, None, None] + b[:, None, None]),
        ("", (3,), lambda x, f, b: x * f[:, None, None]),
        ("axis: 1 num_axes: 2 bias_term: true", (3, 4), lambda x, f, b: x * f[..., None] + b[..., None]),
        ("axis: 2 num_axes: -1", (4, 5), lambda x, f, b: x * f),
        ("axis: -1", (5,), lambda x, f, b: x * f),
    ],
)
def test_scale_multiplies_the_axes_that_it_has_factors_for(text, shape, expected):
    bottom, factor, bias = addresses(2, 3, 4, 5), addresses(*shape), addresses(*shape) + 1
    blobs = [factor, bias] if "bias" in text else [factor]
    (top,) = run(f'type: "Scale" scale_param {{ {text} }}', bottom, blobs=blobs)
    assert_allclose(top, expected(bottom, factor, bias), rtol=1e-5, atol=1e-5)


def test_scale_by_a_second_bottom():
    bottom, factor = addresses(2, 3, 4), addresses(3)
    (top,) = run('type: "Scale" scale_param { bias_term: true }', bottom, factor, blobs=[[1, 2, 3]])
    assert_allclose(top, bottom * factor[:, None] + np.array([[1], [2], [3]]), rtol=1e-5)


def test_scale_starts_as_the_identity():
    bottom = addresses(2, 3, 4)
    assert_array_equal(run('type: "Scale" scale_param { bias_term: true }', bottom)[0], bottom.astype(np.float32))


A, B, C = (addresses(2, 3) + shift for shift in (0, 10, -4))

ELTWISE = {
    "SUM by default": ("", A + B + C),
    "residual sum": ("operation: SUM coeff: 1 coeff: 0.1 coeff: -2", A + 0.1 * B - 2 * C),
    "PROD": ("operation: PROD", A * B * C),
    "MAX": ("operation: MAX", np.maximum(A, np.maximum(B, C))),
}


@pytest.mark.parametrize("case", ELTWISE.values(), ids=ELTWISE)
def test_eltwise_combines_three_bottoms(case):
    text, expected = case
    assert_allclose(run(f'type: "Eltwise" eltwise_param {{ {text} }}', A, B, C)[0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "problem"), [("coeff: 1", "1 coeff for 2 bottoms"), ("operation: MAX coeff: 1 coeff: 1", "SUM only")]
)
def test_coeff_that_does_not_fit_is_refused(text, problem):
    with pytest.raises(NetError, match=problem):
        make(f'type: "Eltwise" eltwise_param {{ {text} }}', (2, 3), (2, 3))


def test_eltwise_of_two_shapes_names_both_and_the_remedy():
    with pytest.raises(NetError, match="found b0 1x2x3, b1 1x2x4; .*multiples of 16"):
        make('type: "Eltwise"', (1, 2, 3), (1, 2, 4)).top_shapes((1, 2, 3), (1, 2, 4))


INNER = 'type: "InnerProduct" inner_product_param { %s }'


def test_inner_product_sees_all_axes_from_its_own_on():
    bottom, weight, bias = addresses(2, 3, 4), addresses(5, 12), addresses(5)
    (top,) = run(INNER % "num_output: 5", bottom, blobs=[weight, bias])
    assert_allclose(top, bottom.reshape(2, 12) @ weight.T + bias, rtol=1e-5, atol=1e-5)


def test_inner_product_of_the_last_axis_alone():
    bottom, weight = addresses(2, 3, 4), addresses(5, 4)
    (top,) = run(INNER % "num_output: 5 axis: 2 bias_term: false", bottom, blobs=[weight])
    assert_allclose(top, bottom @ weight.T, rtol=1e-5, atol=1e-5)


def test_inner_product_refuses_another_number_of_inputs():
    with pytest.raises(NetError, match="expected 12 inputs, found b0 2x3x5"):
        make(INNER % "num_output: 5", (2, 3, 4)).top_shapes((2, 3, 5))


def test_gradients_reach_weights_and_bottoms():
    layer = make(INNER % "num_output: 1", (1, 2), phase=TRAIN)
    give(layer, [[3, 4]], [0])
    bottom = torch.tensor([[5.0, 6.0]], requires_grad=True)
    layer.forward(bottom)[0].sum().backward()
    assert_array_equal(bottom.grad, [[3, 4]])
    assert_array_equal(layer.blobs[0].grad, [[5, 6]])
    assert_array_equal(forward(layer, bottom.detach().numpy())[0], [[39]])
