"""Deconvolutions as products whose rows are added up: every way of adding gives PyTorch's deconvolution."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from cdeep3m.engines.embedded.net import one_pass, taps
from cdeep3m.engines.embedded.net.kernel import Kernel


def atrous(step: int, dilation: int) -> Kernel:
    """A kernel of the nets' heads."""
    side = 2 * step
    pad = (dilation * (side - 1) + 1 - step) // 2
    return Kernel((side, side), (step, step), (pad, pad), (dilation, dilation))


CASES = {
    "heads of the half": [atrous(2, dilation) for dilation in (1, 5, 11)],
    "heads of the quarter": [atrous(4, dilation) for dilation in (1, 5, 23)],
    "bilinear alone": [atrous(8, 1)],
    "oblong": [Kernel((4, 3), (2, 1), (1 + 3 * d // 2, d), (d + 1, d + 1)) for d in (0, 2, 4)],
    "gaps between taps": [Kernel((2, 2), (3, 3), (0, 0), (1, 1))],
    "several taps on one voxel": [Kernel((5, 4), (2, 2), (0, 0), (2, 1))],
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def kernels(request):
    return request.param


def given(kernels, windows=2, channels=3):
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn((channels, 2, *kernel.size), generator=generator) for kernel in kernels]
    return torch.randn((windows, channels, 5, 6), generator=generator), weights


def matrix_of(weights):
    return torch.cat([weight.flatten(1) for weight in weights], dim=1).t()


def deconvolved(bottom, weights, kernels):
    tops = [
        functional.conv_transpose2d(bottom, weight, None, kernel.stride, kernel.pad, 0, 1, kernel.dilation)
        for weight, kernel in zip(weights, kernels, strict=True)
    ]
    return sum(tops[1:], tops[0])


@pytest.mark.parametrize("way", [taps.add_by_phase, taps.add_by_axis])
def test_every_way_of_adding_gives_the_deconvolutions(kernels, way, monkeypatch):
    monkeypatch.setattr(taps, "add_by_phase", way)
    bottom, weights = given(kernels)
    found = taps.deconvolve_for_prediction(bottom, matrix_of(weights), kernels)
    assert_close(found, deconvolved(bottom, weights, kernels))


def test_gradients_are_those_of_the_deconvolutions(kernels):
    bottom, weights = given(kernels)
    wanted = [blob.requires_grad_() for blob in (bottom, *weights)]
    found = taps.deconvolve_for_training(bottom, matrix_of(weights), kernels)
    expected = deconvolved(bottom, weights, kernels)
    assert_close(found, expected, rtol=1e-5, atol=1e-4)
    gradient = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
    pairs = (torch.autograd.grad(top, wanted, gradient) for top in (found, expected))
    for one, other in zip(*pairs, strict=True):
        assert_close(one, other, rtol=1e-5, atol=1e-4)


def test_where_triton_fails_taps_are_added_the_other_way(monkeypatch):
    def fail(device):
        raise RuntimeError("no C compiler")

    monkeypatch.setattr(one_pass, "check", fail)
    taps._in_one_pass.cache_clear()
    assert not taps.in_one_pass(torch.device("cpu"))
    taps._in_one_pass.cache_clear()


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_one_pass_gives_the_deconvolutions():
    """On the processor Triton interprets its kernels, which has to be said before it is imported."""
    ended = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr


def compare_in_one_pass(device: str) -> None:
    for kernels in CASES.values():
        bottom, weights = given(kernels)
        product = (matrix_of(weights) @ bottom.permute(0, 2, 3, 1).reshape(-1, bottom.shape[1]).t()).to(device)
        found = one_pass.add_up(product, tuple(kernels), (len(bottom), *bottom.shape[2:]))
        assert_close(found.cpu(), deconvolved(bottom, weights, kernels), rtol=1e-5, atol=1e-4)
        gradient = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
        parts = [functional.unfold(gradient, k.size, k.dilation, k.pad, k.stride) for k in kernels]
        expected = torch.cat(parts, dim=1).transpose(0, 1).flatten(1)
        places = (len(bottom), *bottom.shape[2:])
        back = one_pass.take_apart(gradient.to(device), tuple(kernels), places, torch.float32)
        assert_close(back.cpu(), expected, rtol=0, atol=0)


@pytest.mark.gpu
def test_one_pass_on_a_gpu_gives_the_deconvolutions():
    if not taps.in_one_pass(torch.device("cuda", 0)):
        pytest.skip("Triton makes no kernels here")
    compare_in_one_pass("cuda")


if __name__ == "__main__":
    compare_in_one_pass("cpu")
