"""The mean of the variants' predictions as a 16-bit plane (StartPostprocessing.m, merge_16_probs_v3.m).

No deviations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from cdeep3m.matlab_ports.add_z_padding import Z_PADDING

if TYPE_CHECKING:
    from collections.abc import Iterable

LAST_IN_ORDER = 8
"""Variants above this one saw the planes in reverse order."""


def wanted_files(files: int) -> range:
    """Return the numbers of the planes that are kept: all but the two padding planes at each end.

    Examples
    --------
    >>> list(wanted_files(9))
    [2, 3, 4, 5, 6]
    """
    return range(Z_PADDING, files - Z_PADDING)


def file_of_plane(plane: int, variant: int, files: int) -> int:
    """Return which of a variant's `files` holds `plane` (both counted from 0, padding included).

    Examples
    --------
    >>> file_of_plane(2, 1, 9), file_of_plane(2, 9, 9)
    (2, 6)
    """
    return plane if variant <= LAST_IN_ORDER else files - 1 - plane


def mean_of_variants(planes: Iterable[np.ndarray]) -> np.ndarray:
    """Sum in double, in the order given (ascending variants), and divide by the number of planes.

    Parameters
    ----------
    planes : iterable of ndarray of float32, shape (y, x)
        Predictions of one plane, de-augmented; at least one.

    Returns
    -------
    ndarray of float64, shape (y, x)
    """
    source = iter(planes)
    total = next(source).astype(np.float64)
    count = 1
    for plane in source:
        total += plane
        count += 1
        del plane  # or it is in memory while the next one is made
    total /= count
    return total


def to_uint16(probability: np.ndarray) -> np.ndarray:
    """Scale to 32 bits, round halves away from zero, saturate (NaN is 0); divide by 65537, as Octave's imwrite does.

    Parameters
    ----------
    probability : ndarray of float64, any shape
        Nominally in [0, 1].

    Returns
    -------
    ndarray of uint16

    Examples
    --------
    >>> to_uint16(np.array([0.0, 0.5, 1.0, 1.5, -1.0, np.nan])).tolist()
    [0, 32768, 65535, 65535, 0, 0]
    """
    full = float(2**32 - 1)
    scaled = probability * full
    scaled[np.isnan(scaled)] = 0.0
    np.clip(scaled, 0.0, full, out=scaled)
    scaled += 0.5
    np.floor(scaled, out=scaled)
    np.minimum(scaled, full, out=scaled)
    scaled /= 65537.0
    return np.rint(scaled, out=scaled).astype(np.uint16)
