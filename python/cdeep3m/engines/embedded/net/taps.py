"""Deconvolutions with few outputs as a matrix product whose rows are added where their taps fall."""

from __future__ import annotations

import logging
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from cdeep3m.engines.embedded.net import one_pass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.engines.embedded.net.kernel import Kernel

    Way = tuple[int, slice, slice]

logger = logging.getLogger(__name__)

ROW_PADDING = 80
"""Floats between the rows of a product, so that rows do not share cache sets."""

_finding_out = Lock()
"""Whoever asks for a kernel while another thread has it made waits for that."""


class Scratch:
    """Memory for products, taken again and again: fresh memory costs as much time as a product."""

    def __init__(self) -> None:
        self._memory = torch.empty(0)

    def take(self, rows: int, columns: int, like: torch.Tensor) -> torch.Tensor:
        """Return a matrix of any content, of the device and type of `like`; it is good until the next call.

        Parameters
        ----------
        rows, columns : int
        like : torch.Tensor, any shape

        Returns
        -------
        torch.Tensor, shape (rows, columns)
        """
        width = columns + ROW_PADDING
        alike = self._memory.device == like.device and self._memory.dtype == like.dtype
        if self._memory.numel() < rows * width or not alike:
            self._memory = torch.empty(0)
            self._memory = like.new_empty(rows * width)
        return self._memory[: rows * width].view(rows, width)[:, :columns]


def deconvolve_for_prediction(
    bottom: torch.Tensor, matrix: torch.Tensor, kernels: Sequence[Kernel], scratch: Scratch | None = None
) -> torch.Tensor:
    """Return the sum of several deconvolutions of one bottom, all of one stride.

    Parameters
    ----------
    bottom : torch.Tensor, shape (n, channels, x, y)
        What is deconvolved; fastest with the channels innermost in memory.
    matrix : torch.Tensor, shape (rows, channels)
        Their weights, one below the other; the rows of each are its outputs times its taps.
    kernels : sequence of Kernel
        The kernel of each; their tops have one shape.
    scratch : Scratch, optional
        Memory to use.

    Returns
    -------
    torch.Tensor of float32, shape (n, outputs, x, y)
    """
    windows, channels, *sides = bottom.shape
    voxels = bottom.permute(0, 2, 3, 1).reshape(-1, channels)
    product = (scratch or Scratch()).take(len(matrix), len(voxels), bottom)
    torch.mm(matrix, voxels.t(), out=product)
    return add_up(product, kernels, (windows, *sides))


def add_up(product: torch.Tensor, kernels: Sequence[Kernel], bottom: tuple[int, ...]) -> torch.Tensor:
    """Add the rows of a product where their taps fall, by the fastest way for its device.

    Parameters
    ----------
    product : torch.Tensor, shape (rows, n * x * y)
        For each kernel its outputs times its taps; columns adjacent in memory.
    kernels : sequence of Kernel
        The kernel of each; their tops have one shape, their strides are the same.
    bottom : tuple of int
        n, x and y of what was deconvolved.

    Returns
    -------
    torch.Tensor of float32, shape (n, outputs, x, y)
    """
    if product.is_cuda and in_one_pass(product.device):
        return one_pass.add_up(product, tuple(kernels), bottom)
    outputs = len(product) // sum(kernel.taps for kernel in kernels)
    parts = product.split([outputs * kernel.taps for kernel in kernels])
    taps = [part.view(outputs, *kernel.size, *bottom) for part, kernel in zip(parts, kernels, strict=True)]
    return add_by_axis(taps, kernels) if product.is_cuda else add_by_phase(taps, kernels)


def deconvolve_for_training(bottom: torch.Tensor, matrix: torch.Tensor, kernels: Sequence[Kernel]) -> torch.Tensor:
    """Return the same as `deconvolve_for_prediction`, with gradients for bottom and matrix."""
    windows, channels, *sides = bottom.shape
    product = torch.mm(matrix, bottom.permute(0, 2, 3, 1).reshape(-1, channels).t())
    return _AddUp.apply(product, tuple(kernels), (windows, *sides))  # type: ignore[no-untyped-call]


