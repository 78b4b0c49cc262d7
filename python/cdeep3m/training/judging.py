"""What becomes of snapshots: they are scored, the best one is kept as such, and its maps are calibrated."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from cdeep3m.errors import InputError
from cdeep3m.runs.trained import MODEL_SUFFIX, chosen_weights, iteration_of, snapshots, with_deploy
from cdeep3m.runs.validation import Validation, validation_of

if TYPE_CHECKING:
    from pathlib import Path

    from cdeep3m.engines.base import TrainedModel
    from cdeep3m.runs.calibration import Calibration
    from cdeep3m.runs.validation import Keep, Scored

log = logging.getLogger(__name__)


class Judge(Protocol):
    """Knows planes whose truth is known; predicts them with the weights of a snapshot."""

    @property
    def words(self) -> str:
        """Which planes these are."""

    @property
    def labels(self) -> tuple[int, ...]:
        """Which classes are told apart, beyond background."""

    def score(self, model: TrainedModel) -> Scored:
        """Return how weights do."""

    def calibrate(self, model: TrainedModel) -> Calibration | None:
        """Return what makes 0.5 the right threshold of their maps of a class; None where no threshold is any good."""


@dataclass(frozen=True, kw_only=True)
class Judging:
    """What is asked of the snapshots of a training.

    Attributes
    ----------
    held_out : bool
        Whether planes were held out, so that snapshots are scored.
    keep : {"last", "best"}
        Which snapshot predicts.
    patience : int
        Scores in a row that are no better than the best before, after which a net's training ends; 0: it never does.
    calibrate : bool
        Whether the maps of the snapshot that predicts are calibrated.

    Raises
    ------
    InputError
        A value out of range, or what needs held-out planes without any.
    """

    held_out: bool = False
    keep: Keep = "last"
    patience: int = 0
    calibrate: bool = False

    def __post_init__(self) -> None:
        if self.keep not in ("last", "best"):
            raise InputError(f"--keep {self.keep}: expected last or best")
        if self.patience < 0:
            raise InputError(f"--patience {self.patience}: expected a number of at least 0")
        asked = [
            flag for flag, wanted in (("--keep best", self.keep == "best"), ("--patience", self.patience)) if wanted
        ]
        if asked and not self.held_out:
            raise InputError(
                f"{' and '.join(asked)} without held-out planes to score snapshots on: expected --holdout, as in "
                "--holdout 10%"
            )

    @property
    def is_needed(self) -> bool:
        """Whether anything is done with snapshots at all."""
        return self.held_out or self.calibrate


@dataclass(frozen=True, kw_only=True)
class JudgedNet:
    """The snapshots of one net.

    Attributes
    ----------
    folder : Path
        Of the net, in the run.
    judge : Judge
    asked : Judging
    interval, last : int
        Iterations between snapshots that are scored, and the last one of all.
    """

    folder: Path
    judge: Judge
    asked: Judging
    interval: int
    last: int

    def catch_up(self, reached: int) -> None:
        """Score the snapshots that an interrupted training left unscored, and forget scores beyond the last one."""
        if not self.asked.held_out:
            return
        record = self._record()
        known = tuple(one for one in record.scored if one.iteration <= reached)
        if known != record.scored:
            replace(record, scored=known).write(self.folder)
        scored = {one.iteration for one in known}
        for weights in snapshots(self.folder / "trainedmodel", MODEL_SUFFIX):
            iteration = iteration_of(weights) or 0
            if iteration <= reached and iteration not in scored and self._is_due(iteration):
                self._score(weights)

    @property
    def is_over(self) -> bool:
        """Whether nothing has improved for so long that the training ends."""
        return self.asked.held_out and self._record().is_over(self.asked.patience)

    def after_snapshot(self, weights: Path) -> bool:
        """Score a snapshot; return whether the training ends with it."""
        if not self.asked.held_out or not self._is_due(iteration_of(weights) or 0):
            return False
        self._score(weights)
        if self.is_over:
            log.info("%s: no better for %d scores: its training ends", self.folder.name, self.asked.patience)
        return self.is_over

    def finish(self) -> None:
        """Say which snapshot predicts, and calibrate its maps."""
        weights = chosen_weights(self.folder / "trainedmodel")
        if weights is None:
            return
        record = self._record()
        if record.keep == "best" and record.best is not None:
            log.info("%s: %s predicts: F1 %.3f on %s", self.folder.name, weights.name, record.best.f1, self.judge.words)
        for label in self.judge.labels if self.asked.calibrate else ():
            known = record.calibration_of(label)
            if known is None or known.weights != weights.name:
                record = self._calibrated(record, replace(with_deploy(weights, self.folder.name), label=label))

    def _calibrated(self, record: Validation, model: TrainedModel) -> Validation:
        """Calibrate the maps of a class, write that down, and return it."""
        several = len(self.judge.labels) > 1
        name = f"{self.folder.name}, class {model.label}" if several else self.folder.name
        calibration = self.judge.calibrate(model)
        if calibration is None:
            log.warning(
                "Warning: %s: no threshold of its maps does better on %s than to call everything foreground%s; they "
                "are not calibrated. Train for longer",
                name,
                self.judge.words,
                ", or the class is not there" if several else "",
            )
            return record
        record = record.with_calibration(calibration)
        record.write(self.folder)
        log.info("%s: maps are calibrated: %s", name, calibration.words)
        return record

    def _is_due(self, iteration: int) -> bool:
        return iteration % self.interval == 0 or iteration == self.last

    def _score(self, weights: Path) -> None:
        scored = self.judge.score(with_deploy(weights, self.folder.name))
        self._record().with_score(scored).write(self.folder)
        log.info("%s, iteration %d: %s, on %s", self.folder.name, scored.iteration, scored.words, self.judge.words)

    def _record(self) -> Validation:
        found = validation_of(self.folder) or Validation()
        return replace(found, keep=self.asked.keep, planes=self.judge.words if self.asked.held_out else "")
