"""What looks wrong about a run, from its events, its curves and what was counted of its maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cdeep3m.evaluation.diagnosis import (
    Finding,
    findings_of_maps,
    findings_of_training,
    other_voxel_size,
    unlike_training,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cdeep3m.evaluation.learning_curves import Curves
    from cdeep3m.evaluation.map_statistics import MapStatistics
    from cdeep3m.runs.events import Event

STILL_FALLING = 0.1
"""A loss that fell by this part over the last third of a training would fall further."""
FEWEST = 12


def findings_of_prediction(events: Sequence[Event], statistics: MapStatistics | None) -> list[Finding]:
    """Return what looks wrong about a prediction.

    Parameters
    ----------
    events : sequence of Event
        Of its last attempt; gray values are compared with those of the training where both were noted.
    statistics : MapStatistics, optional
        Of its maps.
    """
    found = findings_of_maps(statistics) if statistics and statistics.planes else []
    images = next((event.values for event in events if event.name == "images"), {})
    training = next((event.values["trained_on"] for event in events if event.values.get("trained_on")), {})
    grays = images.get("histogram"), training.get("histogram")
    sizes = images.get("voxel_size"), training.get("voxel_size")
    compared = [
        unlike_training(*(np.asarray(counts) for counts in grays)) if all(grays) else None,
        other_voxel_size(*sizes) if all(sizes) else None,
    ]
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


def next_steps(curves: Curves | None, data: Mapping[str, Any], findings: Sequence[Finding]) -> list[str]:
    """Return what to try next with a net, most promising first.

    Parameters
    ----------
    curves, data
        As of `findings_of_net`.
    findings : sequence of Finding
        What looks wrong; then that comes first, and more training does not help.
    """
    losses, steps = losses_of(curves), []
    if not findings and len(losses) >= FEWEST:
        third = len(losses) // 3
        before, after = (float(np.median(part)) for part in (losses[-2 * third : -third], losses[-third:]))
        if after < (1 - STILL_FALLING) * before:
            steps.append("the loss still falls: train on, with --numiterations twice as high and the same command")
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