class _AddUp(torch.autograd.Function):
    """Adds up taps; backward, every tap takes the gradient of the voxel that it was added to."""

    @staticmethod
    def forward(ctx: Any, product: torch.Tensor, kernels: tuple[Kernel, ...], bottom: tuple[int, ...]) -> torch.Tensor:
        ctx.kernels, ctx.bottom, ctx.like = kernels, bottom, product.dtype
        return add_up(product.contiguous(), kernels, bottom)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        if gradients[0].is_cuda and in_one_pass(gradients[0].device):
            return one_pass.take_apart(gradients[0], ctx.kernels, ctx.bottom, ctx.like), None, None
        gradient = gradients[0].to(ctx.like)
        parts = [
            functional.unfold(gradient, kernel.size, kernel.dilation, kernel.pad, kernel.stride)
            for kernel in ctx.kernels
        ]
        return torch.cat(parts, dim=1).transpose(0, 1).flatten(1), None, None


def in_one_pass(device: torch.device) -> bool:
    """Return whether Triton is there and makes kernels for `device`; it needs a C compiler, too."""
    with _finding_out:
        return _in_one_pass(device)


@cache
def _in_one_pass(device: torch.device) -> bool:
    try:
        with torch.cuda.device(device):
            return one_pass.check(device)
    except Exception as error:  # whatever it is, the other way is there
        logger.info("deconvolutions on %s are added up in several passes: %s", device, str(error).split("\n", 1)[0])
        return False


def add_by_phase(taps: Sequence[torch.Tensor], kernels: Sequence[Kernel]) -> torch.Tensor:
    """Add up taps of shape (outputs, kernel x, kernel y, n, x, y), voxels kept apart by position within a stride.

    So every tap adds adjacent memory to adjacent memory; at the end the positions are interleaved.
    """
    outputs, _, _, windows, *sides = taps[0].shape
    stride, top = kernels[0].stride, kernels[0].deconvolved(sides)
    rows = tuple(-(side // -step) for side, step in zip(top, stride, strict=True))
    total = taps[0].new_zeros((outputs, *stride, windows, *rows), dtype=torch.float32)
    for part, kernel in zip(taps, kernels, strict=True):
        ways_x, ways_y = (ways(kernel, axis, sides[axis], rows[axis]) for axis in (0, 1))
        for kx, (px, to_x, from_x) in enumerate(ways_x):
            for ky, (py, to_y, from_y) in enumerate(ways_y):
                total[:, px, py, :, to_x, to_y].add_(part[:, kx, ky, :, from_x, from_y])
    return interleaved(total, top)


def add_by_axis(taps: Sequence[torch.Tensor], kernels: Sequence[Kernel]) -> torch.Tensor:
    """Add up the same along x and then along y: fewer and larger steps, as a GPU wants them.

    Parameters
    ----------
    taps, kernels : see `add_by_phase`

    Returns
    -------
    torch.Tensor of float32, shape (n, outputs, x, y)
    """
    outputs, _, _, windows, *sides = taps[0].shape
    stride, top = kernels[0].stride, kernels[0].deconvolved(sides)
    rows = tuple(-(side // -step) for side, step in zip(top, stride, strict=True))
    total = taps[0].new_zeros((outputs, *stride, windows, *rows), dtype=torch.float32)
    for part, kernel in zip(taps, kernels, strict=True):
        lines = part.new_zeros((outputs, stride[0], kernel.size[1], windows, rows[0], sides[1]))
        for k, (position, to, begin) in enumerate(ways(kernel, 0, sides[0], rows[0])):
            lines[:, position, :, :, to].add_(part[:, k, :, :, begin])
        for k, (position, to, begin) in enumerate(ways(kernel, 1, sides[1], rows[1])):
            total[:, :, position, :, :, to].add_(lines[:, :, k, ..., begin])
    return interleaved(total, top)


def interleaved(parts: torch.Tensor, top: Sequence[int]) -> torch.Tensor:
    """Return (n, outputs, x, y) of parts kept by position within a stride: (outputs, px, py, n, x / px, y / py)."""
    whole = parts.permute(3, 0, 4, 1, 5, 2).flatten(4, 5).flatten(2, 3)
    return whole[..., : top[0], : top[1]]


def ways(kernel: Kernel, axis: int, side: int, rows: int) -> list[Way]:
    """Return for each tap along `axis`: its position within a stride, the rows that it adds to, the rows that it adds.

    Parameters
    ----------
    kernel : Kernel
        The deconvolution's kernel.
    axis : int
        Spatial axis.
    side : int
        Voxels of the bottom along it.
    rows : int
        Voxels of the top along it that have one position within a stride.
    """
    found = []
    for k in range(kernel.size[axis]):
        shift, position = divmod(kernel.dilation[axis] * k - kernel.pad[axis], kernel.stride[axis])
        begin = max(0, -shift)
        end = max(begin, min(side, rows - shift))
        found.append((position, slice(begin + shift, end + shift), slice(begin, end)))
    return found
