"""Convolution and deconvolution by the faster of PyTorch's two sets of CPU kernels, oneDNN's and its own.

oneDNN's are faster but for these nets' thin ends: deconvolutions to two classes, and convolutions of a few channels. On
a GPU there is nothing to choose.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdeep3m.engines.embedded.layers.convolution import Kernel

FEW_OUTPUTS = 8
"""Deconvolutions with at most so many outputs are faster forward with PyTorch's own kernels."""

MANY_CHANNELS = 128
"""Such deconvolutions are faster backward with them, too, from so many channels on."""

FEW_CHANNELS = 4
"""Convolutions with at most so many channels are faster backward with PyTorch's own kernels."""


class Own(NamedTuple):
    """In which direction PyTorch's own kernels run."""

    forward: bool
    backward: bool


def convolve(
    bottom: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, kernel: Kernel, *, groups: int = 1
) -> torch.Tensor:
    """Convolve.

    Parameters
    ----------
    bottom : torch.Tensor, shape (n, channels, spatial...)
        One to three spatial axes.
    weight : torch.Tensor, shape (outputs, channels / groups, spatial...)
    bias : torch.Tensor, shape (outputs,), optional
    kernel : Kernel
    groups : int

    Returns
    -------
    torch.Tensor, shape (n, outputs, spatial...)
    """
    few = weight.shape[1] <= FEW_CHANNELS and weight.shape[0] <= 2 * FEW_CHANNELS
    return _run(bottom, weight, bias, kernel, groups, transposed=False, own=Own(forward=False, backward=few))


def deconvolve(
    bottom: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, kernel: Kernel, *, groups: int = 1
) -> torch.Tensor:
    """Deconvolve; as `convolve`, with weights (channels, outputs / groups, spatial...)."""
    few = weight.shape[1] * groups <= FEW_OUTPUTS
    own = Own(forward=few, backward=few and weight.shape[0] >= MANY_CHANNELS)
    return _run(bottom, weight, bias, kernel, groups, transposed=True, own=own)


def _run(
    bottom: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    kernel: Kernel,
    groups: int,
    *,
    transposed: bool,
    own: Own,
) -> torch.Tensor:
    axes = len(kernel.size)
    settings = (kernel.stride, kernel.pad, kernel.dilation, transposed, (0,) * axes, groups)
    if bottom.device.type != "cpu" or not any(own):
        return torch.convolution(bottom, weight, bias, *settings)
    return _Chosen.apply(bottom, weight, bias, settings, own)  # type: ignore[no-untyped-call]


class _Chosen(torch.autograd.Function):
    """PyTorch's convolution, each direction by the kernels that `own` chooses."""

    @staticmethod
    def forward(
        ctx: Any,
        bottom: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        settings: tuple[Any, ...],
        own: Own,
    ) -> torch.Tensor:
        ctx.save_for_backward(bottom, weight)
        ctx.settings, ctx.own, ctx.biases = settings, own, None if bias is None else list(bias.shape)
        with _kernels(own=own.forward):
            return torch.convolution(bottom, weight, bias, *settings)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        bottom, weight = ctx.saved_tensors
        with _kernels(own=ctx.own.backward):
            found = torch.ops.aten.convolution_backward(
                gradients[0], bottom, weight, ctx.biases, *ctx.settings, list(ctx.needs_input_grad[:3])
            )
        return (*found, None, None)


@contextmanager
def _kernels(*, own: bool) -> Iterator[None]:
    """Keep oneDNN out of the block when PyTorch's own kernels are to run."""
    onednn: Any = torch.backends.mkldnn
    before = onednn.enabled
    onednn.enabled = before and not own
    try:
        yield
    finally:
        onednn.enabled = before
