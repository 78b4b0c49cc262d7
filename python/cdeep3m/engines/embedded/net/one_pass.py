"""Adding up the taps of deconvolutions in one pass over memory, on a GPU: a kernel in Triton.

Every voxel of the top gathers the few taps that fall on it, which are known from its position within a stride. The
plain way is `taps.add_by_axis`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from cdeep3m.engines.embedded.net.kernel import Kernel

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

BLOCK = 1024
"""Voxels of a line of the top that run together."""

NOWHERE = 2**30
"""Shift of a tap that there is not: no voxel of the bottom is that far."""


def check(device: torch.device) -> bool:
    """Return whether a kernel can be made and runs on `device`; raise what Triton raises where it cannot."""
    if triton is None:
        return False
    kernel = Kernel(size=(1, 1), stride=(1, 1), pad=(0, 0), dilation=(1, 1))
    given = torch.arange(4.0, device=device).view(1, 4)
    return bool(torch.equal(add_up(given, (kernel,), (1, 2, 2)).flatten(), given[0]))


def add_up(product: torch.Tensor, kernels: tuple[Kernel, ...], bottom: tuple[int, ...]) -> torch.Tensor:
    """Add the rows of a product where their taps fall; see `taps.add_up`."""
    windows, *sides = bottom
    outputs = len(product) // sum(kernel.taps for kernel in kernels)
    steps, top_sides = kernels[0].stride, kernels[0].deconvolved(sides)
    rows, sizes, places = _tables(kernels, outputs, product.device)
    top = torch.empty((windows, outputs, *top_sides), device=product.device)
    blocks_of_line = -(top_sides[1] // -steps[1])
    grid = (windows * outputs * top_sides[0], triton.cdiv(blocks_of_line * steps[1], BLOCK))
    with torch.cuda.device_of(product):
        _add_kernel[grid](
            product,
            product.stride(0),
            rows,
            sizes,
            places,
            top,
            outputs,
            *sides,
            *top_sides,
            blocks_of_line,
            STEP_X=steps[0],
            STEP_Y=steps[1],
            MOST=places.shape[2],
            TAPS=places.shape[3],
            KERNELS=len(kernels),
            BLOCK=BLOCK,
        )
    return top


def take_apart(
    gradient: torch.Tensor, kernels: tuple[Kernel, ...], bottom: tuple[int, ...], like: torch.dtype
) -> torch.Tensor:
    """Return the gradient of a product from that of `add_up`: every tap takes that of the voxel that it was added to.

    Parameters
    ----------
    gradient : torch.Tensor of float32, shape (n, outputs, x, y)
    kernels, bottom
        See `taps.add_up`.
    like : torch.dtype
        Type of the product.

    Returns
    -------
    torch.Tensor, shape (rows, n * x * y)
    """
    windows, outputs, *top_sides = gradient.shape
    rows = _rows(kernels, outputs, gradient.device)
    columns = windows * bottom[1] * bottom[2]
    product = torch.empty((len(rows), columns), dtype=like, device=gradient.device)
    with torch.cuda.device_of(gradient):
        _take_kernel[len(rows), triton.cdiv(columns, BLOCK)](
            gradient.contiguous(),
            rows,
            product,
            outputs,
            *bottom[1:],
            *top_sides,
            columns,
            STEP_X=kernels[0].stride[0],
            STEP_Y=kernels[0].stride[1],
            BLOCK=BLOCK,
        )
    return product


@lru_cache(maxsize=64)
def _rows(kernels: tuple[Kernel, ...], outputs: int, device: torch.device) -> torch.Tensor:
    """Return for each row of a product its output and where its tap falls: int32, shape (rows, 3)."""
    rows = [
        (output, kernel.dilation[0] * x - kernel.pad[0], kernel.dilation[1] * y - kernel.pad[1])
        for kernel in kernels
        for output in range(outputs)
        for x in range(kernel.size[0])
        for y in range(kernel.size[1])
    ]
    return torch.tensor(rows, dtype=torch.int32).to(device)


@lru_cache(maxsize=64)
def _tables(kernels: tuple[Kernel, ...], outputs: int, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Return where each kernel's rows begin, its taps along y, and which taps fall on each position within a stride.

    Returns
    -------
    rows, sizes : torch.Tensor of int32, shape (kernels,)
    places : torch.Tensor of int32, shape (kernels, axes, positions, taps of a position, 2)
        A tap's number along its axis, and how many strides it shifts the bottom.
    """
    found = [[_of_positions(kernel, axis) for axis in (0, 1)] for kernel in kernels]
    most = max(kernels[0].stride)
    taps = max(len(of) for axes in found for positions in axes for of in positions)
    places = torch.zeros((len(kernels), 2, most, taps, 2), dtype=torch.int32)
    places[..., 1] = NOWHERE
    for j, axes in enumerate(found):
        for axis, positions in enumerate(axes):
            for position, of in enumerate(positions):
                if of:
                    places[j, axis, position, : len(of)] = torch.tensor(of, dtype=torch.int32)
    taps_before = [outputs * sum(kernel.taps for kernel in kernels[:j]) for j in range(len(kernels))]
    rows = torch.tensor(taps_before, dtype=torch.int32)
    sizes = torch.tensor([kernel.size for kernel in kernels], dtype=torch.int32)
    return rows.to(device), sizes.to(device), places.to(device)


