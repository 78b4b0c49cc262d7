"""What a prediction's events say of its images against those of the training."""

from __future__ import annotations

import numpy as np
import pytest

from cdeep3m.evaluation.run_findings import findings_of_prediction
from cdeep3m.runs.events import Event


def grays(level):
    counts = np.zeros(256, int)
    counts[level] = 1000
    return counts.tolist()


def events(images, first, *others):
    trained = {"histogram": grays(first)} | ({"other_histograms": [grays(level) for level in others]} if others else {})
    return [
        Event(0.0, "images", {"histogram": grays(images)}),
        Event(0.0, "model", {"net": "1fm", "trained_on": trained}),
    ]


@pytest.mark.parametrize("levels", [(50, 60), (50, 200, 60), (200, 220, 50)])
def test_images_like_those_of_one_volume_of_the_training_raise_no_alarm(levels):
    images, *volumes = levels
    assert findings_of_prediction(events(images, *volumes), None) == []


@pytest.mark.parametrize(("volumes", "nearest"), [((20,), 20), ((20, 60), 60), ((60, 20), 60)])
def test_images_like_none_are_compared_with_the_most_alike(volumes, nearest):
    (finding,) = findings_of_prediction(events(200, *volumes), None)
    assert f"mean 200 against {nearest} of 255" in finding.found
