"""Convolutions as matrix products, which GPUs get, are PyTorch's own: values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from cdeep3m.engines.embedded.net import products
from cdeep3m.engines.embedded.net.kernel import Kernel

POINT = Kernel((1, 1), (1, 1), (0, 0), (1, 1))
KERNELS = {
    "point": POINT,
    "square": Kernel((3, 3), (1, 1), (1, 1), (1, 1)),
    "halving": Kernel((3, 3), (2, 2), (1, 1), (1, 1)),
    "long": Kernel((1, 7), (1, 1), (0, 3), (1, 1)),
    "point, halving": Kernel((1, 1), (2, 2), (0, 0), (1, 1)),
    "dilated, oblong": Kernel((4, 3), (2, 1), (1, 0), (1, 2)),
}


@pytest.fixture(params=KERNELS.values(), ids=KERNELS)
def kernel(request):
    return request.param


def blobs(*shapes):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


def assert_same_convolution(given, kernel):
    found = products.convolve(*given, kernel)
    expected = functional.conv2d(*given, kernel.stride, kernel.pad, kernel.dilation)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert_close(found, expected, rtol=1e-5, atol=1e-4)
    (gradient,) = blobs(found.shape)
    wanted = [blob for blob in given if blob is not None]
    pairs = (torch.autograd.grad(top, wanted, gradient) for top in (found, expected))
    for one, other in zip(*pairs, strict=True):
        assert_close(one, other, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_product_is_the_convolution(kernel, biased, layout):
    bottom, weight, bias = blobs((3, 5, 9, 8), (4, 5, *kernel.size), (4,))
    bottom = bottom.detach().contiguous(memory_format=layout).requires_grad_()
    assert_same_convolution((bottom, weight, bias if biased else None), kernel)


def test_windows_are_multiplied_one_by_one_where_memory_is_short(kernel, monkeypatch):
    monkeypatch.setattr(products, "MOST_COLUMNS", 1)
    assert_same_convolution(blobs((3, 5, 9, 8), (4, 5, *kernel.size), (4,)), kernel)


def test_on_the_cpu_convolutions_stay_as_they_are():
    assert not products.suit(torch.zeros(1, 2, 4, 4), POINT, 1)


@pytest.mark.gpu
def test_on_a_gpu_whole_numbers_are_multiplied_and_short_ones_convolved():
    bottom = torch.zeros(1, 2, 4, 4, device="cuda")
    torch.backends.cudnn.allow_tf32 = False
    assert products.suit(bottom, POINT, 1)
    assert not products.suit(bottom.half(), POINT, 1)
    with torch.autocast("cuda"):
        assert not products.suit(bottom, POINT, 1)
