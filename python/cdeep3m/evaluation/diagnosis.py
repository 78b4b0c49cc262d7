"""What looks wrong about maps, images and trainings, each in one line with its remedy.

Pure functions of what was counted; each returns a Finding, or None where all is well. Bounds are generous: a finding
should be worth reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cdeep3m.evaluation.map_statistics import PERIODS, shares
from cdeep3m.volumes.samples import BINS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.evaluation.map_statistics import MapStatistics

BLANK = 64
"""Maps whose values all lie within so many steps of each other tell nothing apart."""
BLANK_SHARE = 1e-4
"""This part of the values is left out at either end before the range is taken."""
SATURATED_SHARE = 0.9
"""Maps with more than this part of their values above 0.98 find everything everywhere."""
CHECKERED = 0.4
"""From this peak on (see MapStatistics.peak) a pattern repeats; noise alone has one of 0.25 every 2 pixels."""
CUT_SHARE = 0.75
"""A cut is a row or column of which this part differs from the next one, and twice as much as is usual."""
BAND = 4
"""So many black rows or columns along an edge are a band."""
GRAY_DISTANCE = 0.12
"""Mean distance that gray values must move to become those of the training, as a part of the whole range."""
VOXEL_RATIO = 1.5
FEWEST_LOSSES = 8
LOSS_FALL = 0.05
"""A loss that falls by less than this part of its beginning does not fall."""
SCORE_FALL = 0.03
RARE, COMMON = 0.01, 0.8
"""Parts of foreground between which classes are in balance."""


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong.

    Attributes
    ----------
    code : str
        A name that stays the same: "blank", "saturated", ...
    found : str
        What was found, in one sentence.
    remedy : str
        What to try.
    """

    code: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.found}: {self.remedy}"


def blank(values: np.ndarray) -> Finding | None:
    """Find maps that are about the same everywhere.

    Parameters
    ----------
    values : ndarray of int, shape (256,)
        Voxels per 8-bit value.
    """
    part = np.cumsum(shares(values))
    if not part[-1]:
        return None
    low, high = (int(np.searchsorted(part, end)) for end in (BLANK_SHARE, 1 - BLANK_SHARE))
    if high - low >= BLANK or saturated(values):
        return None
    return Finding(
        "blank",
        f"the maps are blank: nearly all probabilities lie between {low / 255:.2f} and {high / 255:.2f}",
        "check that the images look like those of the training (contrast, inverted grays, voxel size), that the labels "
        "of the training were not empty, and train for longer",
    )


def saturated(values: np.ndarray) -> Finding | None:
    """Find maps that are sure of foreground nearly everywhere.

    Parameters
    ----------
    values : ndarray of a gray type, any shape
    """
    high = float(shares(values)[int(0.98 * BINS) :].sum())
    if high <= SATURATED_SHARE:
        return None
    return Finding(
        "saturated",
        f"the maps are saturated: {high:.0%} of the voxels are foreground for certain",
        "check that the labels of the training were 0 for background, not the other way round, and that the images are "
        "not inverted",
    )


def checkered(statistics: MapStatistics) -> Finding | None:
    """Find a pattern that repeats every 2, 4, 8 or 16 pixels: the mark of transposed convolutions."""
    peak, period = max((statistics.peak(period), period) for period in PERIODS)
    if peak < CHECKERED:
        return None
    return Finding(
        "checkered",
        f"the maps are checkered: a pattern repeats every {period} pixels",
        "predict with all variants (--augspeed 1) and with the ensemble of all nets, and train for longer",
    )


