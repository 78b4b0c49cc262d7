"""What a prediction works on and with, as data for its report."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from cdeep3m.errors import CDeep3MError
from cdeep3m.runs.events import last_attempt, read_events
from cdeep3m.runs.states import training_events
from cdeep3m.runs.trained import digest_of, iteration_of
from cdeep3m.volumes.samples import gray_histogram, middle, parts_of_plane, sampled, white_of
from cdeep3m.volumes.units import in_nanometers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cdeep3m.engines.base import TrainedModel
    from cdeep3m.tiling.grid import Tiling
    from cdeep3m.volumes import Volume

PLANES = 6
"""So many planes stand for the gray values of all."""
MOST_SEAMS = 1000
TRAINED_ON = ("shape", "type", "histogram", "other_histograms", "foreground", "voxel_size")
"""What a training noted of its data, and a prediction repeats."""


def facts_of_images(images: str, volume: Volume, tiling: Tiling, *, seen: Volume) -> dict[str, Any]:
    """Return size, type, gray values and where tiles meet.

    Parameters
    ----------
    images : str
    volume : Volume
        As it is stored.
    tiling : Tiling
    seen : Volume
        As the nets see it, and as those of the training were noted: enhanced, where the model asks for that. Its gray
        values are told, but only where planes can be read alone.
    """
    facts = {
        "path": images,
        "shape": list(volume.shape),
        "type": volume.dtype.name,
        **({"voxel_size": size} if (size := in_nanometers(volume.placement)) else {}),
        "packages": len(tiling.packages),
        "seams": {name: places[:MOST_SEAMS] for name, places in zip(("rows", "columns"), tiling.seams, strict=True)},
    }
    try:
        white = max(map(white_of, _sample(seen))) if seen.dtype.kind == "f" else 1.0
        counts = [gray_histogram(part, top=white) for part in _sample(seen)]
    except (CDeep3MError, OSError):
        return facts
    return facts | {"histogram": np.sum(counts, axis=0).tolist()}


def _sample(volume: Volume) -> Iterator[np.ndarray]:
    """Yield the planes that stand for all, in parts."""
    boxes = (middle(volume.shape, z) for z in sampled(volume.shape[0], PLANES))
    return chain.from_iterable(parts_of_plane(volume, box) for box in boxes)


def facts_of_model(model: TrainedModel, trained: Path) -> dict[str, Any]:
    """Return what identifies a model, and the gray values that it was trained on where its run noted them."""
    data = training_data(trained, model.net)
    return {
        "net": model.net,
        "file": model.weights.name,
        "iteration": iteration_of(model.weights),
        "sha256": digest_of(model.weights),
        "trained_on": {key: data[key] for key in TRAINED_ON if key in data},
    }


def training_data(trained: Path, net: str) -> dict[str, Any]:
    """Return what a net was trained on, as its training noted it last; empty where it did not."""
    events = last_attempt(read_events(training_events(trained, net)))
    return next((dict(event.values) for event in reversed(events) if event.name == "data"), {})
