"""The mean of several nets' maps (EnsemblePredictions.py; ensemble.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def ensemble(planes: Sequence[np.ndarray]) -> np.ndarray:
    """Average in double, halves to even; means above 255 wrap around.

    Parameters
    ----------
    planes : sequence of ndarray of uint8 or uint16, shape (y, x)
        The same plane from every net; at least one.

    Returns
    -------
    ndarray of uint8, shape (y, x)

    Examples
    --------
    >>> ensemble([np.uint16([1, 3, 400]), np.uint16([2, 4, 400])]).tolist()
    [2, 4, 144]
    """
    return np.rint(_mean(planes)).astype(np.int64).astype(np.uint8)


def truncated_ensemble(planes: Sequence[np.ndarray]) -> np.ndarray:
    """Average in double and drop the fraction, as the function of ensemble.py does.

    Parameters
    ----------
    planes : sequence of ndarray of uint8, one shape

    Returns
    -------
    ndarray of uint8, that shape

    Examples
    --------
    >>> truncated_ensemble([np.uint8([1, 255]), np.uint8([2, 254])]).tolist()
    [1, 254]
    """
    return _mean(planes).astype(np.int64).astype(np.uint8)


def _mean(planes: Sequence[np.ndarray]) -> np.ndarray:
    return np.mean(np.stack(planes).astype(np.float64), axis=0)