def cut(statistics: MapStatistics) -> Finding | None:
    """Find straight steps across whole planes, and black bands along their edges: tiles missing or misplaced."""
    planes = max(1, statistics.planes)
    sides = (
        ("row", statistics.row_jumps / planes, statistics.row_fill / planes),
        ("column", statistics.column_jumps / planes, statistics.column_fill / planes),
    )
    places = [f"{name} {at + 1}" for name, jumps, _ in sides for at in _standing_out(jumps)]
    bands = [f"{band} {name}s" for name, _, fill in sides for band in _black_bands(fill)]
    if not places and not bands:
        return None
    said = [f"they change abruptly along the whole of {_listed(places)}"] if places else []
    said += [f"the {' and the '.join(bands)} are black"] if bands else []
    return Finding(
        "cut",
        f"the maps are cut: {', and '.join(said)}",
        "look at the images there; where those are whole, delete the maps and predict again, without --exact",
    )


def _standing_out(jumps: np.ndarray) -> list[int]:
    usual = float(np.median(jumps)) if len(jumps) else 0.0
    return np.flatnonzero((jumps >= CUT_SHARE) & (jumps >= 2 * usual)).tolist()


def _black_bands(fill: np.ndarray) -> list[str]:
    """Return where rows or columns at either end hold nothing, beside one that is filled for the most part."""
    bands = []
    for place, values in (("first", fill), ("last", fill[::-1])):
        black = int(np.argmax(values > 0)) if values.any() else 0
        if black >= BAND and values[black] >= CUT_SHARE:
            bands.append(f"{place} {black}")
    return bands


def _listed(places: list[str]) -> str:
    return ", ".join(places[:4]) + (f" and {len(places) - 4} more" if len(places) > 4 else "")


class Seams(NamedTuple):
    """Steps across the edges of tiles.

    Attributes
    ----------
    ratio : float
        Their mean, over that of all steps; about 1 where no seam shows.
    usual : float
        What no more than one in a hundred of the other rows and columns exceeds.
    """

    ratio: float
    usual: float

    @property
    def show(self) -> bool:
        """Whether the edges stand out."""
        return self.ratio > max(1.5, self.usual)


def seams(statistics: MapStatistics, rows: Sequence[int], columns: Sequence[int]) -> Seams | None:
    """Measure the steps across the edges of tiles; None without edges, or without any step.

    Parameters
    ----------
    statistics : MapStatistics
    rows, columns : sequences of int
        First row and column of every tile but the first.
    """
    of_rows, of_columns = statistics.row_steps, statistics.column_steps
    at_edges = [
        *(of_rows[row - 1] for row in rows if 0 < row <= len(of_rows)),
        *(of_columns[column - 1] for column in columns if 0 < column <= len(of_columns)),
    ]
    steps = np.concatenate([of_rows, of_columns])
    mean = float(steps.mean()) if at_edges else 0.0
    return Seams(float(np.mean(at_edges)) / mean, float(np.quantile(steps, 0.99)) / mean) if mean else None


