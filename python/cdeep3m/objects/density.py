"""How many objects there are along each axis of a volume, and which part of it they fill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.geometry import Coordinate

AXES = "zyx"
MOST_SLABS = 100
"""Of one thickness each, along an axis; the last one may be thinner."""


@dataclass(frozen=True)
class Density:
    """Slabs of a volume across one axis, and what is in them.

    Attributes
    ----------
    axis : str
        "z", "y" or "x".
    edges : ndarray of int64, shape (n + 1,)
        Where slabs begin, and where the last one ends, in voxels.
    objects : ndarray of int64, shape (n,)
        How many objects have their centroid in the slab.
    fraction : ndarray of float64, shape (n,)
        Which part of the slab they fill.
    """

    axis: str
    edges: np.ndarray
    objects: np.ndarray
    fraction: np.ndarray


def densities(centroids: np.ndarray, profiles: Sequence[np.ndarray], shape: Coordinate) -> list[Density]:
    """Return the density along z, y and x.

    Parameters
    ----------
    centroids : ndarray of float64, shape (n, 3)
        Of the objects, as coordinates of voxels (z, y, x).
    profiles : sequence of ndarray of int
        How many voxels of objects each plane across z, y and x has.
    shape : tuple of int
        Voxels of the volume.

    Examples
    --------
    >>> z, _, _ = densities(np.array([[0.4, 0, 0]]), [np.array([4, 0]), np.array([2, 2]), np.array([2, 2])], (2, 2, 2))
    >>> z.edges.tolist(), z.objects.tolist(), z.fraction.tolist()
    ([0, 1, 2], [1, 0], [1.0, 0.0])
    """
    found = []
    for axis, name in enumerate(AXES):
        length, across = shape[axis], shape[0] * shape[1] * shape[2] // shape[axis]
        step = -(-length // MOST_SLABS)
        edges = np.append(np.arange(0, length, step), length)
        # A voxel's coordinate is its middle: the slab of [0, 2) begins at -0.5.
        counts, _ = np.histogram(centroids[:, axis], edges - 0.5)
        filled = np.add.reduceat(profiles[axis], edges[:-1])
        found.append(Density(name, edges, counts, filled / (np.diff(edges) * across)))
    return found
