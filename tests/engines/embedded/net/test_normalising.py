"""BatchNorm, Scale and ReLU in one pass are PyTorch's own: values, gradients and running sums."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from torch.testing import assert_close

from cdeep3m.engines.embedded.net import normalising

CASES = {
    "channels outermost": ((2, 5, 9, 8), torch.contiguous_format),
    "channels innermost": ((2, 5, 9, 8), torch.channels_last),
    "many channels and parts": ((2, 70, 25, 23), torch.channels_last),
    "planes": ((2, 3, 5, 4, 1), torch.contiguous_format),
    "two channels": ((2, 2, 60, 50), torch.channels_last),
    "several planes": ((1, 3, 5, 4, 3), torch.contiguous_format),
}
"""Shape and layout of a blob."""


@pytest.mark.parametrize(("shape", "layout"), CASES.values(), ids=CASES)
def test_rows_are_voxels(shape, layout):
    blob = torch.arange(float(torch.Size(shape).numel())).view(shape).contiguous(memory_format=layout)
    rows = normalising._rows(blob)
    assert_close(rows, blob.movedim(1, -1).reshape(-1, shape[1]), rtol=0, atol=0)
    assert_close(normalising._blob(rows.contiguous(), blob.shape), blob, rtol=0, atol=0)


def test_rows_of_a_part_of_the_channels_are_not_copied():
    whole = torch.arange(480.0).view(2, 12, 5, 4).contiguous(memory_format=torch.channels_last)
    rows = normalising._rows(whole[:, 3:7])
    assert (rows.data_ptr(), rows.stride()) == (whole[:, 3:].data_ptr(), (12, 1))
    assert_close(rows, whole[:, 3:7].movedim(1, -1).reshape(-1, 4), rtol=0, atol=0)


def test_rows_of_a_part_of_the_voxels_are():
    blob = torch.arange(480.0).view(2, 12, 5, 4).contiguous(memory_format=torch.channels_last)[:, :, 1:4, 1:3]
    assert_close(normalising._rows(blob), blob.movedim(1, -1).reshape(-1, 12), rtol=0, atol=0)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 1000, 2_560_000])
@pytest.mark.parametrize("channels", [1, 2, 32, 33, 1024])
def test_no_part_of_the_rows_is_empty_and_none_is_left_over(count, channels):
    parts = normalising._parts(count, channels)
    rows = normalising._rows_of_part(count, channels, parts)
    assert 1 <= parts <= normalising.MOST_PARTS
    assert (parts - 1) * rows < count <= parts * rows


def test_without_a_gpu_there_is_no_one_pass():
    assert not normalising.in_one_pass(torch.device("cpu"))


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_one_pass_gives_what_pytorch_gives():
    """On the processor Triton interprets its kernels, which has to be said before it is imported."""
    ended = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.gpu
def test_one_pass_on_a_gpu_gives_what_pytorch_gives():
    if not normalising.in_one_pass(torch.device("cuda", 0)):
        pytest.skip("Triton makes no kernels here")
    compare("cuda")


def compare(device: str) -> None:
    for shape, layout in CASES.values():
        for rectified in (False, True):
            for biased in (False, True):
                compare_one(shape, layout, device, rectified=rectified, biased=biased)


def compare_one(shape, layout, device: str, *, rectified: bool, biased: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    channels = shape[1]
    bottom = (torch.randn(shape, generator=generator) * 3 + 100).contiguous(memory_format=layout)
    factor, offset, shift, sums = (torch.randn(channels, generator=generator) for _ in range(4))
    gradient = torch.randn(shape, generator=generator)
    found, expected = [], []
    for into, place in ((found, device), (expected, "cpu")):
        given = [blob.to(place).requires_grad_() for blob in (bottom, factor, offset)]
        if not biased:
            given[2] = None
        running = normalising.Sums(*(blob.to(place) for blob in (sums.clone(), sums.abs(), torch.tensor([2.0]))))
        work = normalising.normalise if into is found else plain
        top = work(*given, shift.to(place), running, fraction=0.9, eps=1e-5, rectified=rectified)
        wanted = [blob for blob in given if blob is not None]
        into += [top, *running, *torch.autograd.grad(top, wanted, gradient.to(place))]
    for one, other in zip(found, expected, strict=True):
        assert_close(one.detach().cpu(), other.detach(), rtol=1e-3, atol=2e-4)


def plain(bottom, factor, offset, shift, sums, *, fraction: float, eps: float, rectified: bool):
    """Return the top in float64, by PyTorch; as `normalising.normalise` otherwise."""
    given = bottom.double()
    top = torch.nn.functional.batch_norm(given, None, None, None, None, training=True, eps=eps)
    tall = (-1, *[1] * (bottom.dim() - 2))
    top = top * factor.double().view(tall) + (0 if offset is None else offset.double().view(tall))
    rows = given.detach().movedim(1, -1).flatten(0, -2)
    variance = rows.var(0) if len(rows) > 1 else torch.zeros_like(rows[0])
    for blob, added in zip(sums, (rows.mean(0) + shift, variance, 1), strict=True):
        blob.mul_(fraction).add_(added)
    return (top.relu() if rectified else top).float()


if __name__ == "__main__":
    compare("cpu")
