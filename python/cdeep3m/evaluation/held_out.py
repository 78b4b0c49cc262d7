"""Scores of a training's snapshots on planes that were held out, and the calibration that follows from them.

Planes are predicted as a prediction does it: the same core, the same halo, the same variants.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    """

    engine: InProcessEngine
    parts: Sequence[HeldOut]
    gpu: int = CPU
    precision: Precision = "float32"

    @property
    def words(self) -> str:
        """Which planes are scored."""
        return "; ".join(dict.fromkeys(part.words for part in self.parts))

    def score(self, model: TrainedModel) -> Scored:
        """Score a snapshot: one variant, 8-bit maps, every threshold."""
        counts = np.zeros((2, 256), np.int64)
        for label, found in self._predicted(model, SCORING, unrounded=False):
            counts += self._counted(label, found, 256)
        threshold = best_threshold(counts)
        return Scored(
            weights=model.weights.name,
            iteration=iteration_of(model.weights) or 0,
            f1=_number(score(counts, threshold=threshold).f1),
            threshold=threshold / 255,
            f1_at_half=_number(score(counts).f1),
        )

    def calibrate(self, model: TrainedModel) -> Calibration | None:
        """Return the calibration of the weights that predict; None where no threshold tells anything apart.

        Raises
        ------
        InputError
            The planes hold background or foreground alone.
        """
        counts = np.zeros((2, STEPS + 1), np.int64)
        for label, found in self._predicted(model, CALIBRATING, unrounded=True):
            steps = np.floor(np.nan_to_num(found) * STEPS + 0.5).astype(np.int64)
            counts += self._counted(label, steps, STEPS + 1)
        if not counts.any(axis=1).all():
            raise InputError(f"{self.words}: background or foreground alone; expected both, or nothing is calibrated")
        if not tells_apart(counts):
            return None
        scale, offset = fitted(counts)
        return Calibration(weights=model.weights.name, scale=scale, offset=offset, planes=self.words)

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
    def _counted(label: np.ndarray, values: np.ndarray, steps: int) -> np.ndarray:
        """Count values, apart for background and foreground, without voxels that do not count; shape (2, steps)."""
        rows = [values[label == 0], values[(label != 0) & (label != IGNORED)]]
        return np.stack([np.bincount(row, minlength=steps) for row in rows])


def judge_for(request: TrainRequest, engine: Engine, gpu: int, known: Sequence[HeldOut]) -> Judge | None:
    """Return what scores and calibrates snapshots, where a training asks for that and the engine can."""
    if not request.judging.is_needed or not isinstance(engine, InProcessEngine):
        return None
    return Judge(engine, known, gpu=gpu, precision=request.precision)


def _number(value: float) -> float:
    """Return a score as a number: 0 where nothing was found and nothing was there."""
    return value if value == value else 0.0
