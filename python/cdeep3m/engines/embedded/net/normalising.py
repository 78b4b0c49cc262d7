"""BatchNorm, Scale and ReLU in one pass over memory each way, on a GPU: kernels in Triton.

A blob is taken as rows, one for each voxel, with the channels side by side. The plain way is PyTorch's
`native_batch_norm`. Sums are made part by part and put together in one order: a training repeats bit for bit.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any, NamedTuple

import torch

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

CHANNELS = 32
"""Channels that are summed side by side, at most."""

SUMMED = 4096
"""Numbers that are read at once to be summed."""

MOST_PARTS = 1024
"""Parts that rows are summed in, at most; a power of two."""

JOINED = 8
"""Channels whose parts are put together at once."""

VALUES = 2048
"""Numbers of a tile where every number is changed by itself."""

logger = logging.getLogger(__name__)


class Sums(NamedTuple):
    """BatchNorm's blobs: running sums of means and of variances, and what both are divided by.

    Attributes
    ----------
    mean, variance : torch.Tensor of float32, shape (channels,)
    factor : torch.Tensor of float32, shape (1,)
    """

    mean: torch.Tensor
    variance: torch.Tensor
    factor: torch.Tensor


@cache
def in_one_pass(device: torch.device) -> bool:
    """Return whether Triton is there and makes kernels for `device`; it needs a C compiler, too."""
    if triton is None or device.type != "cuda":
        return False
    try:
        with torch.cuda.device(device):
            return _check(device)
    except Exception as error:  # whatever it is, the other way is there
        logger.info("blobs on %s are normalised in several passes: %s", device, str(error).split("\n", 1)[0])
        return False


def _check(device: torch.device) -> bool:
    blob = torch.arange(8.0, device=device).view(1, 2, 2, 2)
    one, zero = torch.ones(2, device=device), torch.zeros(2, device=device)
    sums = Sums(zero.clone(), zero.clone(), zero[:1].clone())
    found = normalise(blob, one, zero, None, sums, fraction=0.5, eps=1e-5, rectified=False)
    expected = torch.nn.functional.batch_norm(blob, None, None, training=True)
    return bool(torch.allclose(found, expected, atol=1e-5))


def normalise(
    bottom: torch.Tensor,
    factor: torch.Tensor,
    offset: torch.Tensor | None,
    shift: torch.Tensor | None,
    sums: Sums,
    *,
    fraction: float,
    eps: float,
    rectified: bool,
) -> torch.Tensor:
    """Normalise a blob by its own statistics, scale it, and perhaps turn negative values into 0.

    Parameters
    ----------
    bottom : torch.Tensor, shape (n, channels, spatial...)
    factor : torch.Tensor of float32, shape (channels,)
        What normalised channels are multiplied by.
    offset : torch.Tensor of float32, shape (channels,), optional
        What is added then.
    shift : torch.Tensor, shape (channels,), optional
        What the mean of each channel is told to be larger by; the top does not depend on it.
    sums : Sums
        Are times `fraction`; then the mean, the unbiased variance (0 of one voxel) and 1 are added.
    fraction, eps : float
    rectified : bool
        Whether negative values become 0.

    Returns
    -------
    torch.Tensor, shape and type of `bottom`
        The channels are innermost in memory.
    """
    with torch.cuda.device_of(bottom):
        return _Normalise.apply(bottom, factor, offset, shift, sums, fraction, eps, rectified)  # type: ignore[no-untyped-call]


class _Normalise(torch.autograd.Function):
    """Three kernels each way: sums of parts, their sum, and the change of every number."""

    @staticmethod
    def forward(
        ctx: Any,
        bottom: torch.Tensor,
        factor: torch.Tensor,
        offset: torch.Tensor | None,
        shift: torch.Tensor | None,
        sums: Sums,
        fraction: float,
        eps: float,
        rectified: bool,
    ) -> torch.Tensor:
        ctx.rectified, ctx.offset = rectified, offset is not None
        rows = _rows(bottom)
        count, channels = rows.shape
        added = torch.zeros_like(factor) if offset is None else offset
        means, squares, parts = _moments(rows)
        mean, scale = (torch.empty(channels, dtype=torch.float32, device=rows.device) for _ in range(2))
        shifted = torch.zeros_like(mean) if shift is None else shift
        _settle_kernel[(triton.cdiv(channels, JOINED),)](
            *(means, squares, shifted, mean, scale, *sums, count, channels, _rows_of_part(count, channels, parts)),
            *(fraction, eps),
            PARTS=_power_of_two(parts),
            CHANNELS=JOINED,
        )
        top = torch.empty((count, channels), dtype=rows.dtype, device=rows.device)
        _normalise_kernel[_tiles(count, channels)](
            *(rows, rows.stride(0), mean, scale, factor, added, top, count, channels),
            RECTIFIED=rectified,
            ROWS=_tall(channels),
            CHANNELS=_wide(channels),
        )
        ctx.save_for_backward(rows, mean, scale, factor, added)
        return _blob(top, bottom.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, mean, scale, factor, added = ctx.saved_tensors
        count, channels = rows.shape
        gradient = _rows(gradients[0])
        parts = _parts(count, channels)
        partial = torch.empty((2, parts, channels), dtype=torch.float32, device=rows.device)
        _gradient_sums_kernel[triton.cdiv(channels, _side_by_side(channels)), parts](
            *(rows, rows.stride(0), gradient, gradient.stride(0), mean, scale, factor, added, partial[0], partial[1]),
            *(count, channels, _rows_of_part(count, channels, parts)),
            RECTIFIED=ctx.rectified,
            ROWS=_rows_at_once(channels),
            CHANNELS=_side_by_side(channels),
        )
        of_offset, of_factor = (torch.empty_like(factor) for _ in range(2))
        _add_parts_kernel[(triton.cdiv(channels, JOINED),)](
            *(partial[0], partial[1], of_offset, of_factor, channels, parts),
            PARTS=_power_of_two(parts),
            CHANNELS=JOINED,
        )
        of_bottom = torch.empty((count, channels), dtype=rows.dtype, device=rows.device)
        _gradient_kernel[_tiles(count, channels)](
            *(rows, rows.stride(0), gradient, gradient.stride(0), mean, scale, factor, added, of_offset, of_factor),
            *(of_bottom, count, channels),
            RECTIFIED=ctx.rectified,
            ROWS=_tall(channels),
            CHANNELS=_wide(channels),
        )
        back = _blob(of_bottom, gradients[0].shape)
        return back, of_factor, of_offset if ctx.offset else None, None, None, None, None, None


def _moments(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return mean, and sum of squared differences from it, of each part of the rows: (parts, channels)."""
    count, channels = rows.shape
    parts = _parts(count, channels)
    means, squares = torch.empty((2, parts, channels), dtype=torch.float32, device=rows.device)
    _moments_kernel[triton.cdiv(channels, _side_by_side(channels)), parts](
        *(rows, rows.stride(0), means, squares, count, channels, _rows_of_part(count, channels, parts)),
        ROWS=_rows_at_once(channels),
        CHANNELS=_side_by_side(channels),
    )
    return means, squares, parts


