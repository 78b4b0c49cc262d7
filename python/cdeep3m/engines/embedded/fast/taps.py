"""Deconvolutions with few outputs as a matrix product whose rows are added where their taps fall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.engines.embedded.net.kernels import Kernel

    Way = tuple[int, slice, slice]

ROW_PADDING = 80
"""Floats between the rows of a product, so that rows do not share cache sets."""


class Scratch:
    """Memory for products, taken again and again: fresh memory costs as much time as a product."""

    def __init__(self) -> None:
        self._memory = torch.empty(0)

    def take(self, rows: int, columns: int, like: torch.Tensor) -> torch.Tensor:
        """Return a matrix of any content, of the device and type of `like`; it is good until the next call."""
        width = columns + ROW_PADDING
        alike = self._memory.device == like.device and self._memory.dtype == like.dtype
        if self._memory.numel() < rows * width or not alike:
            self._memory = torch.empty(0)
            self._memory = like.new_empty(rows * width)
        return self._memory[: rows * width].view(rows, width)[:, :columns]


def deconvolve(
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
    outputs = len(matrix) // sum(kernel.taps for kernel in kernels)
    parts = product.split([outputs * kernel.taps for kernel in kernels])
    taps = [part.view(outputs, *kernel.size, windows, *sides) for part, kernel in zip(parts, kernels, strict=True)]
    return add_by_fold(taps, kernels) if bottom.is_cuda else add_by_phase(taps, kernels)


def add_by_fold(taps: Sequence[torch.Tensor], kernels: Sequence[Kernel]) -> torch.Tensor:
    """Add up the taps of each kernel, shape (outputs, kernel x, kernel y, n, x, y), by PyTorch's own operator."""
    total = _fold(taps[0], kernels[0]).float()
    for part, kernel in zip(taps[1:], kernels[1:], strict=True):
        total += _fold(part, kernel)
    return total


def add_by_phase(taps: Sequence[torch.Tensor], kernels: Sequence[Kernel]) -> torch.Tensor:
    """Add up the same, faster on the CPU: the top's voxels are kept apart by their position within a stride.

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
    whole = total.permute(3, 0, 4, 1, 5, 2).flatten(4, 5).flatten(2, 3)
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


def _fold(taps: torch.Tensor, kernel: Kernel) -> torch.Tensor:
    windows, *sides = taps.shape[3:]
    return functional.fold(
        taps.permute(3, 0, 1, 2, 4, 5).reshape(windows, -1, sides[0] * sides[1]),
        kernel.deconvolved(sides),
        kernel.size,
        dilation=kernel.dilation,
        padding=kernel.pad,
        stride=kernel.stride,
    )
