"""`cdeep3m score`: how well maps, or labelled objects, agree with ground truth."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdeep3m.cli.common import CommandParser, run
from cdeep3m.cli.volume_options import add_selection_options, address_of
from cdeep3m.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from cdeep3m.evaluation.object_scores import ObjectScores
    from cdeep3m.evaluation.scores import Scores
    from cdeep3m.evaluation.scoring import MapScores
    from cdeep3m.volumes.address import Address

DESCRIPTION = """\
Score MAPS against LABELS, voxel by voxel and object by object, in all and plane by plane.

  MAPS    8-bit probability maps, or the folder of a prediction (then its ensemble; of several classes, each of them)
  LABELS  ground truth of the same voxels: 0 background, any one other value foreground (see --class and --ignore); of
          several classes their numbers
"""

EPILOG = """\
Objects are foreground voxels that touch, diagonally as well; two are one where they share more than half of their
union. Variation of information is in bits; it and the adapted Rand error leave out the background of the ground truth.
"""

NAMES = ("precision", "recall", "f1", "iou")
"""What is told of every plane, and of every class."""
TITLES = ("threshold", "precision", "recall", "F1", "IoU", "average precision", "object F1")
"""Columns of the table of several classes."""
WORST = 3
"""So many planes are named in the table."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("cdeep3m score", description=DESCRIPTION, epilog=EPILOG)
    cut = parser.add_mutually_exclusive_group()
    cut.add_argument(
        "--threshold",
        default="0.5",
        metavar="T|best",
        help="lowest probability of the foreground, 0 to 1; best: the one with the highest F1 on these very labels",
    )
    cut.add_argument(
        "--threshold-from",
        nargs=2,
        metavar=("MAPS", "LABELS"),
        help="take the threshold with the highest F1 on other maps and labels, which makes the scores honest",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="V",
        help="leave out pixels no further than V from a border of the ground truth, in their plane (default: 0)",
    )
    parser.add_argument(
        "--roi",
        metavar="BOX|VOLUME",
        help="score inside a box z,y,x such as 0:5,100:400,: (from 0, ends excluded), or where a volume is not 0",
    )
    parser.add_argument("--class", dest="label", type=int, metavar="N", help="label that is foreground, all others not")
    parser.add_argument(
        "--ignore", type=int, metavar="N", help="label of voxels that nobody has labelled, which do not count"
    )
    parser.add_argument(
        "--instances", action="store_true", help="both are labelled objects, a number each, 0 for background"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the scores of every plane")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw precision, recall and F1 as a .png file")
    add_selection_options(parser, roi=False)
    parser.add_argument("maps", metavar="MAPS")
    parser.add_argument("labels", metavar="LABELS")
    options = parser.parse(argv)

    def find() -> None:
        options.maps, options.labels = _addressed(options, options.maps, options.labels)
        options.threshold_from = options.threshold_from and _addressed(options, *options.threshold_from)
        (_instances if options.instances else _maps)(options)

    return run(find, debug=options.debug)


def _addressed(options: argparse.Namespace, maps: str, labels: str) -> tuple[str | Address, str | Address]:
    """Return maps and their labels as the options of volumes choose them."""
    is_labels = not options.instances
    return address_of(maps, options, roi=False), address_of(labels, options, labels=is_labels, roi=False)


def _instances(options: argparse.Namespace) -> None:
    from cdeep3m.evaluation.scoring import score_instances

    given = {"csv": options.csv, "picture": options.picture, "threshold-from": options.threshold_from}
    given |= {"class": options.label is not None, "ignore": options.ignore is not None}
    unused = [name for name, value in {**given, "tolerance": options.tolerance}.items() if value]
    if unused:
        raise InputError(f"--{unused[0]} is for probability maps: leave it out, or leave --instances out")
    scores = score_instances(options.maps, options.labels, roi=options.roi)
    values = {"objects": _objects(scores)}
    print(json.dumps(_finite(values), indent=1) if options.json else _object_lines(scores))


