"""Deconvolutions with few outputs as matrix products whose rows are added where their taps fall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cdeep3m.engines.embedded.layers.convolution import Kernel

    Way = tuple[int, slice, slice]


def deconvolve(bottom: torch.Tensor, matrices: Sequence[torch.Tensor], kernels: Sequence[Kernel]) -> torch.Tensor:
    """Return the sum of several deconvolutions of one bottom, all of one stride.

    Parameters
    ----------
    bottom : torch.Tensor, shape (channels, x, y)
        What is deconvolved; fastest with the channels innermost in memory.
    matrices : sequence of torch.Tensor, shape (outputs * taps, channels)
        The weights of each.
    kernels : sequence of Kernel
        The kernel of each; their tops have one shape.

    Returns
    -------
    torch.Tensor, shape (outputs, x, y)
    """
    sides = tuple(bottom.shape[1:])
    columns = bottom.permute(1, 2, 0).reshape(-1, bottom.shape[0]).t()
    products = (torch.mm(matrix, columns) for matrix in matrices)
    taps = (product.view(-1, *kernel.size, *sides) for product, kernel in zip(products, kernels, strict=True))
    add = add_by_fold if bottom.is_cuda else add_by_phase
    return add(taps, kernels)


def add_by_fold(taps: Iterator[torch.Tensor], kernels: Sequence[Kernel]) -> torch.Tensor:
    """Add up taps, each of shape (outputs, kernel x, kernel y, x, y), by PyTorch's own operator."""
    total = _fold(next(taps), kernels[0])
    for tap, kernel in zip(taps, kernels[1:], strict=True):
        total += _fold(tap, kernel)
    return total


def add_by_phase(taps: Iterator[torch.Tensor], kernels: Sequence[Kernel]) -> torch.Tensor:
    """Add up the same on the CPU, faster: voxels are kept apart by their position within a stride.

    So every tap adds whole rows to adjacent memory; at the end the positions are interleaved.
    """
    total = None
    for tap, kernel in zip(taps, kernels, strict=True):
        sides = tap.shape[3:]
        top = kernel.deconvolved(sides)
        if total is None:
            rows = (-(side // -stride) for side, stride in zip(top, kernel.stride, strict=True))
            total = tap.new_zeros((tap.shape[0], *kernel.stride, *rows))
        ways = [_ways(kernel, axis, sides[axis], total.shape[3 + axis]) for axis in (0, 1)]
        for kx, (px, to_x, from_x) in enumerate(ways[0]):
            for ky, (py, to_y, from_y) in enumerate(ways[1]):
                total[:, px, py, to_x, to_y].add_(tap[:, kx, ky, from_x, from_y])
    assert total is not None
    whole = total.permute(0, 3, 1, 4, 2).flatten(3, 4).flatten(1, 2)
    return whole[:, : top[0], : top[1]]


def _fold(tap: torch.Tensor, kernel: Kernel) -> torch.Tensor:
    sides = tap.shape[3:]
    return functional.fold(
        tap.reshape(1, -1, sides.numel()),
        kernel.deconvolved(sides),
        kernel.size,
        dilation=kernel.dilation,
        padding=kernel.pad,
        stride=kernel.stride,
    )[0]


def _ways(kernel: Kernel, axis: int, side: int, rows: int) -> list[Way]:
    """Return for each tap along `axis`: its position within a stride, the rows it is added to, the rows it adds."""
    stride = kernel.stride[axis]
    ways = []
    for k in range(kernel.size[axis]):
        shift, position = divmod(kernel.dilation[axis] * k - kernel.pad[axis], stride)
        begin = max(0, -shift)
        end = max(begin, min(side, rows - shift))
        ways.append((position, slice(begin + shift, end + shift), slice(begin, end)))
    return ways
