"""From the labels of blocks to the objects of a volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from cdeep3m.objects.measures import MEASURES, at_border, combine, with_contacts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.geometry import Coordinate

Border = Literal["keep", "drop"]


@dataclass(frozen=True)
class Objects:
    """The objects of a volume, and which of them each label of each block is.

    Attributes
    ----------
    ids : ndarray of int64, shape (n,)
        Number of the object, for the labels of all blocks one after another; 0 where the object is left out. Objects
        are numbered from 1 in the order of their first voxels: the numbers are the same for every cut into blocks.
    measured : ndarray of MEASURES, shape (count,)
        In the order of the numbers.
    """

    ids: np.ndarray
    measured: np.ndarray


def merge(
    measured: np.ndarray,
    same: np.ndarray,
    contacts: np.ndarray,
    *,
    shape: Coordinate,
    min_size: int = 1,
    border: Border = "keep",
) -> Objects:
    """Join what belongs together, leave out what is not wanted, and number the rest.

    Parameters
    ----------
    measured : ndarray of MEASURES, shape (n,)
        Of the labels of all blocks, one after another.
    same : ndarray of int, shape (m, 2)
        Pairs of rows that are one object.
    contacts : ndarray of int64, shape (k, 4)
        Faces between blocks, as of `with_contacts`.
    shape : tuple of int
        Voxels of the volume along (z, y, x).
    min_size : int
        Smaller objects are left out.
    border : {"keep", "drop"}
        Whether objects that reach a face of the volume, whose size nobody knows, are left out.

    Returns
    -------
    Objects
    """
    if not len(measured):
        return Objects(np.zeros(0, np.int64), np.zeros(0, MEASURES))
    graph = coo_matrix((np.ones(len(same), bool), (same[:, 0], same[:, 1])), shape=(len(measured),) * 2)
    count, joined = connected_components(graph, directed=False)
    whole = with_contacts(combine(measured, joined, count), joined, contacts)
    wanted = whole["voxels"] >= max(1, min_size)
    if border == "drop":
        wanted &= ~at_border(whole, shape)
    order = np.flatnonzero(wanted)
    order = order[np.argsort(whole["first"][order])]
    ids = np.zeros(count, np.int64)
    ids[order] = np.arange(1, len(order) + 1)
    return Objects(ids[joined], whole[order])


def offsets_of(counts: Sequence[int]) -> np.ndarray:
    """Return where the labels of each block begin among all, and how many there are in the end.

    Returns
    -------
    ndarray of int64, shape (len(counts),)

    Examples
    --------
    >>> offsets_of([2, 0, 3]).tolist()
    [0, 2, 2, 5]
    """
    return np.concatenate([[0], np.cumsum(np.asarray(counts, np.int64))]).astype(np.int64)
