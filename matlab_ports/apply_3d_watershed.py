"""From probability maps of boundaries to labelled objects (Apply3DWatershed.m).

scikit-image does the work, where the original has imhmin() and watershed() of Octave. The objects are the same; lines
between them may run a voxel beside, and labels are numbered in another order: Octave floods and draws lines at a time,
while here lines are drawn between the flooded objects, which takes a fraction of the time and the memory.

Deviations that `exact` undoes: Octave sees zeros beyond the edges of a plane, so that boundaries along the last row and
column turn into basins; and its imhmin() takes voxels for neighbours that touch at a corner, which watershed() with 6
neighbours does not, so that flat basins fall apart into single voxels. Here planes go on beyond their edges with the
voxels next to them, and both steps know 6 neighbours.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy import ndimage

DEPTH = 0.15
"""Basins that are less deep are filled; the original's h."""
SIDE, SIGMA = 6, 0.105
"""Of the Gaussian."""
BEFORE_CENTRE = 2
"""imfilter() takes the 3rd of 6 elements for the centre."""
NEIGHBOURS = 1
"""Voxels are neighbours along one axis at a time: 6 of them in three dimensions."""


def gaussian_kernel(side: int = SIDE, sigma: float = SIGMA) -> np.ndarray:
    """Return fspecial("gaussian", side, sigma): a normalised Gaussian around the middle of a square.

    With the original's 6 and 0.105, the middle lies between pixels and nothing but the four around it counts.

    Returns
    -------
    ndarray of float64, shape (side, side)

    Examples
    --------
    >>> gaussian_kernel().round(12)[1:5, 1:5].tolist()
    [[0.0, 0.0, 0.0, 0.0], [0.0, 0.25, 0.25, 0.0], [0.0, 0.25, 0.25, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    squares = (np.arange(side) - (side - 1) / 2) ** 2
    kernel = np.exp(-(squares[:, None] + squares) / (2 * sigma**2))
    return kernel / kernel.sum()


def smooth(plane: np.ndarray, *, exact: bool = False) -> np.ndarray:
    """Filter a plane with the Gaussian, as imfilter() does: in effect each pixel with those right of it and below.

    Summed in the order of Octave, column by column from the end: where flat basins meet, the last bit counts.

    Parameters
    ----------
    plane : ndarray of float64, shape (y, x)
    exact : bool
        Whether zeros surround it, rather than its own outermost pixels.

    Returns
    -------
    ndarray of float64, shape (y, x)

    Examples
    --------
    >>> smooth(np.array([[0.0, 1.0, 1.0]])).tolist(), smooth(np.array([[0.0, 1.0, 1.0]]), exact=True).tolist()
    ([[0.5, 1.0, 1.0]], [[0.25, 0.5, 0.25]])
    """
    kernel = gaussian_kernel()
    rows, columns = plane.shape
    surrounded = np.pad(plane, (BEFORE_CENTRE, SIDE - 1 - BEFORE_CENTRE), mode="constant" if exact else "edge")
    smoothed = np.zeros(plane.shape)
    for column, row in product(reversed(range(SIDE)), repeat=2):
        smoothed += kernel[row, column] * surrounded[row : row + rows, column : column + columns]
    return smoothed


def fill_shallow_basins(volume: np.ndarray, depth: float, *, exact: bool = False) -> np.ndarray:
    """Return the H-minima transform, imhmin(): every basin becomes shallower by `depth` and those that end are gone.

    Octave turns the volume upside down for it, which decides how values are rounded.

    Parameters
    ----------
    volume : ndarray of float64, shape (z, y, x)
    depth : float
        h.
    exact : bool
        Whether all 26 voxels around one are its neighbours, rather than 6.

    Returns
    -------
    ndarray of float64, shape (z, y, x)
    """
    from skimage.morphology import reconstruction

    neighbours = ndimage.generate_binary_structure(volume.ndim, volume.ndim if exact else NEIGHBOURS)
    hills = 1 - volume
    return 1 - reconstruction(hills - depth, hills, method="dilation", footprint=neighbours)


def apply_3d_watershed(maps: np.ndarray, *, depth: float = DEPTH, exact: bool = False) -> np.ndarray:
    """Label the basins of a volume: objects are where the maps are dark, boundaries where they are bright.

    Parameters
    ----------
    maps : ndarray of uint8, uint16 or float, shape (z, y, x)
        Probability of a boundary; integers count as parts of the largest value of their type, floats from 0 to 1.
    depth : float
        By how much the boundary between two objects must be more probable than their insides.
    exact : bool
        Treat edges and neighbours as the original does.

    Returns
    -------
    ndarray of int32, shape (z, y, x)
        Labels from 1; 0 on the line of voxels between objects. A volume without any boundary is one object.
    """
    from skimage.segmentation import watershed

    largest = np.float64(np.iinfo(maps.dtype).max if maps.dtype.kind == "u" else 1)
    smoothed = np.stack([smooth(plane / largest, exact=exact) for plane in maps])
    filled = fill_shallow_basins(smoothed, depth, exact=exact)
    if filled.min() == filled.max():
        return np.ones(filled.shape, np.int32)
    return with_lines(watershed(filled, connectivity=NEIGHBOURS), filled)


def with_lines(labels: np.ndarray, volume: np.ndarray) -> np.ndarray:
    """Set to 0 one voxel of every two neighbours with different labels: the brighter one.

    Parameters
    ----------
    labels : ndarray of int, shape (z, y, x)
    volume : ndarray of float64, shape (z, y, x)
        What was flooded. Of equally bright voxels, the one with the smaller label becomes 0.

    Returns
    -------
    ndarray of int, shape (z, y, x)

    Examples
    --------
    >>> with_lines(np.array([1, 1, 2, 2]), np.array([0, 0.9, 0.8, 0])).tolist()
    [1, 0, 2, 2]
    """
    lined = labels.copy()
    for axis in range(labels.ndim):
        here, there = (tuple(slice(None) for _ in range(axis)) + (part,) for part in (slice(None, -1), slice(1, None)))
        differ = labels[here] != labels[there]
        tie = (volume[here] == volume[there]) & (labels[here] < labels[there])
        first = (volume[here] > volume[there]) | tie
        lined[here][differ & first] = 0
        lined[there][differ & ~first] = 0
    return lined