def _parts(count: int, channels: int) -> int:
    """Return in how many parts rows are summed: enough to keep a GPU busy, none of them empty."""
    blocks = -(channels // -_side_by_side(channels))
    wanted = min(MOST_PARTS, max(1, 2048 // blocks), -(count // -_rows_at_once(channels)))
    return -(count // -_rows_of_part(count, channels, wanted))


def _rows_of_part(count: int, channels: int, parts: int) -> int:
    """Return the rows of every part but perhaps the last: a multiple of what is read at once."""
    step = _rows_at_once(channels)
    return step * -(-(count // -parts) // -step)


def _side_by_side(channels: int) -> int:
    return min(CHANNELS, _power_of_two(channels))


def _rows_at_once(channels: int) -> int:
    return SUMMED // _side_by_side(channels)


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _tiles(count: int, channels: int) -> tuple[int, int]:
    return triton.cdiv(count, _tall(channels)), triton.cdiv(channels, _wide(channels))


def _wide(channels: int) -> int:
    return min(128, _power_of_two(channels))


def _tall(channels: int) -> int:
    return VALUES // _wide(channels)


def _rows(blob: torch.Tensor) -> torch.Tensor:
    """Return a blob (n, channels, spatial...) as rows of channels; without a copy where rows are evenly spaced."""
    inner = blob.movedim(1, -1)
    channels = inner.shape[-1]
    axes = [(side, stride) for side, stride in zip(inner.shape[:-1], inner.stride()[:-1], strict=True) if side > 1]
    step = axes[-1][1] if axes else channels
    spacing, even = step, step >= channels and (inner.stride(-1) == 1 or channels == 1)
    for side, stride in reversed(axes):
        even = even and stride == spacing
        spacing *= side
    if not even:
        return inner.contiguous().view(-1, channels)
    return inner.as_strided((inner[..., 0].numel(), channels), (step, 1))


def _blob(rows: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Return rows as a blob of `shape` with the channels innermost in memory."""
    windows, channels, *sides = shape
    return rows.view(windows, *sides, channels).movedim(-1, 1)


def _moments_of(  # type: ignore[no-untyped-def]
    rows, step, means, squares, count, channels, part_rows, ROWS: tl.constexpr, CHANNELS: tl.constexpr
):
    """Find mean and squared differences of one part of some channels; tile by tile, as Chan et al. (1979) join them."""
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    part = tl.program_id(1)
    there = channel < channels
    mean = tl.zeros((CHANNELS,), tl.float32)
    square = tl.zeros((CHANNELS,), tl.float32)
    begin = part * part_rows
    end = tl.minimum(begin + part_rows, count)
    for first in range(begin, end, ROWS):
        row = first + tl.arange(0, ROWS)
        inside = (row < end)[:, None] & there[None, :]
        places = row.to(tl.int64)[:, None] * step + channel[None, :]
        values = tl.load(rows + places, mask=inside, other=0).to(tl.float32)
        now = tl.minimum(end - first, ROWS) * 1.0
        before = (first - begin) * 1.0
        tile_mean = tl.sum(values, 0) / now
        away = tl.where(inside, values - tile_mean[None, :], 0.0)
        difference = tile_mean - mean
        mean += difference * (now / (before + now))
        square += tl.sum(away * away, 0) + difference * difference * (before * now / (before + now))
    tl.store(means + part * channels + channel, mean, mask=there)
    tl.store(squares + part * channels + channel, square, mask=there)


def _settle(  # type: ignore[no-untyped-def]
    means,
    squares,
    shift,
    mean_out,
    scale_out,
    sum_mean,
    sum_variance,
    sum_factor,
    count,
    channels,
    part_rows,
    fraction,
    eps,
    PARTS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Join the parts of some channels, and add their statistics to the running sums."""
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    part = tl.arange(0, PARTS)
    there = channel < channels
    weight = tl.maximum(tl.minimum(count - part * part_rows, part_rows), 0).to(tl.float32)
    inside = (weight > 0)[:, None] & there[None, :]
    places = part[:, None] * channels + channel[None, :]
    parts = tl.load(means + places, mask=inside, other=0)
    total = count * 1.0
    mean = tl.sum(parts * weight[:, None], 0) / total
    away = tl.where(inside, parts - mean[None, :], 0.0)
    square = tl.sum(tl.load(squares + places, mask=inside, other=0) + away * away * weight[:, None], 0)
    tl.store(mean_out + channel, mean, mask=there)
    tl.store(scale_out + channel, 1 / tl.sqrt(square / total + eps), mask=there)
    told = mean + tl.load(shift + channel, mask=there, other=0).to(tl.float32)
    unbiased = tl.where(total > 1, square / tl.maximum(total - 1, 1.0), 0.0)
    before = tl.load(sum_mean + channel, mask=there, other=0)
    tl.store(sum_mean + channel, before * fraction + told, mask=there)
    before = tl.load(sum_variance + channel, mask=there, other=0)
    tl.store(sum_variance + channel, before * fraction + unbiased, mask=there)
    if tl.program_id(0) == 0:
        tl.store(sum_factor, tl.load(sum_factor) * fraction + 1)


def _normalise(  # type: ignore[no-untyped-def]
    rows,
    step,
    mean,
    scale,
    factor,
    offset,
    top,
    count,
    channels,
    RECTIFIED: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Make a tile of the top."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    there = channel < channels
    inside = (row < count)[:, None] & there[None, :]
    row = row.to(tl.int64)
    values = tl.load(rows + row[:, None] * step + channel[None, :], mask=inside, other=0).to(tl.float32)
    of_mean = tl.load(mean + channel, mask=there, other=0)
    of_scale = tl.load(scale + channel, mask=there, other=0) * tl.load(factor + channel, mask=there, other=0)
    made = (values - of_mean[None, :]) * of_scale[None, :] + tl.load(offset + channel, mask=there, other=0)[None, :]
    if RECTIFIED:
        made = tl.where(made > 0, made, 0.0)
    tl.store(top + row[:, None] * channels + channel[None, :], made.to(top.dtype.element_ty), mask=inside)


def _gradient_sums(  # type: ignore[no-untyped-def]
    rows,
    step,
    gradient,
    gradient_step,
    mean,
    scale,
    factor,
    offset,
    sums,
    products,
    count,
    channels,
    part_rows,
    RECTIFIED: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Sum, over one part, the top's gradient, and its products with the normalised channels."""
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    part = tl.program_id(1)
    there = channel < channels
    of_mean = tl.load(mean + channel, mask=there, other=0)
    of_scale = tl.load(scale + channel, mask=there, other=0)
    of_factor = of_scale * tl.load(factor + channel, mask=there, other=0)
    of_offset = tl.load(offset + channel, mask=there, other=0)
    total = tl.zeros((CHANNELS,), tl.float32)
    product = tl.zeros((CHANNELS,), tl.float32)
    begin = part * part_rows
    end = tl.minimum(begin + part_rows, count)
    for first in range(begin, end, ROWS):
        row = first + tl.arange(0, ROWS)
        inside = (row < end)[:, None] & there[None, :]
        row = row.to(tl.int64)
        values = tl.load(rows + row[:, None] * step + channel[None, :], mask=inside, other=0).to(tl.float32)
        given = tl.load(gradient + row[:, None] * gradient_step + channel[None, :], mask=inside, other=0)
        given = given.to(tl.float32)
        away = values - of_mean[None, :]
        if RECTIFIED:
            given = tl.where(away * of_factor[None, :] + of_offset[None, :] > 0, given, 0.0)
        total += tl.sum(given, 0)
        product += tl.sum(tl.where(inside, given * away, 0.0), 0)
    tl.store(sums + part * channels + channel, total, mask=there)
    tl.store(products + part * channels + channel, product * of_scale, mask=there)


def _add_parts(  # type: ignore[no-untyped-def]
    sums, products, total, product, channels, parts, PARTS: tl.constexpr, CHANNELS: tl.constexpr
):
    """Add up the parts of some channels."""
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    part = tl.arange(0, PARTS)
    there = channel < channels
    inside = (part < parts)[:, None] & there[None, :]
    places = part[:, None] * channels + channel[None, :]
    tl.store(total + channel, tl.sum(tl.load(sums + places, mask=inside, other=0), 0), mask=there)
    tl.store(product + channel, tl.sum(tl.load(products + places, mask=inside, other=0), 0), mask=there)


def _gradient(  # type: ignore[no-untyped-def]
    rows,
    step,
    gradient,
    gradient_step,
    mean,
    scale,
    factor,
    offset,
    total,
    product,
    of_bottom,
    count,
    channels,
    RECTIFIED: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Make a tile of the bottom's gradient."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    there = channel < channels
    inside = (row < count)[:, None] & there[None, :]
    row = row.to(tl.int64)
    values = tl.load(rows + row[:, None] * step + channel[None, :], mask=inside, other=0).to(tl.float32)
    given = tl.load(gradient + row[:, None] * gradient_step + channel[None, :], mask=inside, other=0).to(tl.float32)
    of_scale = tl.load(scale + channel, mask=there, other=0)
    of_factor = of_scale * tl.load(factor + channel, mask=there, other=0)
    away = values - tl.load(mean + channel, mask=there, other=0)[None, :]
    if RECTIFIED:
        of_offset = tl.load(offset + channel, mask=there, other=0)
        given = tl.where(away * of_factor[None, :] + of_offset[None, :] > 0, given, 0.0)
    number = count * 1.0
    even = tl.load(total + channel, mask=there, other=0) / number
    along = tl.load(product + channel, mask=there, other=0) / number * of_scale
    made = (given - even[None, :] - away * along[None, :]) * of_factor[None, :]
    places = row[:, None] * channels + channel[None, :]
    tl.store(of_bottom + places, made.to(of_bottom.dtype.element_ty), mask=inside)


_jit: Any = (lambda _function: None) if triton is None else triton.jit
_moments_kernel: Any = _jit(_moments_of)
_settle_kernel: Any = _jit(_settle)
_normalise_kernel: Any = _jit(_normalise)
_gradient_sums_kernel: Any = _jit(_gradient_sums)
_add_parts_kernel: Any = _jit(_add_parts)
_gradient_kernel: Any = _jit(_gradient)