def gray_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return how far gray values must move, on average, to turn one histogram into the other (Wasserstein).

    Parameters
    ----------
    one, other : ndarray of int, shape (256,)

    Returns
    -------
    float
        As a part of the whole range, 0 for equal histograms.

    Examples
    --------
    >>> a, b = np.zeros(256, int), np.zeros(256, int)
    >>> a[10], b[61] = 7, 5
    >>> round(gray_distance(a, b), 3)
    0.2
    """
    apart = np.abs(np.cumsum(shares(one)) - np.cumsum(shares(other))).sum()
    return float(apart) / (BINS - 1)


def unlike_training(images: np.ndarray, training: np.ndarray) -> Finding | None:
    """Find images whose gray values are unlike those of the training; both as histograms of shape (256,).

    Parameters
    ----------
    images, training : ndarray of int, shape (256,)
    """
    if not images.sum() or not training.sum():
        return None
    distance = gray_distance(images, training)
    if distance < GRAY_DISTANCE:
        return None
    means = [float((shares(counts) * np.arange(BINS)).sum()) for counts in (images, training)]
    return Finding(
        "gray values",
        f"the images are unlike those of the training: their grays are {distance:.0%} of the range apart "
        f"(mean {means[0]:.0f} against {means[1]:.0f} of 255)",
        "match the histograms (Histmatch), or train on images of this kind, too",
    )


def other_voxel_size(images: Sequence[float], training: Sequence[float]) -> Finding | None:
    """Find images whose voxels are of another size than those of the training; both along (z, y, x), in nanometres."""
    ratios = [a / b for a, b in zip(images, training, strict=True) if a > 0 and b > 0]
    if all(1 / VOXEL_RATIO < ratio < VOXEL_RATIO for ratio in ratios):
        return None
    sizes = [" x ".join(f"{side:g}" for side in size) for size in (images, training)]
    return Finding(
        "voxel size",
        f"the voxels are {sizes[0]} nm (z, y, x); those of the training were {sizes[1]}",
        "scale the images to the voxels of the training, or take a model for this size",
    )


def loss_does_not_fall(losses: Sequence[float]) -> Finding | None:
    """Find a training whose loss is no number, or at its end about what it was at its beginning."""
    values = np.asarray(losses, np.float64)
    if values.size and not np.isfinite(values).all():
        return Finding(
            "loss",
            f"the loss is no number from row {int(np.argmin(np.isfinite(values))) + 1} of {len(values)} on",
            "train again with a lower --base_learn, a tenth for a start",
        )
    if len(values) < FEWEST_LOSSES:
        return None
    begin = float(np.median(values[: max(1, len(values) // 10)]))
    end = float(np.median(values[-max(1, len(values) // 4) :]))
    if end < (1 - LOSS_FALL) * begin:
        return None
    return Finding(
        "loss",
        f"the loss does not fall: {begin:.3g} at the beginning, {end:.3g} at the end",
        "check that labels and images belong together plane by plane, then try another --base_learn (a tenth, or three "
        "times as much)",
    )


def overfits(losses: Sequence[float], scores: Sequence[float]) -> Finding | None:
    """Find a validation score that falls while the training's loss falls.

    Parameters
    ----------
    losses : sequence of float
        Of the training, in order.
    scores : sequence of float
        Of the validation, in order; higher is better.
    """
    scores = [score for score in scores if np.isfinite(score)]
    if len(scores) < FEWEST_LOSSES or len(losses) < FEWEST_LOSSES or loss_does_not_fall(losses):
        return None
    window = max(1, len(scores) // 8)
    smooth = np.convolve(scores, np.ones(window) / window, "valid")
    best = int(np.argmax(smooth))
    fall = float(smooth[best] - smooth[-1])
    if fall < SCORE_FALL or best >= 0.8 * len(smooth):
        return None
    return Finding(
        "overfitting",
        f"the validation score falls while the loss falls: from {smooth[best]:.3f} to {smooth[-1]:.3f}",
        f"take the snapshot of about {(best + window / 2) / len(scores):.0%} of the training, or label planes from "
        "other places",
    )


def imbalance(foreground: float) -> Finding | None:
    """Find classes out of balance, from the part of the labels that is foreground."""
    if foreground == 0:
        return Finding(
            "balance",
            "the labels are empty: no voxel is foreground",
            "check the file format and the values of the labels",
        )
    if RARE <= foreground <= COMMON:
        return None
    if foreground > COMMON:
        return Finding(
            "balance",
            f"{foreground:.0%} of the labels are foreground",
            "check that labels are 0 for background and not the other way round",
        )
    return Finding(
        "balance",
        f"only {foreground:.2%} of the labels are foreground",
        "label volumes with more of it, cut away what has none, and train for longer",
    )


def findings_of_maps(statistics: MapStatistics) -> list[Finding]:
    """Return what looks wrong about maps."""
    values = statistics.values
    found = [blank(values), saturated(values)]
    if not any(found):
        found += [checkered(statistics), cut(statistics)]
    return [finding for finding in found if finding]


def findings_of_training(
    losses: Sequence[float], scores: Sequence[float], *, foreground: float | None = None
) -> list[Finding]:
    """Return what looks wrong about a training."""
    found = [
        loss_does_not_fall(losses),
        overfits(losses, scores),
        imbalance(foreground) if foreground is not None else None,
    ]
    return [finding for finding in found if finding]
