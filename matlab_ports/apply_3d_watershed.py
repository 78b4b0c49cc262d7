"""From probability maps of boundaries to labelled objects (Apply3DWatershed.m).

Basins are filled by scikit-image, where the original has imhmin() of Octave; see `watershed` for what it has besides.
The objects are the same; lines between them may run a voxel beside, and labels are numbered in another order: Octave
floods and draws lines at a time, while here lines are drawn between the basins.

Deviations that `exact` undoes: Octave sees zeros beyond the edges of a plane, so that boundaries along the last row and
column turn into basins; and its imhmin() takes voxels for neighbours that touch at a corner, which watershed() with 6
neighbours does not, so that flat basins fall apart into single voxels. Here planes go on beyond their edges with the
voxels next to them, and both steps know 6 neighbours.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from cdeep3m.matlab_ports.watershed import NEIGHBOURS, watershed, with_lines
from scipy import ndimage

DEPTH = 0.15
"""Basins that are less deep are filled; the original's h."""
SIDE, SIGMA = 6, 0.105
"""Of the Gaussian."""
BEFORE_CENTRE = 2
"""imfilter() takes the 3rd of 6 elements for the centre."""


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
    hills = 1 - volume
    return 1 - grown(hills - depth, hills, exact=exact)


def grown(seeds: np.ndarray, hills: np.ndarray, *, exact: bool = False) -> np.ndarray:
    """Return `seeds` spread to all sides as far as `hills` reach: morphological reconstruction by dilation.

    No number is computed, so the result is one of the values that were there; and it may be begun anew from any part of
    it, so that slabs of a volume can be done in turns.

    Parameters
    ----------
    seeds, hills : ndarray of float64, shape (z, y, x)
        No seed is higher than its hill.
    exact : bool
        As of `fill_shallow_basins`.

    Returns
    -------
    ndarray of float64, shape (z, y, x)
    """
    from skimage.morphology import reconstruction

    neighbours = ndimage.generate_binary_structure(hills.ndim, hills.ndim if exact else NEIGHBOURS)
    return reconstruction(seeds, hills, method="dilation", footprint=neighbours)


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
    filled = fill_shallow_basins(
        np.stack([smooth(part_of_one(plane), exact=exact) for plane in maps]), depth, exact=exact
    )
    return with_lines(watershed(filled), filled)


def part_of_one(maps: np.ndarray) -> np.ndarray:
    """Return maps as float64: integers as parts of the largest value of their type, floats as they are.

    Parameters
    ----------
    maps : ndarray of uint8, uint16 or a floating-point type, any shape

    Returns
    -------
    ndarray of float64, that shape
    """
    return maps / np.float64(np.iinfo(maps.dtype).max if maps.dtype.kind == "u" else 1)
