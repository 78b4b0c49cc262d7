"""The mean of a window's variants, the plain way: for nets that predict one window after another."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

from cdeep3m.tiling import stitching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np

    from cdeep3m.tiling.variants import Variant

    Foreground = Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]]


def averaged(
    foreground: Foreground,
    windows: Iterable[np.ndarray],
    variants: Sequence[Variant],
    *,
    unrounded: bool = False,
    before_batch: Callable[[], None] | None = None,
) -> Iterator[np.ndarray]:
    """Show every variant of each window to `foreground`; undo, average and round what it says.

    Parameters
    ----------
    foreground : callable
        Predicts windows; see `LoadedNet.foreground`.
    windows, variants, unrounded, before_batch
        See `LoadedNet.averaged`; here a batch is one variant.

    Yields
    ------
    ndarray of uint16, or of float64 where it is unrounded, shape (y, x)
    """

    def views() -> Iterator[np.ndarray]:
        for window in windows:
            for variant in variants:
                if before_batch:
                    before_batch()
                yield variant.apply(window)

    predictions = foreground(views())
    for first in predictions:
        others = islice(predictions, len(variants) - 1)
        mean = stitching.average(zip(variants, chain([first], others), strict=True))
        yield mean if unrounded else stitching.to_png16(mean)
