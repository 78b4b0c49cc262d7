"""What looks wrong about a run, from its events, its curves and what was counted of its maps."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from cdeep3m.errors import CDeep3MError
from cdeep3m.evaluation.diagnosis import (
    Finding,
    findings_of_maps,
    findings_of_training,
    gray_distance,
    other_voxel_size,
    unlike_training,
)
from cdeep3m.evaluation.learning_curves import read_log
from cdeep3m.evaluation.map_statistics import MapStatistics
from cdeep3m.evaluation.scoring import maps_in
from cdeep3m.runs.events import last_attempt, read_events
from cdeep3m.runs.states import kind_of, prediction_events, state_of, training_events
from cdeep3m.volumes import open_volume
from cdeep3m.volumes.samples import sampled_planes, to_8_bits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cdeep3m.evaluation.learning_curves import Curves
    from cdeep3m.runs.events import Event

STILL_FALLING = 0.1
"""A loss that fell by this part over the last third of a training would fall further."""
FEWEST = 12
PLANES = 8
"""So many planes of the maps are looked at."""


def findings_in(folder: Path) -> list[Finding]:
    """Return what looks wrong about the run in a folder, from a few planes of its maps or from its logs."""
    if kind_of(folder) == "training":
        state = state_of(folder)
        return [finding for job in (state.jobs if state else ()) for finding in _of_net(folder, job.name)]
    statistics = MapStatistics()
    for plane in sampled_planes(open_volume(maps_in(folder)), PLANES):
        statistics.add(to_8_bits(plane))
    return findings_of_prediction(last_attempt(read_events(prediction_events(folder))), statistics)


def _of_net(folder: Path, net: str) -> list[Finding]:
    events = last_attempt(read_events(training_events(folder, net)))
    data = next((event.values for event in reversed(events) if event.name == "data"), {})
    return findings_of_net(curves_of(folder, net), data)


def curves_of(folder: Path, net: str) -> Curves | None:
    """Return the learning curves of a net; None where it has no log yet."""
    try:
        return read_log(folder / net / "log")
    except (CDeep3MError, OSError):
        return None


def findings_of_prediction(events: Sequence[Event], statistics: MapStatistics | None) -> list[Finding]:
    """Return what looks wrong about a prediction.

    Parameters
    ----------
    events : sequence of Event
        Of its last attempt; gray values are compared with those of the training where both were noted: of its several
        volumes, with the one that is most alike.
    statistics : MapStatistics, optional
        Of its maps.
    """
    found = findings_of_maps(statistics) if statistics and statistics.planes else []
    images: Mapping[str, Any] = next((event.values for event in events if event.name == "images"), {})
    noted = (event.values.get("trained_on") for event in events if event.name == "model")
    training: Mapping[str, Any] = next((data for data in noted if data), {})
    compared = []
    if images.get("histogram") and training.get("histogram"):
        grays = np.asarray(images["histogram"])
        volumes = map(np.asarray, (training["histogram"], *training.get("other_histograms", ())))
        compared.append(unlike_training(grays, min(volumes, key=partial(gray_distance, grays))))
    if images.get("voxel_size") and training.get("voxel_size"):
        compared.append(other_voxel_size(images["voxel_size"], training["voxel_size"]))
    return [*found, *(finding for finding in compared if finding)]


def findings_of_net(curves: Curves | None, data: Mapping[str, Any]) -> list[Finding]:
    """Return what looks wrong about the training of one net.

    Parameters
    ----------
    curves : Curves, optional
        Loss and accuracy.
    data : mapping
        What its run noted about the data.
    """
    losses, scores = losses_of(curves), scores_of(curves) if data.get("validation") else []
    return findings_of_training(losses, scores, foreground=data.get("foreground"))


def losses_of(curves: Curves | None) -> list[float]:
    """Return the loss of the training, by iteration; none where the log has none."""
    return _column(curves.train, "loss") if curves else []


def scores_of(curves: Curves | None) -> list[float]:
    """Return the accuracy of the tests, by iteration; none where the log has none."""
    return _column(curves.test, "acc") if curves else []


def next_steps(
    curves: Curves | None, data: Mapping[str, Any], findings: Sequence[Finding], *, by_recipe: bool = False
) -> list[str]:
    """Return what to try next with a net, most promising first.

    Parameters
    ----------
    curves, data
        As of `findings_of_net`.
    findings : sequence of Finding
        What looks wrong; then that comes first, and more training does not help.
    by_recipe : bool
        Whether the training follows a recipe, which is planned to its end and goes no further.
    """
    losses, steps = losses_of(curves), []
    if not findings and len(losses) >= FEWEST:
        third = len(losses) // 3
        before, after = (float(np.median(part)) for part in (losses[-2 * third : -third], losses[-third:]))
        if after < (1 - STILL_FALLING) * before:
            longer = "train into another folder, for twice as long (--time or --numiterations)"
            further = "train on, with --numiterations twice as high and the same command"
            steps.append(f"the loss still falls: {longer if by_recipe else further}")
        else:
            steps.append("the loss has settled: more labelled planes will help more than more iterations")
    if data and not data.get("validation"):
        steps.append(
            "the validation volume is the training volume, so it cannot show overfitting: label a few planes elsewhere "
            "and pass them with --validation (cdeep3m train) or --validation_dir (runtraining.sh)"
        )
    steps.append("predict a labelled volume that was not trained on, and score it with cdeep3m score")
    return steps


def _column(table: Any, part: str) -> list[float]:
    name = next((output for output in table.outputs if part in output.lower()), None)
    return table.column(name) if name else []
