"""Stacks with z running fastest in memory, as HDF5 files have them: filled, and gone through in every variant."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.system.threads import for_each
from cdeep3m.volumes.mapped import release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cdeep3m.tiling.variants import Variant

GATHERED_BYTES = 40 * 2**10
"""So much of a stack is gathered at a time: it stays in the processor's first cache."""
ROWS_AT_A_TIME = 32
COLUMNS_AT_A_TIME = 16


def copy_stack(source: np.ndarray, target: np.ndarray) -> None:
    """Copy a (z, y, x) stack into another one of its shape, on all processors.

    Where one of them has x and the other z fastest in memory, one thread takes a quarter of `target[...] = source`:
    planes often lie a power of two apart and push each other out of the cache, so parts of rows are gathered first.

    Parameters
    ----------
    source, target : ndarray of any type, shape (z, y, x)
    """
    planes, rows, columns = source.shape
    width = min(columns, max(1, GATHERED_BYTES // max(1, planes * source.itemsize)))

    def copy_rows(first: int) -> None:
        memory = np.empty((planes, width), source.dtype)
        for y in range(first, min(first + ROWS_AT_A_TIME, rows)):
            for x in range(0, columns, width):
                gathered = memory[:, : columns - x]
                gathered[...] = source[:, y, x : x + width]
                target[:, y, x : x + width] = gathered

    for_each(copy_rows, range(0, rows, ROWS_AT_A_TIME))


def repeat_planes(stack: np.ndarray, sources: Mapping[int, int]) -> None:
    """Copy planes of a (z, y, x) stack within it.

    Parameters
    ----------
    stack : ndarray, shape (z, y, x)
        With z fastest in memory.
    sources : mapping of int to int
        From which plane each is copied that changes; none of them is itself copied.
    """

    def repeat(columns: np.ndarray) -> None:
        for target, source in sources.items():
            columns[target] = columns[source]

    _for_columns(repeat, stack)


def for_each_variant(
    function: Callable[[Variant], object],
    variants: Sequence[Variant],
    *stacks: np.ndarray,
    at_once: bool = True,
    put_back: bool = True,
) -> None:
    """Call `function` with every variant, while the planes of `stacks` run in the variant's direction.

    What is left to do is `variant.turn`, which moves runs of z that stay as they are.

    Parameters
    ----------
    function : callable
    variants : sequence of Variant
    *stacks : ndarray, shape (z, y, x)
        Different arrays, with z fastest in memory. Their planes are reversed in place for half of the variants.
    at_once : bool
        Whether the calls run on all processors.
    put_back : bool
        Whether the stacks are in the end as they were; False where nobody needs them any more.
    """
    call = for_each if at_once else _one_by_one
    call(function, [variant for variant in variants if not variant.reverses_planes])
    if reversing := [variant for variant in variants if variant.reverses_planes]:
        with _planes_reversed(stacks, put_back=put_back):
            call(function, reversing)


def _one_by_one(function: Callable[[Variant], object], variants: Sequence[Variant]) -> None:
    for variant in variants:
        function(variant)


@contextmanager
def _planes_reversed(stacks: Sequence[np.ndarray], *, put_back: bool) -> Iterator[None]:
    for stack in stacks:
        _reverse_planes(stack)
    try:
        yield
    finally:
        for stack in stacks if put_back else ():
            _reverse_planes(stack)


def _reverse_planes(stack: np.ndarray) -> None:
    def reverse(columns: np.ndarray) -> None:
        columns[...] = columns[::-1].copy(order="K")

    _for_columns(reverse, stack)


def _for_columns(function: Callable[[np.ndarray], None], stack: np.ndarray) -> None:
    """Call `function` with some columns of a stack after others, as views, on all processors."""

    def call(first: int) -> None:
        function(stack[:, :, first : first + COLUMNS_AT_A_TIME])
        release(stack)

    for_each(call, range(0, stack.shape[2], COLUMNS_AT_A_TIME))
