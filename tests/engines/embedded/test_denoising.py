"""Denoising with PyTorch equals denoising with NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cdeep3m.engines.embedded.denoising import denoiser_on
from cdeep3m.engines.embedded.engine import EmbeddedEngine
from cdeep3m.volumes.enhancement import denoise_plane, enhance
from octave_cases import synth


@pytest.mark.parametrize("shape", [(2, 2), (1, 40), (40, 1), (70, 45)])
@pytest.mark.parametrize("weight", [0.01, 0.2])
def test_planes_are_denoised_as_with_numpy(shape, weight):
    plane = synth(1, *shape, 7, "float32")[0]
    np.testing.assert_allclose(
        denoiser_on(torch.device("cpu"))(plane, weight), denoise_plane(plane, weight), rtol=0, atol=2e-6
    )


@pytest.mark.gpu
def test_a_gpu_enhances_as_the_cpu_does():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    plane = synth(1, 300, 200, 7)[0]
    difference = np.abs(enhance(plane, denoise=EmbeddedEngine().denoiser(0)).astype(int) - enhance(plane))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001


def test_the_cpu_takes_numpy():
    assert EmbeddedEngine().denoiser(-1) is denoise_plane
