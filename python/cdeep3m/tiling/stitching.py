"""Averaged variants, stitched packages, averaged nets: arrays in, arrays out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.matlab_ports import ensemble_predictions, merge_16_probs, merge_large_data
from cdeep3m.rules import CORRECTED, Rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cdeep3m.tiling.packages import Package
    from cdeep3m.tiling.variants import Variant

ROWS_AT_A_TIME = 8
"""So many rows are copied at once where axes are swapped: a cache line of float64."""


def average(predictions: Iterable[tuple[Variant, np.ndarray]]) -> np.ndarray:
    """De-augment the predictions of one plane and average them in double (StartPostprocessing.m).

    Parameters
    ----------
    predictions : iterable of (Variant, ndarray of float32, shape (y, x))
        What the net made of each variant, in ascending order of variants; at least one.

    Returns
    -------
    ndarray of float64, shape (y, x)
    """
    planes = (variant.undo(prediction[np.newaxis])[0] for variant, prediction in predictions)
    return merge_16_probs.mean_of_variants(laid_out_alike(planes))


def laid_out_alike(planes: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield planes with their axes in memory as those of the first one.

    A quarter turn swaps the axes; adding planes of both kinds takes many times longer than copying some of them.

    Parameters
    ----------
    planes : iterable of ndarray, shape (y, x)

    Yields
    ------
    ndarray, shape (y, x)
        The same values and dtype.
    """
    rows_lie_together: bool | None = None
    for plane in planes:
        if rows_lie_together is None:
            rows_lie_together = has_rows(plane)
        yield plane if has_rows(plane) == rows_lie_together else with_axes_swapped(plane)


def has_rows(plane: np.ndarray) -> bool:
    """Return whether the values of a row lie closer together in memory than those of a column.

    Parameters
    ----------
    plane : ndarray of any type, shape (y, x)
    """
    return abs(plane.strides[0]) >= abs(plane.strides[1])


def with_axes_swapped(plane: np.ndarray) -> np.ndarray:
    """Return a copy whose rows lie together in memory where columns did, or the other way round.

    Parameters
    ----------
    plane : ndarray of float32 or float64, shape (y, x)

    Returns
    -------
    ndarray of the same type, shape (y, x)
    """
    copy = np.empty(plane.shape, plane.dtype, order="F" if has_rows(plane) else "C")
    source, target = (plane, copy) if has_rows(plane) else (plane.T, copy.T)
    for begin in range(0, len(source), ROWS_AT_A_TIME):
        rows = slice(begin, begin + ROWS_AT_A_TIME)
        target[rows] = source[rows]
    return copy


def to_png16(mean: np.ndarray) -> np.ndarray:
    """Turn averaged probabilities into the 16-bit values that packages are stored in (StartPostprocessing.m).

    Parameters
    ----------
    mean : ndarray of float64, shape (y, x)
        In [0, 1]; NaN becomes 0, the rest saturates.

    Returns
    -------
    ndarray of uint16, shape (y, x)
    """
    return merge_16_probs.to_uint16(mean)


def paste(plane: np.ndarray, package: Package, canvas_plane: np.ndarray, *, begin: tuple[int, int] = (0, 0)) -> None:
    """Copy what a package is trusted for from its canvas into a plane, or a part of it, in place (Merge_LargeData.m).

    Parameters
    ----------
    plane : ndarray, shape (y, x)
        A plane of the volume, or a part of one.
    package : Package
        Packages are pasted in the order of `Tiling.packages`; in exact mode later ones overwrite earlier ones.
    canvas_plane : ndarray, shape (1024, 1024)
        The package's prediction of that plane.
    begin : tuple of int
        Row and column of the volume where `plane` begins.

    Examples
    --------
    >>> from cdeep3m.tiling.grid import Tiling
    >>> plane, canvas = np.zeros((20, 30), int), np.arange(1024 * 1024).reshape(1024, 1024)
    >>> paste(plane, Tiling.of((1, 20, 30)).packages[0], canvas)
    >>> int(plane[0, 0]) == 12 * 1024 + 12
    True
    """
    to, _, out_of = _shared(plane, package, begin)
    plane[to] = canvas_plane[out_of]


def blend(
    sums: np.ndarray,
    package: Package,
    canvas_plane: np.ndarray,
    weights: tuple[np.ndarray, np.ndarray],
    *,
    begin: tuple[int, int] = (0, 0),
) -> None:
    """Add what a package is trusted for to a plane, or a part of it, in place, times its weights.

    Parameters
    ----------
    sums : ndarray of float64, shape (y, x)
        Zeros at first; once all packages are added, their weighted mean.
    package : Package
        Added in the order of `Tiling.packages`, so that sums are the same bytes every time.
    canvas_plane : ndarray, shape (1024, 1024)
    weights : tuple of ndarray of float64
        Along y and along x, for what the package is trusted for; see `Tiling.weights`.
    begin : tuple of int
        Row and column of the volume where `sums` begins.
    """
    to, of_write, out_of = _shared(sums, package, begin)
    rows, columns = (along[part] for along, part in zip(weights, of_write, strict=True))
    sums[to] += canvas_plane[out_of] * np.multiply.outer(rows, columns)


def rounded(sums: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return weighted means in the type that packages are stored in; halves of whole numbers round up.

    Parameters
    ----------
    sums : ndarray of float64, shape (y, x)
    dtype : dtype

    Returns
    -------
    ndarray of `dtype`, shape (y, x)
    """
    return np.floor(sums + 0.5).astype(dtype) if dtype.kind in "iu" else sums.astype(dtype)


def _shared(
    plane: np.ndarray, package: Package, begin: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice], tuple[slice, slice]]:
    """Return what a package is trusted for and a plane holds: in the plane, in `package.write`, in the canvas."""
    parts = []
    for axis in (0, 1):
        first, last = package.write.begin[1 + axis], package.write.end[1 + axis]
        lowest, highest = max(first, begin[axis]), min(last, begin[axis] + plane.shape[axis])
        parts.append(
            [slice(lowest - at, highest - at) for at in (begin[axis], first, first - package.canvas_begin[axis])]
        )
    to, of_write, out_of = zip(*parts, strict=True)
    return to, of_write, out_of


def scale_by_dtype(plane: np.ndarray) -> int:
    """Return 65536 for 16-bit and 256 for 8-bit planes: one scale for all planes of a volume.

    Parameters
    ----------
    plane : ndarray of bool, uint8 or uint16, shape (y, x)
    """
    return 256 if plane.dtype == np.uint8 else 65536


def to_probability_map(plane: np.ndarray, *, rules: Rules = CORRECTED) -> np.ndarray:
    """Scale a stitched plane to the 8-bit map (Merge_LargeData.m).

    Parameters
    ----------
    plane : ndarray of uint16, uint8 or bool, shape (y, x)
    rules : Rules
        Scale by the power of two nearest to the plane's own maximum (defect 9); otherwise one scale serves all planes,
        65536 for 16-bit and 256 for 8-bit input.

    Returns
    -------
    ndarray of uint8, shape (y, x)
    """
    scale = merge_large_data.scale_by_maximum if rules.scales_planes_alone else scale_by_dtype
    return merge_large_data.to_uint8(plane, scale(plane))


def ensemble(planes: Sequence[np.ndarray]) -> np.ndarray:
    """Average the same plane of several nets (EnsemblePredictions.m).

    Parameters
    ----------
    planes : sequence of ndarray of uint8, shape (y, x)

    Returns
    -------
    ndarray of uint8, shape (y, x)
        Halves round up.
    """
    return ensemble_predictions.ensemble(planes)
