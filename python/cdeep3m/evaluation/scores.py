"""How well probability maps agree with ground truth, as data.

Values are counted once, plane by plane, and every threshold is scored from the counts: memory does not grow with the
volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.errors import InputError
from cdeep3m.volumes import open_volume
from cdeep3m.volumes.base import planes_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

HALF = 128
"""Lowest 8-bit probability that counts as foreground: 0.5, as 128/255 is the first value above it."""


@dataclass(frozen=True)
class Scores:
    """Voxel-wise agreement of a segmentation with ground truth.

    Attributes
    ----------
    true_positive, false_positive, false_negative : int
        Voxels that are foreground in both, in the segmentation alone, in the ground truth alone.

    Examples
    --------
    >>> scores = Scores(true_positive=6, false_positive=2, false_negative=6)
    >>> scores.precision, scores.recall, scores.f1
    (0.75, 0.5, 0.6)
    """

    true_positive: int
    false_positive: int
    false_negative: int

    @property
    def precision(self) -> float:
        """Share of the segmented voxels that are right; nan when none is segmented."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float:
        """Share of the true voxels that are found; nan when there are none."""
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall (Dice); nan when neither side has foreground."""
        return _ratio(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative)

    @property
    def iou(self) -> float:
        """Intersection over union (Jaccard); nan when neither side has foreground."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive + self.false_negative)


def count_values(maps: Iterable[np.ndarray], labels: Iterable[np.ndarray]) -> np.ndarray:
    """Count the values of probability maps, apart for background and foreground.

    Parameters
    ----------
    maps : iterable of ndarray of uint8, shape (y, x)
        Probability maps, one plane at a time.
    labels : iterable of ndarray, shape (y, x)
        Ground truth of the same planes: 0 background, anything else foreground.

    Returns
    -------
    ndarray of int64, shape (2, 256)
        Row 0: voxels of the background with each value; row 1: of the foreground.

    Raises
    ------
    InputError
        Different numbers of planes, planes of different size, or maps that are not 8-bit.
    """
    counts = np.zeros((2, 256), np.int64)
    for z, (plane, label) in enumerate(_pairs(maps, labels)):
        _check_plane(z, plane, label)
        foreground = label != 0
        counts[0] += np.bincount(plane[~foreground], minlength=256)
        counts[1] += np.bincount(plane[foreground], minlength=256)
    return counts


def count_volumes(maps: str | os.PathLike[str], labels: str | os.PathLike[str]) -> np.ndarray:
    """Count the values of probability maps on disk, as `count_values` does.

    Parameters
    ----------
    maps : path
        A folder of probability maps, or a stack of them.
    labels : path
        The ground truth of the same planes: 0 background, one other value foreground.

    Returns
    -------
    ndarray of int64, shape (2, 256)
    """
    return count_values(planes_of(open_volume(maps)), planes_of(open_volume(labels, role="label")))


def score(counts: np.ndarray, *, threshold: int = HALF) -> Scores:
    """Score the segmentation `map >= threshold` from what `count_values` counted.

    Parameters
    ----------
    counts : ndarray of int, shape (2, 256)
        Voxels per value, background and foreground.
    threshold : int
        Lowest value that counts as foreground, 0 to 256.

    Returns
    -------
    Scores
    """
    background, foreground = counts
    return Scores(
        true_positive=int(foreground[threshold:].sum()),
        false_positive=int(background[threshold:].sum()),
        false_negative=int(foreground[:threshold].sum()),
    )


def best_threshold(counts: np.ndarray) -> int:
    """Return the threshold whose F1 is highest, the lowest of several; `HALF` where no threshold has an F1.

    Parameters
    ----------
    counts : ndarray of int, shape (2, 256)
    """
    background, foreground = (row[::-1].cumsum()[::-1] for row in counts)
    total = foreground[0]
    if total == 0:
        return HALF
    return int(np.argmax(2 * foreground / (foreground + background + total)))


def _pairs(maps: Iterable[np.ndarray], labels: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for z, (plane, label) in enumerate(zip_longest(maps, labels)):
        if plane is None or label is None:
            ended, other = ("maps", "ground truth") if plane is None else ("ground truth", "maps")
            raise InputError(f"different numbers of planes: the {ended} end after {z}, the {other} go on")
        yield plane, label


def _check_plane(z: int, plane: np.ndarray, label: np.ndarray) -> None:
    if plane.dtype != np.uint8:
        raise InputError(f"plane {z} of the probability maps is {plane.dtype}; expected 8-bit maps (Segmented_*.png)")
    if plane.shape != label.shape:
        raise InputError(f"plane {z}: the map has {plane.shape} (y, x) pixels and the ground truth {label.shape}")


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
