"""How well objects agree: found, joined, split; and objects in 3-D from planes that pass one after another.

Everything follows from how many voxels each pair of objects shares, which is counted plane by plane: memory grows with
the number of objects, not with that of voxels.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cdeep3m.matlab_ports.snemi3d_metrics import Overlaps

MATCHED = 0.5
"""Objects that share more than this part of their union are one; no object can then have two partners."""


@dataclass(frozen=True)
class ObjectScores:
    """Objects of a segmentation against those of the ground truth.

    Attributes
    ----------
    true, found, matched : int
        Objects of the ground truth, of the segmentation, and those that share more than half of their union.
    rand_error : float
        Adapted Rand error, in [0, 1]; nan where the ground truth has no object.
    joined, split : float
        The two parts of the variation of information, in bits: what is joined, and what is split.
    """

    true: int
    found: int
    matched: int
    rand_error: float
    joined: float
    split: float

    @property
    def f1(self) -> float:
        """Harmonic mean of the shares of objects that are right and that are found; nan where there are none."""
        return 2 * self.matched / (self.true + self.found) if self.true + self.found else float("nan")

    @property
    def variation_of_information(self) -> float:
        """Sum of both parts, in bits; 0 for equal objects."""
        return self.joined + self.split


def score_objects(overlaps: Mapping[tuple[int, int], int]) -> ObjectScores:
    """Score objects from the voxels that each pair shares.

    The adapted Rand error and the variation of information leave out the background of the ground truth, as
    scikit-image does with `ignore_labels=(0,)`.

    Parameters
    ----------
    overlaps : mapping of (int, int) to int
        Voxels by their pair (ground truth, found); 0 is background.

    Returns
    -------
    ObjectScores

    Examples
    --------
    >>> scores = score_objects({(0, 0): 10, (1, 1): 4, (2, 2): 3, (2, 0): 1, (0, 3): 5})
    >>> scores.true, scores.found, scores.matched, scores.f1
    (2, 3, 2, 0.8)
    """
    truth, found = _sizes(overlaps, 0), _sizes(overlaps, 1)
    matched = sum(1 for (a, b), both in overlaps.items() if a and b and both > MATCHED * (truth[a] + found[b] - both))
    inside = {pair: count for pair, count in overlaps.items() if pair[0]}
    split, joined = _variation(inside)
    return ObjectScores(
        true=sum(1 for a in truth if a),
        found=sum(1 for b in found if b),
        matched=matched,
        rand_error=_rand_error(inside),
        joined=joined,
        split=split,
    )


def _sizes(overlaps: Mapping[tuple[int, int], int], side: int) -> Counter[int]:
    sizes: Counter[int] = Counter()
    for pair, count in overlaps.items():
        sizes[pair[side]] += count
    return sizes


def _rand_error(inside: Mapping[tuple[int, int], int]) -> float:
    """Return 1 - F-score of the pairs of different voxels that belong together (Arganda-Carreras et al. 2015)."""
    together = sum(count * (count - 1) for count in inside.values())
    truth, found = (sum(size * (size - 1) for size in _sizes(inside, side).values()) for side in (0, 1))
    return 1 - 2 * together / (truth + found) if truth + found else float("nan")


def _variation(inside: Mapping[tuple[int, int], int]) -> tuple[float, float]:
    """Return H(found | truth), what is split, and H(truth | found), what is joined, in bits (Meila 2007)."""
    total = sum(inside.values())
    if not total:
        return float("nan"), float("nan")
    truth, found = _sizes(inside, 0), _sizes(inside, 1)
    pairs = np.array([(count, truth[a], found[b]) for (a, b), count in inside.items()], np.float64)
    both, of_truth, of_found = pairs.T
    share = both / total
    split, joined = (max(0.0, float(-(share * np.log2(both / size)).sum())) for size in (of_truth, of_found))
    return split, joined


class Touching:
    """Connected components in 3-D of planes that are shown one after another (26 neighbours).

    Numbers that `number` gives are provisional: `resolve` says which of them turned out to be one object.
    """

    def __init__(self) -> None:
        self._parent = [0]
        self._above: np.ndarray | None = None

    def number(self, plane: np.ndarray) -> np.ndarray:
        """Return provisional numbers for the next plane.

        Parameters
        ----------
        plane : ndarray of bool, shape (y, x)

        Returns
        -------
        ndarray of int64, shape (y, x)
            0 background.
        """
        from scipy import ndimage

        labels, count = ndimage.label(plane, structure=np.ones((3, 3), bool))
        first = len(self._parent)
        numbers = np.where(labels, labels.astype(np.int64) + (first - 1), 0)
        self._parent.extend(range(first, first + count))
        if self._above is not None:
            for one, other in _contacts(self._above, numbers):
                self._join(one, other)
        self._above = numbers
        return numbers

    def resolve(self, number: int) -> int:
        """Return the number of the object that a provisional number belongs to; 0 stays 0."""
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def _join(self, one: int, other: int) -> None:
        a, b = self.resolve(one), self.resolve(other)
        self._parent[max(a, b)] = min(a, b)

    @property
    def count(self) -> int:
        """How many objects there are so far."""
        return sum(1 for number, parent in enumerate(self._parent) if number and number == parent)


def _contacts(above: np.ndarray, below: np.ndarray) -> Iterable[tuple[int, int]]:
    """Return the pairs of numbers that touch from one plane to the next, diagonally as well."""
    rows, columns = above.shape
    edge = np.int64(below.max()) + 1
    found: set[int] = set()
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            a = above[max(dy, 0) : rows + min(dy, 0), max(dx, 0) : columns + min(dx, 0)]
            b = below[max(-dy, 0) : rows + min(-dy, 0), max(-dx, 0) : columns + min(-dx, 0)]
            both = (a != 0) & (b != 0)
            found.update(np.unique(a[both] * edge + b[both]).tolist())
    return [(int(key // edge), int(key % edge)) for key in found]


def resolved(overlaps: Mapping[tuple[int, int], int], truth: Touching, found: Touching) -> Overlaps:
    """Add up overlaps of provisional numbers to those of whole objects."""
    whole: Overlaps = Counter()
    for (a, b), count in overlaps.items():
        whole[truth.resolve(a), found.resolve(b)] += count
    return whole
