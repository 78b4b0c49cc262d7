from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import plain_kernels
from cdeep3m.errors import NetError
from one_layer import addresses, make, run

DECONVOLUTION = 'type: "Deconvolution" convolution_param { %s }'

CASES = {
    "bilinear, twofold": ("kernel_size: 4 stride: 2 pad: 1", (4, 4), (2, 2), (1, 1), (1, 1), 1),
    "dilated": ("kernel_size: 4 stride: 2 pad: 4 dilation: 3", (4, 4), (2, 2), (4, 4), (3, 3), 1),
    "by axis": ("kernel_h: 3 kernel_w: 2 stride_h: 1 stride_w: 3 pad_h: 1", (3, 2), (1, 3), (1, 0), (1, 1), 1),
    "groups": ("kernel_size: 3 stride: 2 group: 2", (3, 3), (2, 2), (0, 0), (1, 1), 2),
    "1-D": ("kernel_size: 3 stride: 2", (3,), (2,), (0,), (1,), 1),
    "3-D": (
        "kernel_size: [2, 3, 1] stride: [2, 1, 1] dilation: [2, 1, 1]",
        (2, 3, 1),
        (2, 1, 1),
        (0, 0, 0),
        (2, 1, 1),
        1,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_deconvolution_is_what_the_loops_say(case):
    text, size, stride, pad, dilation, groups = case
    bottom = addresses(2, 4, *(4, 5, 3)[: len(size)])
    weight, bias = addresses(4, 2 // groups, *size), addresses(2)
    (top,) = run(DECONVOLUTION % f"num_output: 2 {text}", bottom, blobs=[weight, bias])
    expected = plain_kernels.deconvolve(bottom, weight, bias, stride=stride, pad=pad, dilation=dilation, groups=groups)
    assert_allclose(top, expected, rtol=1e-5, atol=1e-4)


def test_weights_are_in_then_out():
    """Two channels to three outputs, one voxel: output o is the sum of channel c times weight[c, o]."""
    weight = np.array([[1, 2, 3], [10, 20, 30]]).reshape(2, 3, 1, 1)
    text = "num_output: 3 kernel_size: 1 bias_term: false"
    (top,) = run(DECONVOLUTION % text, np.array([5, 7]).reshape(1, 2, 1, 1), blobs=[weight])
    assert_array_equal(top.ravel(), [75, 150, 225])


def test_a_voxel_spreads_its_kernel():
    bottom = np.array([[[[1, 0], [0, 100]]]])
    weight = np.array([[[[1, 2], [3, 4]]]])
    (top,) = run(DECONVOLUTION % "num_output: 1 kernel_size: 2 stride: 2 bias_term: false", bottom, blobs=[weight])
    assert_array_equal(top[0, 0], [[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 100, 200], [0, 0, 300, 400]])


def test_operations_are_counted_at_the_bottom():
    layer = make(DECONVOLUTION % "num_output: 2 kernel_size: 4 stride: 2 pad: 1", (1, 3, 8, 6))
    assert layer.operations((1, 3, 8, 6)) == 2 * (8 * 6) * (3 * 2 * 4 * 4)


def test_other_channels_than_those_of_the_weights_are_refused():
    layer = make(DECONVOLUTION % "num_output: 2 kernel_size: 2", (1, 3, 4, 4))
    with pytest.raises(NetError, match="expected 3 channels and 2 spatial axes, found 1x2x4x4"):
        layer.top_shapes((1, 2, 4, 4))
