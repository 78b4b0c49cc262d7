"""Objects that touch are split where they are thin: a watershed of the distance to the background.

Each connected component is split by itself, from its own voxels alone. So the parts are the same whatever block they
are computed in, as long as the component lies within the block and its halo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from cdeep3m.errors import needing

if TYPE_CHECKING:
    from collections.abc import Sequence

FACES = 1
"""Parts of an object touch at faces of voxels, as its components do."""


def split_components(
    labels: np.ndarray, *, depth: float, sampling: Sequence[float] = (1.0, 1.0, 1.0)
) -> tuple[np.ndarray, int]:
    """Split the components of a block at their necks.

    Parameters
    ----------
    labels : ndarray of int, shape (z, y, x)
        Components from 1, 0 for background.
    depth : float
        By how much the radius of a neck must be smaller than those on both sides of it.
    sampling : sequence of float
        Size of a voxel along (z, y, x), in the unit of `depth`.

    Returns
    -------
    parts : ndarray of int32, shape (z, y, x)
        Parts from 1, in order of their components and of their first voxels.
    count : int

    Raises
    ------
    MissingExtraError
        Without scikit-image.
    """
    parts, count = np.zeros(labels.shape, np.int32), 0
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            inside = labels[box] == number
            own, found = _split(inside, depth, sampling)
            parts[box][inside] = own[inside] + count
            count += found
    return parts, count


def _split(inside: np.ndarray, depth: float, sampling: Sequence[float]) -> tuple[np.ndarray, int]:
    """Return the parts of one component, from 1."""
    if _is_too_thin(inside.shape, depth, sampling):
        return inside.astype(np.int32), 1
    with needing("scikit-image", extra="watershed", module="skimage"):
        from skimage.morphology import reconstruction
        from skimage.segmentation import watershed

    padded = np.pad(inside, 1)
    distance = ndimage.distance_transform_edt(padded, sampling)
    if distance.max() - min(sampling) < depth or _has_one_top(distance):
        return inside.astype(np.int32), 1
    neighbours = ndimage.generate_binary_structure(3, FACES)
    levelled = reconstruction(distance - depth, distance, method="dilation", footprint=neighbours)
    seeds, count = ndimage.label(_tops(levelled) & padded, neighbours)
    if count <= 1:
        return inside.astype(np.int32), 1
    return watershed(-distance, seeds, connectivity=FACES, mask=padded)[1:-1, 1:-1, 1:-1], int(count)


def _tops(heights: np.ndarray) -> np.ndarray:
    """Return the flat places that nothing around them is higher than."""
    from skimage.morphology import local_maxima

    return local_maxima(heights, connectivity=FACES)


def _has_one_top(distance: np.ndarray) -> bool:
    """Say whether a component has one middle; then no levelling leaves it more, which spares most of the work."""
    _, count = ndimage.label(_tops(distance), ndimage.generate_binary_structure(3, FACES))
    return bool(count == 1)


def _is_too_thin(shape: Sequence[int], depth: float, sampling: Sequence[float]) -> bool:
    """Say whether no two places of a component can differ in their distance by `depth`; spares the rest of the work."""
    widest = min((n + 1) / 2 * size for n, size in zip(shape, sampling, strict=True))
    return widest - min(sampling) < depth
