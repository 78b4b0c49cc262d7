"""The adapted Rand error of the SNEMI3D challenge (SNEMI3D_metrics.m). No deviations.

Arganda-Carreras et al., Crowdsourcing the creation of image segmentation algorithms for connectomics, Frontiers in
Neuroanatomy 9 (2015) 142.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

Overlaps = Counter[tuple[int, int]]
"""Voxels by their pair of labels (a, b)."""


class RandScores(NamedTuple):
    """How two labelled volumes agree on which voxels belong together.

    Attributes
    ----------
    error : float
        1 - F-score, in [0, 1].
    precision, recall : float
        Low precision: B joins what A separates; low recall: B separates what A joins. nan when A is all background.
    """

    error: float
    precision: float
    recall: float


def overlaps(a: np.ndarray, b: np.ndarray) -> Overlaps:
    """Count the voxels of every pair of labels; counts of parts of a volume add up to those of the whole.

    Parameters
    ----------
    a, b : ndarray of int, of one shape
        Labels.

    Examples
    --------
    >>> sorted(overlaps(np.array([0, 1, 1, 1]), np.array([5, 5, 0, 5])).items())
    [((0, 5), 1), ((1, 0), 1), ((1, 5), 2)]
    """
    of_a, at_a = np.unique(a, return_inverse=True)
    of_b, at_b = np.unique(b, return_inverse=True)
    pairs, counts = np.unique(at_a.ravel() * np.int64(len(of_b)) + at_b.ravel(), return_counts=True)
    first, second = of_a[pairs // len(of_b)], of_b[pairs % len(of_b)]
    return Counter(dict(zip(zip(first.tolist(), second.tolist(), strict=True), counts.tolist(), strict=True)))


def snemi3d_metrics(counts: Mapping[tuple[int, int], int]) -> RandScores:
    """Score a labelled volume B against the ground truth A.

    Voxels that are background (0) in A do not count. Those that are background in B alone, p_i0, are objects of their
    own: they add their number, divided by that of all voxels, where others add the square of their size.

    Parameters
    ----------
    counts : mapping of (int, int) to int
        Voxels by their pair of labels (a, b), as `overlaps` counts them.

    Returns
    -------
    RandScores
        The error is 1 when A is all background.

    Examples
    --------
    >>> snemi3d_metrics({(1, 1): 2, (2, 2): 2})
    RandScores(error=0.0, precision=1.0, recall=1.0)
    >>> snemi3d_metrics({(1, 1): 2, (2, 1): 2})
    RandScores(error=0.33333333333333337, precision=0.5, recall=1.0)
    """
    size_a: Counter[int] = Counter()
    size_b: Counter[int] = Counter()
    joint, alone = 0, 0
    for (a, b), count in counts.items():
        size_a[a] += count * (a != 0)
        if a != 0 and b != 0:
            size_b[b] += count
            joint += count**2
        elif a != 0:
            alone += count
    singles = alone / max(1, sum(counts.values()))
    sum_a, sum_b, sum_ab = _squares(size_a), _squares(size_b) + singles, joint + singles
    if not sum_ab:
        return RandScores(1.0, float("nan"), float("nan"))
    precision, recall = sum_ab / sum_b, sum_ab / sum_a
    return RandScores(1 - 2 * precision * recall / (precision + recall), precision, recall)


def _squares(sizes: Mapping[int, int]) -> int:
    return sum(size**2 for size in sizes.values())
