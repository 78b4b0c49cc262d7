"""How long a training will take, and how much memory and disk, from a few of its own iterations."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cdeep3m.nets.prototxts import SOLVER
from cdeep3m.proto import prototxt
from cdeep3m.runs.trained import chosen_weights, with_deploy
from cdeep3m.training.folder import create_run
from cdeep3m.training.run import NetTraining, train_net

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cdeep3m.engines.base import Engine, LabelledVolume, Progress
    from cdeep3m.nets.prototxts import NetMake
    from cdeep3m.training.judging import Judge, Judging
    from cdeep3m.training.run import TrainRequest

SECONDS = 20.0
"""So long the iterations of each net are measured, after two that tell how many that are."""
FEWEST, MOST = 4, 60
"""Iterations that are measured."""
WARM = 2
NEVER = 10**9
CALIBRATION = 8
"""A calibration takes so many times as long as a score."""


@dataclass(frozen=True, kw_only=True)
class NetCost:
    """What the training of one net costs.

    Attributes
    ----------
    net : str
    start : float
        Seconds until the first iteration is done.
    iteration, test : float
        Seconds of an iteration, and of a test on the validation volume.
    score : float
        Seconds in which a snapshot is scored; 0 where none is.
    iterations, tests, scores, snapshots : int
        How many there will be; a calibration counts as `CALIBRATION` scores.
    snapshot : int
        Bytes of one, model and state.
    """

    net: str
    start: float
    iteration: float
    test: float
    score: float
    iterations: int
    tests: int
    scores: int = 0
    snapshots: int = 1
    snapshot: int = 0

    @property
    def seconds(self) -> float:
        """How long the whole training takes."""
        beside = self.test * self.tests + self.score * self.scores
        return self.start + self.iteration * (self.iterations - 1) + beside

    @property
    def disk(self) -> int:
        """Bytes of all snapshots."""
        return self.snapshots * self.snapshot


def estimate_training(
    request: TrainRequest,
    engine: Engine,
    *,
    training: Sequence[LabelledVolume],
    validation: Sequence[LabelledVolume],
    make: NetMake | None = None,
    like: Path | None = None,
    seconds: float = SECONDS,
    judge: Judge | None = None,
) -> list[NetCost]:
    """Train every net for some iterations in a temporary folder, and count how many the whole takes.

    Parameters
    ----------
    request : TrainRequest
        What would be trained; its folder is not touched.
    engine : Engine
    training, validation : sequences of LabelledVolume
    make, like
        As of `create_run`.
    seconds : float
        To measure each net for.
    judge : Judge, optional
        Scores a snapshot of each net, so that it is known how long that takes.

    Returns
    -------
    list of NetCost
    """
    with TemporaryDirectory(prefix="cdeep3m-") as made:
        out = Path(made) / "trained"
        create_run(out, make=make, like=like)
        return [
            _estimate(replace(request, out=out), net, engine, training, validation, seconds, judge)
            for net in request.nets
        ]


def _estimate(
    request: TrainRequest,
    net: str,
    engine: Engine,
    training: Sequence[LabelledVolume],
    validation: Sequence[LabelledVolume],
    seconds: float,
    judge: Judge | None,
) -> NetCost:
    folder, wanted = request.out / net, request.settings
    every = wanted.test_interval or int(prototxt.read_solver(folder / SOLVER).test_interval)
    moments: list[float] = []

    def train(iterations: int, test_interval: int) -> None:
        settings = replace(wanted, numiterations=iterations, test_interval=test_interval, snapshot_interval=NEVER)
        job = NetTraining(
            folder=folder,
            settings=settings,
            gpu=request.gpus[0],
            rules=request.rules,
            precision=request.precision,
            augmentation=request.augmentation,
            learning=request.learning,
        )
        moments[:] = [time.perf_counter()]
        train_net(job, engine, report=_note(moments), training=training, validation=validation)

    train(WARM, NEVER)
    start, warm = moments[1] - moments[0], moments[-1] - moments[-2]
    count = max(FEWEST, min(MOST, round(seconds / max(warm, 1e-6))))
    tested = WARM + count // 2
    train(WARM + count, tested)
    gaps = [after - before for before, after in zip(moments[1:], moments[2:], strict=False)]
    iteration = median(gaps)
    snapshots = math.ceil(wanted.numiterations / wanted.snapshot_interval)
    return NetCost(
        net=net,
        start=start,
        iteration=_mean_without(gaps, max(gaps)) if len(gaps) > FEWEST else iteration,
        test=max(0.0, max(gaps) - iteration),
        score=_seconds_of_a_score(folder, judge) if judge else 0.0,
        iterations=wanted.numiterations,
        tests=wanted.numiterations // every,
        scores=_scores(request.judging, snapshots) if judge else 0,
        snapshots=snapshots,
        snapshot=_snapshot_bytes(folder),
    )


def _scores(judging: Judging, snapshots: int) -> int:
    """Return how many times as long as a score all that happens with snapshots takes."""
    return (snapshots if judging.held_out else 0) + (CALIBRATION if judging.calibrate else 0)


def _seconds_of_a_score(folder: Path, judge: Judge) -> float:
    weights = chosen_weights(folder / "trainedmodel")
    assert weights is not None, "a training writes weights"
    begin = time.perf_counter()
    judge.score(with_deploy(weights, folder.name))
    return time.perf_counter() - begin


def _note(moments: list[float]) -> Callable[[str, Progress], None]:
    def note(net: str, progress: Progress) -> None:
        del net, progress
        moments.append(time.perf_counter())

    return note


def _mean_without(gaps: Sequence[float], one: float) -> float:
    return (sum(gaps) - one) / (len(gaps) - 1)


def _snapshot_bytes(folder: Path) -> int:
    """Return the bytes of the last snapshot, model and state."""
    found = sorted((folder / "trainedmodel").glob("*_iter_*"), key=lambda path: path.stat().st_mtime)
    return sum(path.stat().st_size for path in found[-2:])