def _maps(options: argparse.Namespace) -> None:
    from cdeep3m.evaluation.scoring import class_folders
    from cdeep3m.system.files import demand_apart

    for out in filter(None, (options.csv, options.picture)):
        demand_apart(out, [options.maps, options.labels, *(options.threshold_from or ())])
    folders = class_folders(options.maps)
    if folders and options.label is None:
        _classes(options, tuple(folders))
        return
    found = _scored(options, options.label)
    if options.csv:
        from cdeep3m.system.files import write_text

        write_text(options.csv, _csv({0: found}, several=False))
    if options.picture:
        from cdeep3m.report.plots import plot_scores, save_png

        save_png(plot_scores(found.total, threshold=found.threshold), options.picture)
    print(json.dumps(_finite(as_json(found)), indent=1) if options.json else _table(found))
    if found.chosen_here:
        print("The threshold was chosen on the labels that are scored: expect less elsewhere", file=sys.stderr)


def _classes(options: argparse.Namespace, labels: tuple[int, ...]) -> None:
    """Score the maps of each class against all others, and tell the means."""
    from cdeep3m.evaluation.scoring import classes_in

    if options.picture:
        raise InputError("--picture draws one class: choose it with --class, as in --class 1")
    lacking = [each for each in classes_in(options.labels) if each not in labels and each != options.ignore]
    found = {label: _scored(options, label) for label in labels}
    if options.csv:
        from cdeep3m.system.files import write_text

        write_text(options.csv, _csv(found, several=True))
    values = {"mean": _means(found), "classes": {str(label): as_json(each) for label, each in found.items()}}
    print(json.dumps(_finite(values), indent=1) if options.json else _class_table(found))
    if lacking:
        numbers = ", ".join(map(str, lacking))
        print(
            f"Warning: the labels hold {numbers}, of which there are no maps: it counts as background", file=sys.stderr
        )
    if any(each.chosen_here for each in found.values()):
        print("The thresholds were chosen on the labels that are scored: expect less elsewhere", file=sys.stderr)


def _scored(options: argparse.Namespace, label: int | None) -> MapScores:
    """Score the maps of a class, or of foreground."""
    from cdeep3m.evaluation.scoring import class_folder, score_maps

    return score_maps(
        options.maps if label is None else class_folder(options.maps, label),
        options.labels,
        threshold=_threshold(options, label),
        tolerance=options.tolerance,
        roi=options.roi,
        label=label,
        ignore=options.ignore,
    )


def _threshold(options: argparse.Namespace, label: int | None) -> int | None:
    """Return the lowest 8-bit value of the foreground that the options ask for; None for the best one here."""
    if options.threshold_from:
        from cdeep3m.evaluation.scores import best_threshold, count_volumes
        from cdeep3m.evaluation.scoring import maps_in

        maps, labels = options.threshold_from
        if label is not None or options.ignore is not None:
            from cdeep3m.evaluation.scoring import class_folder, score_maps

            chosen = maps if label is None else class_folder(maps, label)
            kinds = {"label": label, "ignore": options.ignore}
            return score_maps(chosen, labels, threshold=None, objects=False, **kinds).threshold
        return best_threshold(count_volumes(maps_in(maps), labels))
    return None if options.threshold == "best" else threshold_of(options.threshold, expected=", or best")


