"""2-D convolutions as matrix products with the channels innermost: for float32 on a GPU.

Without TF32, cuDNN has slower kernels for most of these nets' convolutions, and for a few it chooses one that takes
40 GB and a hundred times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from cdeep3m.engines.embedded.net.kernel import Kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


MOST_COLUMNS = 2**28
"""Numbers that a product's left side holds at once: 1 GB."""


def suit(bottom: torch.Tensor, kernel: Kernel, groups: int) -> bool:
    """Return whether a convolution of `bottom` is faster as a product.

    Parameters
    ----------
    bottom : torch.Tensor, shape (n, channels, spatial...)
    """
    plain = bottom.dtype == torch.float32 and not torch.is_autocast_enabled("cuda")
    return bottom.is_cuda and plain and groups == 1 and len(kernel.size) == 2 and not torch.backends.cudnn.allow_tf32


def convolve(bottom: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, kernel: Kernel) -> torch.Tensor:
    """Convolve as one matrix product for each part of the bottom that fits into memory.

    Parameters
    ----------
    bottom : torch.Tensor, shape (n, channels, x, y)
    weight : torch.Tensor, shape (outputs, channels, kernel x, kernel y)
    bias : torch.Tensor, shape (outputs,), optional
    kernel : Kernel

    Returns
    -------
    torch.Tensor, shape (n, outputs, x, y)
        The channels are innermost in memory.
    """
    return _Convolution.apply(bottom, weight, bias, kernel)  # type: ignore[no-untyped-call]


@torch.inference_mode()
def convolve_and_rectify(
    bottom: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, kernel: Kernel
) -> torch.Tensor:
    """Convolve, and turn negative values into 0 on the way to memory; without gradients.

    Parameters
    ----------
    bottom, weight, bias, kernel : see `convolve`

    Returns
    -------
    torch.Tensor, shape (n, outputs, x, y)
    """
    return _convolved(bottom, weight, bias, kernel, multiply=torch.ops.aten._addmm_activation.out)


def _convolved(
    bottom: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    kernel: Kernel,
    *,
    multiply: Callable[..., torch.Tensor] = torch.addmm,
    kept: list[torch.Tensor] | None = None,
) -> torch.Tensor:
    """Convolve; `kept` gets the left sides of the products, for the way back."""
    matrix = _matrix(weight).t()
    top = bottom.new_empty((len(bottom), *kernel.convolved(bottom.shape[2:]), len(weight)))
    for windows in _parts(bottom, kernel):
        columns = _columns(bottom[windows], kernel)
        into = top[windows].flatten(0, 2)
        if bias is None:
            torch.mm(columns, matrix, out=into)
        else:
            multiply(bias, columns, matrix, out=into)
        if kept is not None:
            kept.append(columns)
        del columns  # or two of them are held while the next are laid out
    return top.permute(0, 3, 1, 2)


class _Convolution(torch.autograd.Function):
    """Product forward; two products backward."""

    @staticmethod
    def forward(
        ctx: Any, bottom: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, kernel: Kernel
    ) -> torch.Tensor:
        ctx.kernel, ctx.biased = kernel, bias is not None
        kept: list[torch.Tensor] | None = [] if ctx.needs_input_grad[1] else None
        top = _convolved(bottom, weight, bias, kernel, kept=kept)
        ctx.save_for_backward(bottom, weight, *(kept or ()))
        return top

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (bottom, weight, *kept), kernel = ctx.saved_tensors, ctx.kernel
        of_bottom, of_weight, of_bias, _ = ctx.needs_input_grad
        gradient, matrix = gradients[0].permute(0, 2, 3, 1), _matrix(weight)
        total: torch.Tensor | None = None
        pieces = []
        for k, windows in enumerate(_parts(bottom, kernel)):
            rows = gradient[windows].reshape(-1, len(weight))
            if of_weight:
                total = rows.t() @ kept[k] if total is None else total.addmm_(rows.t(), kept[k])
            if of_bottom and not _turns(kernel):
                pieces.append(_spread(rows @ matrix, bottom[windows].shape, kernel))
        if of_bottom and _turns(kernel):
            pieces.append(_convolved(gradients[0], weight.transpose(0, 1).flip(2, 3), None, _turned(kernel)))
        return (
            torch.cat(pieces) if len(pieces) > 1 else next(iter(pieces), None),
            None if total is None else total.view(len(weight), *kernel.size, -1).permute(0, 3, 1, 2),
            gradient.sum((0, 1, 2)) if ctx.biased and of_bias else None,
            None,
        )


