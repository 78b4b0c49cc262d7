"""How many iterations fit into the time that a training is given, from a measurement on this machine."""

from __future__ import annotations

import logging
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cdeep3m.errors import InputError
from cdeep3m.training.estimate import CALIBRATION, SECONDS, estimate_training

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from cdeep3m.engines.base import Engine, LabelledVolume
    from cdeep3m.nets.prototxts import NetMake
    from cdeep3m.training.estimate import NetCost
    from cdeep3m.training.judging import Judge
    from cdeep3m.training.run import SolverSettings, TrainRequest

log = logging.getLogger(__name__)
TRAINING = logging.getLogger("cdeep3m.training.run")

MEASURING = 0.03
"""Part of the time that is spent on measuring, at most."""
SHORTEST = 2.0
"""Seconds for which a net is measured at least."""
RESERVE = 0.02
"""Part of the time that is kept for what was not measured."""
FEWEST = 10
"""Iterations below which a training makes no sense."""


@dataclass(frozen=True, kw_only=True)
class Snapshots:
    """What happens beside the iterations of a net.

    Attributes
    ----------
    count : int
        Snapshots, each of them tested.
    scored, calibrated : bool
        Whether snapshots are scored, and whether the last step is a calibration.
    """

    count: int
    scored: bool = False
    calibrated: bool = False

    @property
    def scores(self) -> int:
        """How many scores are made, or what takes as long."""
        return (self.count if self.scored else 0) + (CALIBRATION if self.calibrated else 0)

    def seconds(self, cost: NetCost) -> float:
        """Return how long all of it takes for one net."""
        return self.count * cost.test + self.scores * cost.score


def plan(
    request: TrainRequest,
    engine: Engine,
    *,
    seconds: float,
    begun: float,
    shares: Mapping[str, float],
    snapshots: Snapshots,
    training: Sequence[LabelledVolume],
    validation: Sequence[LabelledVolume],
    judge: Judge | None = None,
    make: NetMake | None = None,
    like: Path | None = None,
    measured: float | None = None,
) -> list[NetCost]:
    """Measure every net for a moment, and divide the time that is left.

    Parameters
    ----------
    request : TrainRequest
        What is trained; its folder is not touched.
    engine : Engine
    seconds : float
        For everything, this measurement included.
    begun : float
        When that time began, on `time.monotonic`.
    shares : mapping of str to float
        Of the time, for each net; of any sum.
    snapshots : Snapshots
    training, validation, judge, make, like
        As of `estimate_training`.
    measured : float, optional
        Seconds to measure each net for; None: a small part of the time.

    Returns
    -------
    list of NetCost
        What each net costs with the iterations that fit.

    Raises
    ------
    InputError
        The time is too short.
    """
    if measured is None:
        measured = max(SHORTEST, min(SECONDS, MEASURING * seconds / len(request.nets)))
    plain = replace(request, retrain=None, own_settings={})
    log.info("Measuring how fast %s can be trained here", ", ".join(request.nets))
    with _without_words():
        costs = estimate_training(
            plain,
            engine,
            training=training,
            validation=validation,
            make=make,
            like=like,
            seconds=measured,
            judge=judge,
        )
    left = (seconds - (time.monotonic() - begun)) * (1 - RESERVE)
    planned = divide(costs, left=left, seconds=seconds, shares=shares, snapshots=snapshots)
    count = snapshots.count
    return [
        replace(cost, iterations=planned[cost.net], tests=count, snapshots=count, scores=snapshots.scores)
        for cost in costs
    ]


@contextmanager
def _without_words() -> Iterator[None]:
    """Keep to itself what a training says that is thrown away; warnings are said all the same."""
    before = TRAINING.level
    TRAINING.setLevel(logging.WARNING)
    try:
        yield
    finally:
        TRAINING.setLevel(before)


def divide(
    costs: Sequence[NetCost], *, left: float, seconds: float, shares: Mapping[str, float], snapshots: Snapshots
) -> dict[str, int]:
    """Return how many iterations of each net fit into what is left of the time."""
    total = sum(shares[cost.net] for cost in costs)
    planned = {}
    for cost in costs:
        mine = left * shares[cost.net] / total
        planned[cost.net] = 1 + math.floor((mine - cost.start - snapshots.seconds(cost)) / cost.iteration)
        needed = cost.start + (FEWEST - 1) * cost.iteration + snapshots.seconds(cost)
        if planned[cost.net] < FEWEST:
            raise InputError(
                f"--time {seconds:g}s: {max(mine, 0):.0f} s are left for {cost.net}, which needs {needed:.0f} s for "
                f"{FEWEST} iterations; expected more time, or fewer nets (--models)"
            )
    log.info(
        "Planned: %s",
        ", ".join(f"{cost.net} {planned[cost.net]} iterations of {cost.iteration:.3g} s" for cost in costs),
    )
    return planned


def settings_for(settings: SolverSettings, iterations: int, *, snapshots: int) -> SolverSettings:
    """Return a net's settings for a number of iterations, with that many snapshots on the way, each of them tested.

    Examples
    --------
    >>> from cdeep3m.training.run import SolverSettings
    >>> made = settings_for(SolverSettings(), 95, snapshots=10)
    >>> made.numiterations, made.snapshot_interval, made.test_interval
    (95, 10, 10)
    """
    interval = math.ceil(iterations / snapshots)
    tested = settings.test_interval or interval
    return replace(settings, numiterations=iterations, snapshot_interval=interval, test_interval=tested)
