"""The faces of labelled blocks, and which objects of two blocks are one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdeep3m.geometry import Coordinate

SAME = 0.5
"""Two views of one object share more than this part of the voxels of either; so each has one other at most."""


@dataclass(frozen=True)
class Faces:
    """The labels of a block where it meets the next blocks.

    Attributes
    ----------
    lower, upper : tuple of ndarray of int, shape (planes, a, b)
        At the beginning and at the end of the block along z, y and x; a and b are the other two axes. One plane: the
        block's own outermost one. Two, where objects are split: the last plane of the block before and the first plane
        of the block after, both as this block sees them.
    """

    lower: tuple[np.ndarray, np.ndarray, np.ndarray]
    upper: tuple[np.ndarray, np.ndarray, np.ndarray]


def faces_of(labels: np.ndarray) -> Faces:
    """Return the outermost planes of a block.

    Parameters
    ----------
    labels : ndarray of int, shape (z, y, x)
    """
    z, y, x = labels[[0, -1]], labels[:, [0, -1]].swapaxes(0, 1), np.moveaxis(labels[..., [0, -1]], 2, 0)
    return Faces((z[:1], y[:1], x[:1]), (z[1:], y[1:], x[1:]))


def two_planes_of(labels: np.ndarray, begin: Coordinate, end: Coordinate) -> Faces:
    """Return both planes at each end of a block, from labels that reach beyond it.

    Parameters
    ----------
    labels : ndarray of int, shape (z, y, x)
        Of the block and its halo.
    begin, end : tuple of int
        Where the block lies in it. Where nothing is beyond an end, the face there is empty: the volume ends.
    """
    lower: list[np.ndarray] = []
    upper: list[np.ndarray] = []
    for axis in range(3):
        for faces, at in ((lower, begin[axis]), (upper, end[axis])):
            planes = slice(at - 1, at + 1) if 0 < at < labels.shape[axis] else slice(0, 0)
            index = tuple(planes if k == axis else slice(begin[k], end[k]) for k in range(3))
            faces.append(np.moveaxis(labels[index], axis, 0))
    return Faces((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))


def touching(here: Faces, there: Faces, direction: Coordinate, connectivity: int) -> np.ndarray:
    """Return which components of two blocks are one, because voxels of them are neighbours.

    Parameters
    ----------
    here, there : Faces
        Of a block and of the one in `direction`.
    direction : tuple of int
        One of `forward_directions`.
    connectivity : int
        6 or 26.

    Returns
    -------
    ndarray of int64, shape (n, 2)
        Pairs of labels, each once.
    """
    axis = next(k for k in range(3) if direction[k])
    ends = [direction[k] for k in range(3) if k != axis]
    a = here.upper[axis][-1][tuple(_edge(end, last=end > 0) for end in ends)]
    b = there.lower[axis][0][tuple(_edge(end, last=end < 0) for end in ends)]
    pairs = [_pairs(a[s], b[t]) for s, t in _shifts(ends, connectivity)]
    return _unique(np.concatenate(pairs))[0]


def matching(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return which parts of split objects are one, because two blocks see them in the same voxels.

    Parameters
    ----------
    here, there : ndarray of int, shape (2, a, b)
        The same voxels, as the block before and the block after see them.

    Returns
    -------
    ndarray of int64, shape (n, 2)
        Pairs of labels that share more than half of the voxels of both together: no label has two others.
    """
    pairs, shared = _unique(_every_pair(here, there))
    sizes = [dict(zip(*np.unique(side, return_counts=True), strict=True)) for side in (here, there)]
    together = np.array([sizes[0][a] + sizes[1][b] for a, b in pairs.tolist()], np.int64) - shared
    return pairs[shared > SAME * together]


def contacts(here: Faces, there: Faces, axis: int) -> np.ndarray:
    """Return which labels meet at the faces of voxels between two blocks that follow each other along `axis`.

    Returns
    -------
    ndarray of int64, shape (n, 3)
        Label before, label after, 0 for background (not both), and how many faces there are.
    """
    before, after = here.upper[axis][0].ravel(), there.lower[axis][-1].ravel()
    some = (before > 0) | (after > 0)
    pairs, counts = _unique(np.stack([before[some], after[some]], axis=1).astype(np.int64))
    return np.column_stack([pairs, counts])


def _edge(end: int, *, last: bool) -> slice | int:
    if end == 0:
        return slice(None)
    return -1 if last else 0


def _shifts(ends: list[int], connectivity: int) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Yield pairs of indices that lay the lines or planes of two blocks upon each other, as neighbours are."""
    free = ends.count(0)
    for shift in product((-1, 0, 1) if connectivity == 26 else (0,), repeat=free):
        yield (
            tuple(slice(max(0, -s), -s if s > 0 else None) for s in shift),
            tuple(slice(max(0, s), s if s < 0 else None) for s in shift),
        )


def _pairs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _unique(_every_pair(np.atleast_1d(a), np.atleast_1d(b)))[0]


def _every_pair(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    both = (a > 0) & (b > 0)
    return np.stack([a[both], b[both]], axis=1).astype(np.int64)


def _unique(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each pair once, and how often it was there; as one number each, which sorts faster than two."""
    base = 1 + int(pairs[:, 1].max(initial=0))
    found, counts = np.unique(pairs[:, 0] * base + pairs[:, 1], return_counts=True)
    return np.stack(np.divmod(found, base), axis=1), counts
