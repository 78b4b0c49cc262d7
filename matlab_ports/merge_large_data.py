"""From the tiles of a plane to the whole plane and its 8-bit map (Merge_LargeData.m).

What no tile covers is NaN there and comes out as 0; here it is 0 from the start.

No deviations: `scale_by_maximum` scales each plane by itself, as the original does (defect 9).
"""

from __future__ import annotations

import numpy as np
from cdeep3m.matlab_ports.break_large_img import HALO
from cdeep3m.matlab_ports.preprocess_package import LARGEST_PADDED

ROWS_AT_A_TIME = 64
"""So few stay in the processor's cache from one step to the next."""


def crop_begin(side: int) -> int:
    """Return where the image begins in the canvas of a volume that is one package, along an axis of `side` voxels."""
    return HALO if side <= LARGEST_PADDED else 0


def trusted_range(begin: int, end: int, side: int) -> tuple[int, int]:
    """Return the part of a tile's range [begin, end) that Merge_LargeData.m copies, on an axis of `side` voxels.

    12 voxels less at each end, unless the tile touches the image's edge there; never beyond the image.

    Examples
    --------
    >>> trusted_range(0, 1012, 2001), trusted_range(988, 2012, 2001), trusted_range(1988, 2001, 2001)
    ((0, 1000), (1000, 2000), (2000, 2001))
    >>> trusted_range(1, 1024, 1024)  # defect 3: nobody covers the first 13 voxels
    (13, 1024)
    """
    return (begin if begin == 0 else begin + HALO), min(side, end if end == side else end - HALO)


def scale_by_maximum(plane: np.ndarray) -> int:
    """Return the first of 2, 4, ..., 65536 nearest to the plane's largest value (defect 9: planes flicker).

    Parameters
    ----------
    plane : ndarray of uint8, uint16 or float64, shape (y, x)

    Examples
    --------
    >>> [scale_by_maximum(np.array([value])) for value in (0, 3, 191, 193, 49152, 65535)]
    [2, 2, 128, 256, 32768, 65536]
    """
    powers = 2 ** np.arange(1, 17)
    return int(powers[np.argmin(np.abs(powers - float(plane.max())))])


def to_uint8(plane: np.ndarray, scale: int) -> np.ndarray:
    """Multiply by single(255 / scale) in single precision; round halves away from zero and saturate.

    Parameters
    ----------
    plane : ndarray of uint8, uint16 or float64, any shape
        Values from 0.
    scale : int
        What becomes 255.

    Returns
    -------
    ndarray of uint8
    """
    result = np.empty(plane.shape, np.uint8)
    for begin in range(0, len(plane), ROWS_AT_A_TIME):
        rows = slice(begin, begin + ROWS_AT_A_TIME)
        scaled = plane[rows].astype(np.float32)
        scaled *= np.float32(255 / scale)
        scaled += np.float32(0.5)
        np.minimum(scaled, np.float32(255), out=scaled)
        result[rows] = scaled  # without its fraction
    return result
