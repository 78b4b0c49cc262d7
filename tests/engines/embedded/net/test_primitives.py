"""Whichever kernels run, values and gradients are PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from cdeep3m.engines.embedded.net.kernel import Kernel
from cdeep3m.engines.embedded.net.primitives import (
    CHANNELS_TO_POOL,
    FEW_CHANNELS,
    FEW_OUTPUTS,
    convolve,
    deconvolve,
    deconvolve_sum,
    max_pool,
)

KERNEL = Kernel(size=(4, 3), stride=(2, 1), pad=(1, 0), dilation=(1, 2))
PLAIN = {convolve: functional.conv2d, deconvolve: functional.conv_transpose2d}


def blobs(*shapes):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


def plain(function, bottom, weight, bias):
    settings = {"stride": KERNEL.stride, "padding": KERNEL.pad, "dilation": KERNEL.dilation}
    return PLAIN[function](bottom, weight, bias, **settings)


def assert_same(found, expected, wanted):
    """Compare values, and gradients for the blobs that are wanted."""
    assert_close(found, expected, rtol=1e-5, atol=1e-4)
    (gradient,) = blobs(found.shape)
    pairs = (torch.autograd.grad(top, wanted, gradient) for top in (found, expected))
    for one, other in zip(*pairs, strict=True):
        assert_close(one, other, rtol=1e-5, atol=1e-4)


CASES = {
    "few channels": (convolve, FEW_CHANNELS, 2),
    "many channels": (convolve, FEW_CHANNELS + 1, 2),
    "two classes": (deconvolve, 3, 2),
    "many outputs": (deconvolve, 3, FEW_OUTPUTS + 1),
}


@pytest.mark.parametrize(("function", "channels", "outputs"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("biased", [True, False])
def test_values_and_gradients_are_those_of_plain_pytorch(function, channels, outputs, biased):
    shape = (outputs, channels) if function is convolve else (channels, outputs)
    bottom, weight, bias = blobs((2, channels, 6, 7), (*shape, *KERNEL.size), (outputs,))
    given = (bottom, weight, bias if biased else None)
    assert_same(function(*given, KERNEL), plain(function, *given), [blob for blob in given if blob is not None])


@pytest.mark.parametrize(
    ("planes", "taps", "pad", "dilation", "groups"),
    [(1, 1, 0, 1, 1), (3, 3, 0, 1, 1), (3, 3, 1, 1, 1), (4, 3, 0, 1, 1), (3, 2, 0, 2, 1), (3, 3, 0, 1, 2)],
)
def test_3d_convolutions_are_those_of_plain_pytorch_also_where_one_plane_comes_out(planes, taps, pad, dilation, groups):
    kernel = Kernel((3, 2, taps), (2, 1, 1), (1, 0, pad), (1, 2, dilation))
    given = blobs((2, 6, 7, 6, planes), (4, 6 // groups, *kernel.size), (4,))
    settings = {"stride": kernel.stride, "padding": kernel.pad, "dilation": kernel.dilation, "groups": groups}
    assert_same(convolve(*given, kernel, groups=groups), functional.conv3d(*given, **settings), given)


KERNELS = [Kernel((4, 3), (2, 1), (1 + 3 * d // 2, d), (d + 1, d + 1)) for d in (0, 2, 4)]


@pytest.mark.parametrize("biased", [True, False])
def test_a_sum_of_deconvolutions_is_that_of_each(biased):
    bottom, bias, *weights = blobs((2, 5, 6, 7), (2,), *[(5, 2, *kernel.size) for kernel in KERNELS])
    found = deconvolve_sum(bottom, weights, bias if biased else None, KERNELS)
    tops = [
        deconvolve(bottom, *each) for each in zip(weights, [bias if biased else None, None, None], KERNELS, strict=True)
    ]
    assert_same(found, sum(tops[1:], tops[0]), [bottom, *weights, *[bias] * biased])


@pytest.mark.parametrize("channels", [CHANNELS_TO_POOL, CHANNELS_TO_POOL - 1])
@pytest.mark.parametrize("size", [((3, 3), (2, 2), (0, 0)), ((2, 4), (2, 3), (1, 0)), ((3, 3), (1, 1), (1, 1))])
def test_maxima_and_their_gradients_are_those_of_plain_pytorch_also_among_equals(size, channels):
    generator = torch.Generator().manual_seed(2)
    bottom = torch.randint(0, 3, (2, channels, 8, 11), generator=generator).float().requires_grad_()
    for blob in (bottom, bottom.contiguous(memory_format=torch.channels_last)):
        assert_same(max_pool(blob, *size), functional.max_pool2d(blob, *size, ceil_mode=True), [blob])


def test_a_bottom_that_needs_no_gradient_gets_none():
    _, weight = blobs((1,), (2, FEW_CHANNELS, *KERNEL.size))
    convolve(torch.ones(1, FEW_CHANNELS, 6, 7), weight, None, KERNEL).sum().backward()
    assert weight.grad is not None


def test_onednn_is_as_before_even_after_an_error():
    bottom, weight = blobs((1, 3, 6, 7), (5, 2, *KERNEL.size))
    with pytest.raises(RuntimeError):
        deconvolve(bottom, weight, None, KERNEL)
    assert torch.backends.mkldnn.enabled
