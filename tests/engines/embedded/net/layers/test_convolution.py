from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import plain_kernels
from cdeep3m.errors import NetError
from one_layer import addresses, make, run

CONVOLUTION = 'type: "Convolution" convolution_param { %s }'

CASES = {
    "3x3": ("num_output: 2 kernel_size: 3", (1, 1), (3, 3), (1, 1), (0, 0), (1, 1), 1),
    "pad and stride": ("num_output: 2 kernel_size: 3 pad: 1 stride: 2", (1, 1), (3, 3), (2, 2), (1, 1), (1, 1), 1),
    "1x7": ("num_output: 2 kernel_h: 1 kernel_w: 7 pad_w: 3", (1, 1), (1, 7), (1, 1), (0, 3), (1, 1), 1),
    "7x1": ("num_output: 2 kernel_h: 7 kernel_w: 1 pad_h: 3", (1, 1), (7, 1), (1, 1), (3, 0), (1, 1), 1),
    "stride by axis": (
        "num_output: 2 kernel_size: 2 stride_h: 2 stride_w: 3",
        (1, 1),
        (2, 2),
        (2, 3),
        (0, 0),
        (1, 1),
        1,
    ),
    "dilation": ("num_output: 2 kernel_size: 3 dilation: 2 pad: 2", (1, 1), (3, 3), (1, 1), (2, 2), (2, 2), 1),
    "groups": ("num_output: 4 kernel_size: 3 group: 2", (1, 1), (3, 3), (1, 1), (0, 0), (1, 1), 2),
    "1-D": ("num_output: 2 kernel_size: 3 pad: 1", (1,), (3,), (1,), (1,), (1,), 1),
    "3-D": (
        "num_output: 2 kernel_size: 3 kernel_size: 2 kernel_size: 1 pad: 1 pad: 0 pad: 0 stride: 1 stride: 2 stride: 1",
        (1, 1, 1),
        (3, 2, 1),
        (1, 2, 1),
        (1, 0, 0),
        (1, 1, 1),
        1,
    ),
    "3-D groups and dilation": (
        "num_output: 2 kernel_size: 2 group: 2 dilation: 1 dilation: 2 dilation: 3",
        (1, 1, 1),
        (2, 2, 2),
        (1, 1, 1),
        (0, 0, 0),
        (1, 2, 3),
        2,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_convolution_is_what_the_loops_say(case):
    text, axes, size, stride, pad, dilation, groups = case
    bottom = addresses(2, 4, *(8, 9, 5)[: len(axes)])
    outputs = 4 if "num_output: 4" in text else 2
    weight, bias = addresses(outputs, 4 // groups, *size), addresses(outputs)
    (top,) = run(CONVOLUTION % text, bottom, blobs=[weight, bias])
    expected = plain_kernels.convolve(bottom, weight, bias, stride=stride, pad=pad, dilation=dilation, groups=groups)
    assert_allclose(top, expected, rtol=1e-5, atol=1e-4)


def test_kernel_h_belongs_to_the_axis_of_image_x():
    """A step of one voxel along axis 2 is what a 2 x 1 kernel (1, -1) sees."""
    bottom = np.array([[[[1, 2, 4], [10, 20, 40]]]])
    (top,) = run(
        CONVOLUTION % "num_output: 1 kernel_h: 2 kernel_w: 1 bias_term: false", bottom, blobs=[[[[[-1], [1]]]]]
    )
    assert_array_equal(top, [[[[9, 18, 36]]]])


def test_the_last_of_three_kernel_axes_is_z():
    bottom = np.array([[[[[1, 10, 100]]]]])
    text = "num_output: 1 kernel_size: 1 kernel_size: 1 kernel_size: 3 bias_term: false"
    (top,) = run(CONVOLUTION % text, bottom, blobs=[[[[[[1, 2, 3]]]]]])
    assert_array_equal(top, [[[[[321]]]]])


def test_several_bottoms_share_the_weights():
    layer_bottoms = addresses(1, 1, 2, 2), addresses(1, 1, 3, 3) + 1
    tops = run(CONVOLUTION % "num_output: 1 kernel_size: 1", *layer_bottoms, blobs=[[[[[2]]]], [1]], tops=2)
    for top, bottom in zip(tops, layer_bottoms, strict=True):
        assert_array_equal(top, bottom * 2 + 1)


def test_operations_are_counted_twice_for_each_product():
    layer = make(CONVOLUTION % "num_output: 4 kernel_size: 3 pad: 1 stride: 2", (1, 2, 8, 6))
    assert layer.operations((5, 2, 8, 6)) == 2 * 5 * (4 * 3) * (4 * 2 * 3 * 3)


@pytest.mark.parametrize(
    ("text", "shape", "problem"),
    [
        ("num_output: 1 kernel_size: 1 kernel_size: 1 kernel_size: 1", (1, 1, 4, 4), "kernel_size has 3 values"),
        ("num_output: 1", (1, 1, 4, 4), "kernel_size, stride and dilation must be at least 1"),
        ("kernel_size: 1", (1, 1, 4, 4), "1 channels to 0 outputs"),
        ("num_output: 2 kernel_size: 1 group: 2", (1, 3, 4, 4), "3 channels to 2 outputs do not make 2 groups"),
        ("num_output: 2 kernel_size: 5", (1, 1, 4, 4), "1x1x4x4 is too small for a kernel of 5x5"),
        ("num_output: 2 kernel_size: 1", (1, 3), "1 to 3 spatial axes, found"),
    ],
)
def test_a_kernel_that_does_not_fit_is_refused(text, shape, problem):
    with pytest.raises(NetError, match=rf"layer it \(Convolution\): .*{problem}"):
        make(CONVOLUTION % text, shape).top_shapes(shape)
