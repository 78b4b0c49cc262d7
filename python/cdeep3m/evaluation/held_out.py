"""Scores of a training's snapshots on planes that were held out, and the calibration that follows from them.

Planes are predicted as a prediction does it: the same core, the same halo, the same variants.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.engines.base import CPU, InProcessEngine
from cdeep3m.errors import InputError
from cdeep3m.evaluation.calibrating import fitted, tells_apart
from cdeep3m.evaluation.scores import best_threshold, score
from cdeep3m.geometry import Roi
from cdeep3m.prediction.core import NetInUse, predict_boxes
from cdeep3m.runs.calibration import STEPS, Calibration
from cdeep3m.runs.trained import iteration_of
from cdeep3m.runs.validation import Scored
from cdeep3m.tiling.grid import Tiling
from cdeep3m.tiling.variants import variants_for
from cdeep3m.volumes.arrays import ArrayVolume
from cdeep3m.volumes.labels import IGNORED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cdeep3m.engines.base import Engine, Precision, TrainedModel
    from cdeep3m.training.holding_out import HeldOut
    from cdeep3m.training.run import TrainRequest

MOST_PLANES = 6
"""So many planes, evenly spread, stand for all that were held out."""
SCORING, CALIBRATING = 10, 2
"""--augspeed with which snapshots are scored, and with which the chosen one is calibrated."""


@dataclass(frozen=True)
class Judge:
    """Scores and calibrates the nets of a training.

    Attributes
    ----------
    engine : InProcessEngine
    parts : sequence of HeldOut
        What was held out of each volume.
    gpu : int
    precision : {"float32", "fast"}
    classes : int
        How many the labels tell apart, background among them.
    """

    engine: InProcessEngine
    parts: Sequence[HeldOut]
    gpu: int = CPU
    precision: Precision = "float32"
    classes: int = 2

    @property
    def labels(self) -> tuple[int, ...]:
        """Which classes are scored: all but background."""
        return tuple(range(1, self.classes))

    @property
    def words(self) -> str:
        """Which planes are scored."""
        return "; ".join(dict.fromkeys(part.words for part in self.parts))

    def score(self, model: TrainedModel) -> Scored:
        """Score a snapshot: one variant, 8-bit maps, every threshold; the mean of several classes."""
        counted = [self._counts(replace(model, label=label)) for label in self.labels]
        there = [counts for counts in counted if counts[1].any()] or counted[:1]
        thresholds = [best_threshold(counts) for counts in there]
        f1 = [_number(score(counts, threshold=t).f1) for counts, t in zip(there, thresholds, strict=True)]
        found = iter(f1)
        return Scored(
            weights=model.weights.name,
            iteration=iteration_of(model.weights) or 0,
            f1=mean(f1),
            threshold=mean(thresholds) / 255,
            f1_at_half=mean(_number(score(counts).f1) for counts in there),
            classes=tuple(next(found) if counts[1].any() else None for counts in counted) if self.classes > 2 else (),
        )

    def _counts(self, model: TrainedModel) -> np.ndarray:
        """Count the values of the maps of a class, shape (2, 256)."""
        counts = np.zeros((2, 256), np.int64)
        for label, found in self._predicted(model, SCORING, unrounded=False):
            counts += self._counted(label, found, 256, wanted=model.label)
        return counts

    def calibrate(self, model: TrainedModel) -> Calibration | None:
        """Return the calibration of the weights that predict; None where no threshold tells anything apart.

        Of several classes, one that the planes do not show has none.

        Raises
        ------
        InputError
            The planes hold background or foreground alone.
        """
        counts = np.zeros((2, STEPS + 1), np.int64)
        for label, found in self._predicted(model, CALIBRATING, unrounded=True):
            steps = np.floor(np.nan_to_num(found) * STEPS + 0.5).astype(np.int64)
            counts += self._counted(label, steps, STEPS + 1, wanted=model.label)
        if not counts.any(axis=1).all():
            if self.classes > 2:
                return None
            raise InputError(f"{self.words}: background or foreground alone; expected both, or nothing is calibrated")
        if not tells_apart(counts):
            return None
        scale, offset = fitted(counts)
        return Calibration(weights=model.weights.name, scale=scale, offset=offset, planes=self.words, label=model.label)

    def _predicted(
        self, model: TrainedModel, speed: int, *, unrounded: bool
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield labels and predictions of some planes, shape (1, y, x)."""
        net = NetInUse(self.engine.load(model, gpu=self.gpu, precision=self.precision), variants_for(model.net, speed))
        for part in self.parts:
            volume = ArrayVolume(part.data)
            _, height, width = volume.shape
            planes = np.unique(np.linspace(part.first, len(part.data) - 1, MOST_PLANES).round().astype(int))
            plan = [(Roi((z, 0, 0), (z + 1, height, width)), ("net",)) for z in planes.tolist()]
            tiling = Tiling.of(volume.shape, fit=True)
            for box, maps in predict_boxes(volume, plan, {"net": net}, tiling=tiling, unrounded=unrounded):
                yield part.label[box.slices], maps["net"]

    @staticmethod
    def _counted(label: np.ndarray, values: np.ndarray, steps: int, *, wanted: int) -> np.ndarray:
        """Count values, apart for a class and all others, without voxels that do not count; shape (2, steps)."""
        rows = [values[(label != wanted) & (label != IGNORED)], values[label == wanted]]
        return np.stack([np.bincount(row, minlength=steps) for row in rows])


def judge_for(
    request: TrainRequest, engine: Engine, gpu: int, known: Sequence[HeldOut], *, classes: int = 2
) -> Judge | None:
    """Return what scores and calibrates snapshots, where a training asks for that and the engine can."""
    if not request.judging.is_needed or not isinstance(engine, InProcessEngine):
        return None
    return Judge(engine, known, gpu=gpu, precision=request.precision, classes=classes)


def _number(value: float) -> float:
    """Return a score as a number: 0 where nothing was found and nothing was there."""
    return value if value == value else 0.0
