"""Which voxels are foreground, and which of them are connected, within one block."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy import ndimage

from cdeep3m.errors import RunError

Connectivity = Literal[6, 26]


def foreground(maps: np.ndarray, threshold: float) -> np.ndarray:
    """Return where probability maps reach a threshold.

    Parameters
    ----------
    maps : ndarray of uint8, uint16, bool or float, shape (z, y, x)
        Integers count as parts of the largest value of their type, floats from 0 to 1.
    threshold : float
        The least probability of foreground, above 0.

    Returns
    -------
    ndarray of bool, shape (z, y, x)

    Examples
    --------
    >>> foreground(np.array([[[127, 128]]], np.uint8), 0.5).tolist()
    [[[False, True]]]
    """
    if maps.dtype.kind == "b":
        return maps
    if maps.dtype.kind == "u":
        return maps >= math.ceil(threshold * np.iinfo(maps.dtype).max)
    return maps >= threshold


def label_components(mask: np.ndarray, connectivity: Connectivity) -> tuple[np.ndarray, int]:
    """Number the connected components of a block, from 1; with cc3d where it is installed, with SciPy elsewhere.

    Parameters
    ----------
    mask : ndarray of bool, shape (z, y, x)
    connectivity : {6, 26}
        Voxels are neighbours that share a face, or a face, an edge or a corner.

    Returns
    -------
    labels : ndarray of unsigned or signed int, shape (z, y, x)
        0 for background. Which component has which number depends on the library.
    count : int
    """
    if not mask.any():
        return np.zeros(mask.shape, np.uint16), 0
    try:
        import cc3d
    except ModuleNotFoundError:
        structure = ndimage.generate_binary_structure(3, 1 if connectivity == 6 else 3)
        labels, count = ndimage.label(mask, structure)
        return labels, int(count)
    # As bytes: cc3d fails on some bool arrays that are one voxel thick.
    labels, count = cc3d.connected_components(
        np.ascontiguousarray(mask).view(np.uint8), connectivity=connectivity, return_N=True
    )
    return labels, int(count)


def renumbered(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the number of every voxel's label.

    Parameters
    ----------
    labels : ndarray of unsigned or signed int, shape (z, y, x)
        From 0.
    numbers : ndarray of uint32 or uint64, shape (labels,)
        Of each label, that of background, 0, included.

    Returns
    -------
    ndarray, shape (z, y, x)
        Of the type of `numbers`.

    Raises
    ------
    RunError
        There is a label without a number: the maps are others than before.
    """
    if labels.size and labels.max() >= len(numbers):
        raise RunError(f"expected {len(numbers) - 1} objects in a block, found {labels.max()}: its maps have changed")
    made = np.empty(labels.shape, numbers.dtype)
    for plane, its in zip(made, labels, strict=True):  # the numbers' places as NumPy wants them fit into the cache
        np.take(numbers, its, out=plane, mode="clip")
    return made