def _of_positions(kernel: Kernel, axis: int) -> list[list[tuple[int, int]]]:
    """Return for each position within a stride the taps that fall on it, with their shifts."""
    positions: list[list[tuple[int, int]]] = [[] for _ in range(kernel.stride[axis])]
    for k in range(kernel.size[axis]):
        shift, position = divmod(kernel.dilation[axis] * k - kernel.pad[axis], kernel.stride[axis])
        positions[position].append((k, shift))
    return positions


def _add(  # type: ignore[no-untyped-def]
    product,
    row_stride,
    rows,
    sizes,
    places,
    top,
    outputs,
    side_x,
    side_y,
    top_x,
    top_y,
    blocks_of_line,
    STEP_X: tl.constexpr,
    STEP_Y: tl.constexpr,
    MOST: tl.constexpr,
    TAPS: tl.constexpr,
    KERNELS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Make a part of one line of the top; voxels of one position within a stride are neighbours."""
    line, part = tl.program_id(0), tl.program_id(1)
    x, plane = line % top_x, line // top_x
    output, window = plane % outputs, plane // outputs
    number = part * BLOCK + tl.arange(0, BLOCK)
    at_y, block_y = number // blocks_of_line, number % blocks_of_line
    y = block_y * STEP_Y + at_y
    inside = (at_y < STEP_Y) & (y < top_y)
    total = tl.zeros((BLOCK,), tl.float32)
    for j in range(KERNELS):
        row = tl.load(rows + j)
        taps_x, taps_y = tl.load(sizes + 2 * j), tl.load(sizes + 2 * j + 1)
        for a in range(TAPS):
            of_x = places + (((2 * j) * MOST + x % STEP_X) * TAPS + a) * 2
            from_x = x // STEP_X - tl.load(of_x + 1)
            there_x = (from_x >= 0) & (from_x < side_x)
            row_x = (row + (output * taps_x + tl.load(of_x)) * taps_y).to(tl.int64)
            for b in range(TAPS):
                of_y = places + (((2 * j + 1) * MOST + at_y) * TAPS + b) * 2
                from_y = block_y - tl.load(of_y + 1, mask=inside, other=0)
                there = inside & there_x & (from_y >= 0) & (from_y < side_y)
                tap = (row_x + tl.load(of_y, mask=inside, other=0)) * row_stride
                column = (window * side_x + from_x) * side_y + from_y
                total += tl.load(product + tap + column, mask=there, other=0).to(tl.float32)
    tl.store(top + line.to(tl.int64) * top_y + y, total, mask=inside)


def _take(  # type: ignore[no-untyped-def]
    gradient,
    rows,
    product,
    outputs,
    side_x,
    side_y,
    top_x,
    top_y,
    columns,
    STEP_X: tl.constexpr,
    STEP_Y: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Make a part of one row of the product's gradient."""
    row, part = tl.program_id(0), tl.program_id(1)
    column = part * BLOCK + tl.arange(0, BLOCK)
    output = tl.load(rows + 3 * row)
    window, place = column // (side_x * side_y), column % (side_x * side_y)
    x = place // side_y * STEP_X + tl.load(rows + 3 * row + 1)
    y = place % side_y * STEP_Y + tl.load(rows + 3 * row + 2)
    inside = column < columns
    there = inside & (x >= 0) & (x < top_x) & (y >= 0) & (y < top_y)
    values = tl.load(gradient + ((window * outputs + output) * top_x + x) * top_y + y, mask=there, other=0)
    tl.store(product + row.to(tl.int64) * columns + column, values.to(product.dtype.element_ty), mask=inside)


_add_kernel: Any = None if triton is None else triton.jit(_add)
_take_kernel: Any = None if triton is None else triton.jit(_take)