def _turns(kernel: Kernel) -> bool:
    """Return whether the way back is a convolution, too, with fewer passes over memory than `_spread`."""
    return kernel.stride == (1, 1) and not _is_point(kernel) and min(_turned(kernel).pad) >= 0


def _turned(kernel: Kernel) -> Kernel:
    """Return the kernel of the way back, where every step is 1."""
    pad = tuple(extent - 1 - pad for extent, pad in zip(kernel.extent, kernel.pad, strict=True))
    return Kernel(kernel.size, kernel.stride, pad, kernel.dilation)


def _matrix(weight: torch.Tensor) -> torch.Tensor:
    """Return weights as (outputs, kernel x * kernel y * channels)."""
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1)


def _is_point(kernel: Kernel) -> bool:
    return kernel.size == kernel.stride == (1, 1) and kernel.pad == (0, 0)


def _parts(bottom: torch.Tensor, kernel: Kernel) -> Iterator[slice]:
    """Yield which windows are multiplied together."""
    windows, channels, *sides = bottom.shape
    top_x, top_y = kernel.convolved(sides)
    step = windows if _is_point(kernel) else max(1, MOST_COLUMNS // (top_x * top_y * kernel.taps * channels))
    for begin in range(0, windows, step):
        yield slice(begin, begin + step)


def _columns(bottom: torch.Tensor, kernel: Kernel) -> torch.Tensor:
    """Return, for each voxel of the top, what its kernel sees: (n * x * y, kernel x * kernel y * channels)."""
    inner = bottom.permute(0, 2, 3, 1)
    windows, *sides, channels = inner.shape
    if _is_point(kernel):
        return inner.reshape(-1, channels)
    pad_x, pad_y = kernel.pad
    padded = functional.pad(inner, (0, 0, pad_y, pad_y, pad_x, pad_x)).contiguous()
    shape = (windows, *kernel.convolved(sides), *kernel.size, channels)
    step_n, step_x, step_y, _ = padded.stride()
    strides = (step_x * kernel.stride[0], step_y * kernel.stride[1], step_x * kernel.dilation[0])
    seen = padded.as_strided(shape, (step_n, *strides, step_y * kernel.dilation[1], 1))
    return seen.reshape(-1, kernel.taps * channels)


def _spread(columns: torch.Tensor, shape: Sequence[int], kernel: Kernel) -> torch.Tensor:
    """Add what `_columns` copied back to where it came from; shape (n, channels, x, y)."""
    windows, channels, *sides = shape
    if _is_point(kernel):
        return columns.view(windows, *sides, channels).permute(0, 3, 1, 2)
    (pad_x, pad_y), top = kernel.pad, kernel.convolved(sides)
    padded = columns.new_zeros((windows, sides[0] + 2 * pad_x, sides[1] + 2 * pad_y, channels))
    taps = columns.view(windows, *top, *kernel.size, channels)
    for x in range(kernel.size[0]):
        for y in range(kernel.size[1]):
            places = [
                slice(tap * dilation, tap * dilation + step * (side - 1) + 1, step)
                for tap, dilation, step, side in zip((x, y), kernel.dilation, kernel.stride, top, strict=True)
            ]
            padded[:, places[0], places[1]] += taps[:, :, :, x, y]
    return padded[:, pad_x : pad_x + sides[0], pad_y : pad_y + sides[1]].permute(0, 3, 1, 2)
