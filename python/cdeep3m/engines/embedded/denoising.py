"""Total-variation denoising on a CUDA device: the iterations of `cdeep3m.volumes.enhancement`, a plane at a time."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import torch

from cdeep3m.volumes.enhancement import MOST_ROUNDS, ROUND, STEP, STILL

if TYPE_CHECKING:
    import numpy as np

    from cdeep3m.volumes.enhancement import Denoiser


def denoiser_on(device: torch.device) -> Denoiser:
    """Return what denoises planes on a device.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    callable
        As `cdeep3m.volumes.enhancement.denoise_plane`: the same steps, and the same values but for rounding.
    """

    def denoise(plane: np.ndarray, weight: float) -> np.ndarray:
        return denoise_tensor(torch.from_numpy(plane).to(device), weight).cpu().numpy()

    return denoise


def denoise_tensor(plane: torch.Tensor, weight: float) -> torch.Tensor:
    """Lower the anisotropic total variation of a plane.

    Parameters
    ----------
    plane : tensor of float32, shape (y, x)
    weight : float
        Above 0.

    Returns
    -------
    tensor of float32, shape (y, x)
    """
    height, width = plane.shape
    p, r = (plane.new_zeros((height - 1, width)) for _ in range(2))
    q, s = (plane.new_zeros((height, width - 1)) for _ in range(2))
    momentum, before = 1.0, plane
    for _ in range(MOST_ROUNDS):
        u = plane
        for _ in range(ROUND):
            following = (1 + sqrt(1 + 4 * momentum * momentum)) / 2
            share = (momentum - 1) / following
            u = _primal(plane, r, s)
            p, r = _advanced(p, r, u[1:] - u[:-1], weight, share)
            q, s = _advanced(q, s, u[:, 1:] - u[:, :-1], weight, share)
            momentum = following
        if float((u - before).abs().mean(dtype=torch.float64)) < STILL:
            break
        before = u
    return _primal(plane, p, q)


def _advanced(
    dual: torch.Tensor, ahead: torch.Tensor, gradient: torch.Tensor, weight: float, share: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the dual after a gradient step from where it was extrapolated to, and that one extrapolated."""
    stepped = (ahead + gradient * STEP).clamp_(-weight, weight)
    return stepped, stepped + (stepped - dual) * share


def _primal(plane: torch.Tensor, p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    u = plane.clone()
    u[:-1] += p
    u[1:] -= p
    u[:, :-1] += q
    u[:, 1:] -= q
    return u
