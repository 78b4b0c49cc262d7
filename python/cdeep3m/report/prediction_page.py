"""The page of a prediction: planes with a threshold slider, what was counted and scored, and how it was made."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cdeep3m.errors import CDeep3MError, InputError
from cdeep3m.evaluation.diagnosis import seams
from cdeep3m.evaluation.map_statistics import MapStatistics
from cdeep3m.evaluation.object_scores import Touching
from cdeep3m.evaluation.run_findings import findings_of_prediction
from cdeep3m.evaluation.scores import HALF, score
from cdeep3m.evaluation.scoring import MAP_TYPES, MapScores, maps_in, score_maps
from cdeep3m.report.charts import Axis, Line, histogram, line_chart
from cdeep3m.report.page import duration, render, safe, share, size
from cdeep3m.runs.events import Event, last_attempt, read_events, seconds_spent
from cdeep3m.runs.states import RunState, prediction_events, state_of
from cdeep3m.system.threads import spread
from cdeep3m.volumes import open_volume, planes_of
from cdeep3m.volumes.samples import data_uri, middle, reduced, sampled, to_8_bits

if TYPE_CHECKING:
    from cdeep3m.volumes import Volume
    from cdeep3m.volumes.address import Address

SIDE = 1024
"""Longest side of a plane in a page, in pixels."""
PIXELS = 5_000_000
"""So many pixels of images a page holds; with maps and labels that is below 15 MB, even where images are noise."""
MOST_PLANES = 24
LARGEST_TO_LABEL = 2**27
"""Objects are counted in 3-D in maps of so many voxels at most; that needs a second pass over all of them."""


@dataclass(frozen=True)
class _Shown:
    """What the page shows of the volumes, and what was counted on the way."""

    planes: list[dict[str, Any]]
    step: int
    statistics: MapStatistics


def prediction_page(
    folder: Path,
    *,
    images: Path | Address | None = None,
    labels: Path | Address | None = None,
    threshold: int = HALF,
    price: float | None = None,
    count_objects: bool = True,
) -> str:
    """Return the page of a prediction.

    Parameters
    ----------
    folder : Path
        Of the prediction, finished or not.
    images, labels : Path or Address, optional
        The images (default: those that the run noted, if they are still there), and the ground truth of all planes.
    threshold : int
        Lowest value of the foreground: where the slider begins, and what is scored and counted.
    price : float, optional
        Of an hour on the device, in any currency.
    count_objects : bool
        Whether to count objects in 3-D.

    Raises
    ------
    InputError
        The maps are not 8-bit, or images or labels have another size.
    MissingFileError, FormatError
        As of `open_volume`.
    MissingExtraError
        Without jinja2.
    """
    events = last_attempt(read_events(prediction_events(folder)))
    state = state_of(folder)
    maps = open_volume(maps_in(folder))
    if maps.dtype.name not in MAP_TYPES:
        raise InputError(f"{maps_in(folder)} holds {maps.dtype}; expected probability maps ({', '.join(MAP_TYPES)})")
    pictures = _images(images, events, maps)
    truth = open_volume(labels, role="label") if labels else None
    scores = score_maps(folder, labels, threshold=threshold) if labels else None
    shown = _shown(maps, pictures, truth)
    findings = findings_of_prediction(events, shown.statistics)
    counts = scores.total if scores else None
    return render(
        "prediction.html.j2",
        {
            "title": f"Prediction: {folder.resolve().name}",
            "lead": _lead(maps, state),
            "made": time.strftime("%Y-%m-%d"),
            "findings": findings,
            "warnings": list(dict.fromkeys(state.warnings)) if state else [],
            "checked": "the maps are neither blank, saturated, checkered nor cut"
            + (", and the gray values are like those of the training" if _knows_training(events) else ""),
            "planes": shown.planes,
            "depth": maps.shape[0],
            "step": shown.step,
            "middle_only": middle(maps.shape, 0).shape[1:] != maps.shape[1:],
            "threshold": max(1, min(255, threshold)),
            "has_images": pictures is not None,
            "has_labels": truth is not None,
            "counted_planes": maps.shape[0] if scores else shown.statistics.planes,
            "histogram": safe(
                histogram(
                    (counts.sum(axis=0) if counts is not None else shown.statistics.values).tolist(),
                    title="Histogram of probabilities",
                    marker="histogram-cut",
                )
            ),
            "curve": safe(_curve(scores)) if scores else "",
            "scores": _scores(scores) if scores else None,
            "counts": {"background": counts[0].tolist(), "foreground": counts[1].tolist()}
            if counts is not None
            else {"all": shown.statistics.values.tolist()},
            "quantities": _quantities(maps, shown.statistics, events, threshold, count_objects=count_objects),
            "facts": _facts(folder, maps, state, events, price),
            "models": _models(events),
        },
    )


def _images(images: Path | Address | None, events: list[Event], maps: Volume) -> Volume | None:
    """Return the images that were asked for, or else those of the run where they are still what they were."""
    if images is not None:
        volume = open_volume(images)
        if volume.shape != maps.shape:
            raise InputError(f"{images} has {volume.shape} voxels along (z, y, x); expected {maps.shape}, as the maps")
        return volume
    noted = next((event.values.get("path") for event in events if event.name == "images"), None)
    try:
        there = open_volume(noted) if noted else None
    except (CDeep3MError, OSError):
        return None
    return there if there is not None and there.shape == maps.shape else None


def _shown(maps: Volume, images: Volume | None, labels: Volume | None) -> _Shown:
    depth = maps.shape[0]
    _, height, width = middle(maps.shape, 0).shape
    step = max(1, -(-max(height, width) // SIDE))
    most = min(MOST_PLANES, max(3, PIXELS * step**2 // (height * width)))
    statistics, planes = MapStatistics(), []
    stretch = _stretch(images) if images is not None else None

    def show(z: int) -> tuple[np.ndarray, dict[str, Any]]:
        plane = to_8_bits(_plane(maps, z))
        shown = {"z": z + 1, "map": data_uri(reduced(plane, SIDE))}
        if images is not None and stretch is not None:
            shown["image"] = data_uri(reduced(stretch(_plane(images, z)), SIDE))
        if labels is not None:
            shown["label"] = data_uri(reduced(_plane(labels, z) * np.uint8(255), SIDE))
        return plane, shown

    for plane, shown in spread(show, list(sampled(depth, most))):
        statistics.add(plane)
        planes.append(shown)
    return _Shown(planes, step, statistics)


def _plane(volume: Volume, z: int) -> np.ndarray:
    return volume.read(middle(volume.shape, z))[0]


def _stretch(images: Volume) -> Any:
    """Return what makes 8 bits of a plane: the range of the middle plane counts where there are more bits."""
    if images.dtype.itemsize == 1:
        return lambda plane: plane.astype(np.uint8)
    low, high = np.percentile(_plane(images, images.shape[0] // 2), (0.1, 99.9))
    scale = 255 / (high - low) if high > low else 1.0
    return lambda plane: np.clip((plane.astype(np.float64) - low) * scale, 0, 255).astype(np.uint8)


def _lead(maps: Volume, state: RunState | None) -> str:
    depth, height, width = maps.shape
    voxels = depth * height * width / 1e6
    said = f"{depth} planes of {width} x {height} pixels, {voxels:.3g} million voxels"
    return f"{said}; {state.state}" if state else said


def _curve(scores: MapScores) -> str:
    curve = scores.curve
    axes = Axis("recall", 0, 1), Axis("precision", 0, 1)
    line = Line("", curve.recall.tolist(), curve.precision.tolist())
    return line_chart([line], *axes, title="Precision and recall", marker="curve-dot")


def _scores(found: MapScores) -> dict[str, Any]:
    numbers = {name: f"{getattr(found.scores, name):.3f}" for name in ("precision", "recall", "f1", "iou")}
    objects = found.objects
    return {
        **numbers,
        "threshold": f"{found.threshold / 255:.2f}",
        "average_precision": f"{found.curve.average_precision:.3f}",
        "best_threshold": f"{found.best / 255:.2f}",
        "best_f1": f"{score(found.total, threshold=found.best).f1:.3f}",
        "objects": {
            "true": objects.true,
            "found": objects.found,
            "matched": objects.matched,
            "f1": f"{objects.f1:.3f}",
        }
        if objects
        else None,
    }


def _quantities(
    maps: Volume, statistics: MapStatistics, events: list[Event], threshold: int, *, count_objects: bool
) -> list[tuple[str, str]]:
    images = next((event.values for event in events if event.name == "images"), {})
    edges, (_, top, left) = images.get("seams", {}), middle(maps.shape, 0).begin
    rows, columns = ([at - begin for at in edges.get(name, ())] for name, begin in (("rows", top), ("columns", left)))
    measured = seams(statistics, rows, columns)
    part = float(statistics.values[threshold:].sum() / max(1, statistics.values.sum()))
    values = [(f"foreground at a threshold of {threshold / 255:.2f}", share(part))]
    voxels = int(np.prod(maps.shape, dtype=np.int64))
    if count_objects and voxels <= LARGEST_TO_LABEL:
        objects = Touching()
        for plane in planes_of(maps):
            objects.number(to_8_bits(plane) >= threshold)
        density = objects.count / voxels * 1e6
        values.append(
            (
                f"objects at {threshold / 255:.2f} (voxels that touch, 3-D)",
                f"{objects.count}, {density:.3g} in a million voxels",
            )
        )
    if measured is not None:
        told = "seams show" if measured.show else "no seam shows"
        elsewhere = f"{measured.ratio:.2f} ({told}; 99 in 100 other rows and columns: below {measured.usual:.2f})"
        values.append(("steps across the edges of tiles, over those elsewhere", elsewhere))
    return values


def _facts(
    folder: Path, maps: Volume, state: RunState | None, events: list[Event], price: float | None
) -> list[tuple[str, str]]:
    began = events[0].values if events and events[0].name == "began" else {}
    images = next((event.values for event in events if event.name == "images"), {})
    ended = events[-1].values if events and events[-1].name == "ended" else {}
    seconds = seconds_spent(read_events(prediction_events(folder)))
    voxels = float(np.prod(maps.shape, dtype=np.float64)) / 1e6
    settings = began.get("settings", {})
    facts = [
        ("images", Path(str(images["path"])).name if "path" in images else None),
        ("type of the images", images.get("type")),
        ("engine, device, precision", began.get("engine")),
        ("machine", state.host if state else None),
        ("nets", ", ".join(began.get("nets", [])) or None),
        ("augmentation (--augspeed)", settings.get("augspeed")),
        ("exact mode", settings.get("exact")),
        ("packages", images.get("packages")),
        ("took", duration(seconds) if seconds else None),
        ("a million voxels took", duration(seconds / voxels) if seconds else None),
        ("a million voxels cost", f"{seconds / 3600 * price / voxels:.3g}" if seconds and price else None),
        ("most memory", size(ended["memory"]) if "memory" in ended else None),
        ("release", f"cdeep3m {began['version']}" if "version" in began else None),
    ]
    return [(name, str(value)) for name, value in facts if value is not None]


def _models(events: list[Event]) -> list[dict[str, Any]]:
    return [
        {"net": model["net"], "file": model["file"], "iteration": model.get("iteration"), "sha256": model["sha256"]}
        for model in (event.values for event in events if event.name == "model")
    ]


def _knows_training(events: list[Event]) -> bool:
    return any(event.values.get("trained_on", {}).get("histogram") for event in events if event.name == "model")
