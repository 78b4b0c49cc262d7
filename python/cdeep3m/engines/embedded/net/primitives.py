"""Convolution, deconvolution and pooling by the fastest of what PyTorch has.

On the CPU there are oneDNN's kernels and PyTorch's own. oneDNN's are faster but for these nets' thin ends:
deconvolutions to two classes, and convolutions of a few channels. Maxima are found faster with the channels innermost
in memory. On a GPU, float32 convolutions and all thin deconvolutions are matrix products (products.py, taps.py).
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import functional

from cdeep3m.engines.embedded.net import products, taps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cdeep3m.engines.embedded.net.kernel import Kernel

FEW_OUTPUTS = 8
"""Deconvolutions with at most so many outputs are faster forward as matrix products, which PyTorch's kernels make."""

FEW_CHANNELS = 4
"""Convolutions with at most so many channels are faster backward with PyTorch's own kernels."""

CHANNELS_TO_POOL = 4
"""With fewer channels, maxima are found faster as the blob lies; with 8, half as fast."""


class Own(NamedTuple):
    """In which direction PyTorch's own kernels run."""

    forward: bool
    backward: bool


def convolve(
    bottom: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, kernel: Kernel, *, groups: int = 1
) -> torch.Tensor:
    """Convolve a blob with weights by the fastest way for its shape and device.

    Parameters
    ----------
    bottom : torch.Tensor, shape (n, channels, spatial...)
        One to three spatial axes.
    weight : torch.Tensor, shape (outputs, channels / groups, spatial...)
        Where its numbers have 16 bits, so have those that are computed with.
    bias : torch.Tensor, shape (outputs,), optional
    kernel : Kernel
    groups : int

    Returns
    -------
    torch.Tensor, shape (n, outputs, spatial...)
    """
    if weight.dtype.itemsize < torch.float32.itemsize:
        bottom, bias = bottom.to(weight.dtype), bias if bias is None else bias.to(weight.dtype)
    if _sees_all_planes(bottom, kernel, groups):
        flat = kernel.along(2)
        return convolve(_planes_as_channels(bottom), _planes_as_channels(weight), bias, flat)[..., None]
    if products.suit(bottom, kernel, groups):
        return products.convolve(bottom, weight, bias, kernel)
    if bottom.is_cuda and bottom.dim() == 4:
        bottom = bottom.contiguous(memory_format=torch.channels_last)
    few = weight.shape[1] <= FEW_CHANNELS and weight.shape[0] <= 2 * FEW_CHANNELS
    return _run(bottom, weight, bias, kernel, groups, transposed=False, own=Own(forward=False, backward=few))


def _sees_all_planes(bottom: torch.Tensor, kernel: Kernel, groups: int) -> bool:
    """Return whether a 3-D convolution has one output plane, made of all planes: it is a 2-D one of more channels."""
    return (
        len(kernel.size) == 3
        and groups == 1
        and (kernel.extent[2], kernel.size[2]) == (bottom.shape[4],) * 2
        and kernel.pad[2] == 0
    )


def _planes_as_channels(blob: torch.Tensor) -> torch.Tensor:
    return blob.permute(0, 1, 4, 2, 3).flatten(1, 2)


def deconvolve(
    bottom: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, kernel: Kernel, *, groups: int = 1
) -> torch.Tensor:
    """Deconvolve; as `convolve`, with weights (channels, outputs / groups, spatial...)."""
    if bottom.is_cuda and (len(kernel.size), groups) == (2, 1) and weight.shape[1] <= FEW_OUTPUTS:
        return deconvolve_sum(bottom, [weight], bias, [kernel])
    own = Own(forward=weight.shape[1] * groups <= FEW_OUTPUTS, backward=False)
    return _run(bottom, weight, bias, kernel, groups, transposed=True, own=own)


def deconvolve_sum(
    bottom: torch.Tensor, weights: Sequence[torch.Tensor], bias: torch.Tensor | None, kernels: Sequence[Kernel]
) -> torch.Tensor:
    """Return the sum of several 2-D deconvolutions of one bottom, which is read once for all of them.

    Parameters
    ----------
    bottom : torch.Tensor, shape (n, channels, x, y)
    weights : sequence of torch.Tensor, shape (channels, outputs, x, y)
        As many outputs for each.
    bias : torch.Tensor, shape (outputs,), optional
        The sum of theirs.
    kernels : sequence of Kernel
        The kernel of each; their tops have one shape.

    Returns
    -------
    torch.Tensor, shape (n, outputs, x, y)
    """
    sides = bottom.shape[2:]
    matrix = torch.cat([weight.flatten(1) for weight in weights], dim=1).t()
    if bottom.is_cuda:
        total = taps.deconvolve_for_training(bottom, matrix, kernels)
        return total if bias is None else total + bias[:, None, None]
    product = functional.conv2d(bottom, matrix[:, :, None, None]).flatten(2)
    parts = product.split([weight[0].numel() for weight in weights], dim=1)
    tops = [
        functional.fold(
            part,
            kernel.deconvolved(sides),
            kernel.size,
            dilation=kernel.dilation,
            padding=kernel.pad,
            stride=kernel.stride,
        )
        for part, kernel in zip(parts, kernels, strict=True)
    ]
    total = reduce(torch.add, tops)
    return total if bias is None else total + bias[:, None, None]


def max_pool(bottom: torch.Tensor, size: Sequence[int], stride: Sequence[int], pad: Sequence[int]) -> torch.Tensor:
    """Return the maxima of a blob (n, channels, x, y) in windows; a last, partial step makes one more of them."""
    quick = bottom.device.type == "cpu" and bottom.is_contiguous() and bottom.shape[1] >= CHANNELS_TO_POOL
    if not quick and not (bottom.is_cuda and torch.are_deterministic_algorithms_enabled()):
        return functional.max_pool2d(bottom, tuple(size), tuple(stride), tuple(pad), ceil_mode=True)
    return _MaxPool.apply(bottom, list(size), list(stride), list(pad))  # type: ignore[no-untyped-call]


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


class _MaxPool(torch.autograd.Function):
    """PyTorch's pooling, forward with the channels innermost, backward with the channels outermost.

    On a GPU the other way back adds in any order, and does not repeat bit for bit.
    """

    @staticmethod
    def forward(ctx: Any, bottom: torch.Tensor, size: list[int], stride: list[int], pad: list[int]) -> torch.Tensor:
        inner = bottom.contiguous(memory_format=torch.channels_last)
        top, places = functional.max_pool2d(inner, size, stride, pad, ceil_mode=True, return_indices=True)
        ctx.save_for_backward(bottom, places.contiguous())
        ctx.settings = size, stride, pad
        return top.contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        bottom, places = ctx.saved_tensors
        found = torch.ops.aten.max_pool2d_with_indices_backward(
            gradients[0].contiguous(), bottom.contiguous(), *ctx.settings, [1, 1], True, places
        )
        return found, None, None, None


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
