from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import plain_kernels
from cdeep3m.errors import NetError
from one_layer import addresses, make, run

POOLING = 'type: "Pooling" pooling_param { %s }'


def test_a_partial_last_step_makes_one_more_output():
    bottom = np.array([[[[3, 1, 4, 1], [5, 9, 2, 6], [5, 3, 5, 8], [9, 7, 9, 3]]]])
    (top,) = run(POOLING % "pool: MAX kernel_size: 3 stride: 2", bottom)
    assert_array_equal(top[0, 0], [[9, 8], [9, 9]])


def test_an_average_divides_by_the_area_within_the_padding():
    """3 x 3 kernels on a 4 x 4 blob padded by 1: 9 voxels, 6 where the last step reaches out, 4 in the corner."""
    (top,) = run(POOLING % "pool: AVE kernel_size: 3 stride: 3 pad: 1", np.full((1, 1, 4, 4), 36))
    assert_array_equal(top[0, 0], [[4 * 36 / 9, 2 * 36 * 2 / 9], [4 * 36 / 9, 4 * 36 / 9]])


CASES = {
    "as in the nets": ("kernel_size: 3 stride: 2", (3, 3), (2, 2), (0, 0)),
    "padded": ("kernel_size: 3 stride: 2 pad: 1", (3, 3), (2, 2), (1, 1)),
    "by axis": ("kernel_h: 3 kernel_w: 2 stride_h: 1 stride_w: 2 pad_h: 1", (3, 2), (1, 2), (1, 0)),
    "3-D": (
        "kernel_shape: 2 kernel_shape: 3 kernel_shape: 1 stride_shape: 2 stride_shape: 2 stride_shape: 1",
        (2, 3, 1),
        (2, 2, 1),
        (0, 0, 0),
    ),
    "1-D": ("kernel_size: 4 stride: 3", (4,), (3,), (0,)),
}


@pytest.mark.parametrize("sides", [(7, 8, 3), (8, 11, 2), (9, 6, 1)])
@pytest.mark.parametrize("average", [False, True], ids=["MAX", "AVE"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_pooling_is_what_the_loops_say(case, average, sides):
    text, size, stride, pad = case
    bottom = addresses(2, 3, *sides[: len(size)])
    (top,) = run(POOLING % f"pool: {'AVE' if average else 'MAX'} {text}", bottom)
    assert_allclose(
        top, plain_kernels.pool(bottom, average=average, size=size, stride=stride, pad=pad), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("sides", [(4, 6), (5, 3)])
def test_global_pooling_takes_each_blob_whole(sides):
    layer_text = POOLING % "pool: AVE global_pooling: true"
    bottom = addresses(2, 3, *sides)
    (top,) = run(layer_text, bottom)
    assert_allclose(top, bottom.mean((2, 3), keepdims=True), rtol=1e-5, atol=1e-6)
    assert make(layer_text, (2, 3, 9, 9)).top_shapes((2, 3, *sides)) == ((2, 3, 1, 1),)


@pytest.mark.parametrize(
    ("text", "tops", "problem"),
    [
        ("pool: STOCHASTIC kernel_size: 2", 1, "MAX or AVE"),
        ("kernel_size: 2", 2, "with one top"),
        ("stride: 2", 1, "kernel and stride of at least 1"),
        ("kernel_size: 2 pad: 2", 1, "no more padding than half the kernel"),
    ],
)
def test_what_it_cannot_do_is_refused(text, tops, problem):
    with pytest.raises(NetError, match=rf"layer it \(Pooling\): .*{problem}"):
        make(POOLING % text, (1, 1, 8, 8), tops=tops)