def threshold_of(text: str, *, expected: str = "") -> int:
    """Return the lowest 8-bit value of at least the probability that a user gave, which may be rounded to 3 places.

    Raises
    ------
    InputError
        It is none.

    Examples
    --------
    >>> threshold_of("0.5"), threshold_of("0.706"), threshold_of("1")
    (128, 180, 255)
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise InputError(f"--threshold {text}: expected a probability from 0 to 1{expected}")
    return math.ceil(round(value * 255 - 0.13, 6))


def as_json(found: MapScores) -> dict[str, Any]:
    """Return the scores as `--json` prints them; docs/user-guide.md describes the keys."""
    curve = found.curve
    return {
        "threshold": found.threshold / 255,
        "threshold_chosen_here": found.chosen_here,
        "best_threshold_here": found.best / 255,
        "voxels": int(found.total.sum()),
        **_scores(found.scores),
        "average_precision": curve.average_precision,
        "objects": _objects(found.objects) if found.objects else None,
        "planes": [_scores(plane) for plane in found.planes],
        "curve": {
            "threshold": [value / 255 for value in curve.thresholds.tolist()],
            "precision": curve.precision.tolist(),
            "recall": curve.recall.tolist(),
        },
    }


def _scores(scores: Scores) -> dict[str, float]:
    return {name: getattr(scores, name) for name in NAMES}


def _objects(scores: ObjectScores) -> dict[str, float]:
    names = ("true", "found", "matched", "f1", "rand_error", "variation_of_information", "joined", "split")
    return {name: getattr(scores, name) for name in names}


def _finite(values: Any) -> Any:
    """Return values with null for what is not defined, as JSON knows no nan."""
    if isinstance(values, dict):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def _csv(found: Mapping[int, MapScores], *, several: bool) -> str:
    """Return the scores of every plane, after its class where there are several."""
    text = io.StringIO()
    rows = [
        [*([label] if several else []), z + 1, *(getattr(plane, name) for name in NAMES)]
        for label, each in found.items()
        for z, plane in enumerate(each.planes)
    ]
    titles = [*(["class"] if several else []), "plane", *NAMES]
    csv.writer(text, lineterminator="\n").writerows([titles, *rows])
    return text.getvalue()


def _means(found: Mapping[int, MapScores]) -> dict[str, float]:
    """Return the means over the classes; one whose score is not defined is left out."""
    values = {name: [getattr(each.scores, name) for each in found.values()] for name in NAMES}
    known = {name: [value for value in of_classes if math.isfinite(value)] for name, of_classes in values.items()}
    return {name: sum(of_classes) / len(of_classes) if of_classes else math.nan for name, of_classes in known.items()}


def _class_table(found: Mapping[int, MapScores]) -> str:
    """Return a row for each class, and one of the means."""
    lines = ["class  " + "  ".join(f"{title:>9}" for title in TITLES)]
    for label, each in found.items():
        objects = each.objects.f1 if each.objects else math.nan
        values = (each.threshold / 255, *(getattr(each.scores, name) for name in NAMES))
        lines.append(_class_row(str(label), (*values, each.curve.average_precision, objects)))
    lines.append(_class_row("mean", (math.nan, *_means(found).values(), math.nan, math.nan)))
    return "\n".join(lines)


def _class_row(name: str, values: Sequence[float]) -> str:
    cells = [
        f"{value:{max(len(title), 9)}.3f}" if math.isfinite(value) else " " * max(len(title), 9)
        for title, value in zip(TITLES, values, strict=True)
    ]
    return f"{name:5}  {'  '.join(cells)}".rstrip()


def _table(found: MapScores) -> str:
    scores, curve = found.scores, found.curve
    lines = [
        f"threshold          {found.threshold / 255:.3f} ({found.threshold} of 255)",
        f"precision          {scores.precision:.3f}",
        f"recall             {scores.recall:.3f}",
        f"F1                 {scores.f1:.3f}",
        f"IoU                {scores.iou:.3f}",
        f"average precision  {curve.average_precision:.3f}",
        f"best threshold     {found.best / 255:.3f} on these labels",
    ]
    if found.objects:
        lines.append(_object_lines(found.objects))
    planes = sorted((plane.f1, z) for z, plane in enumerate(found.planes, start=1) if math.isfinite(plane.f1))
    if len(planes) > 1:
        worst = ", ".join(f"{z} ({f1:.3f})" for f1, z in planes[:WORST])
        lines.append(f"lowest F1          in planes {worst}; --csv FILE gives all {len(found.planes)}")
    return "\n".join(lines)


def _object_lines(scores: ObjectScores) -> str:
    return "\n".join(
        [
            f"objects            {scores.true} true, {scores.found} found, {scores.matched} of them right",
            f"object F1          {scores.f1:.3f}",
            f"adapted Rand error {scores.rand_error:.3f}",
            f"variation of inf.  {scores.variation_of_information:.3f} bits "
            f"(joined {scores.joined:.3f}, split {scores.split:.3f})",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
