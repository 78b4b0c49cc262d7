"""`cdeep3m predict`: probability maps of a volume with every net of a trained model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run
from cdeep3m.cli.runprediction import EXIT_CODES, add_prediction_options, predict_with
from cdeep3m.cli.volume_options import path_or_address

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from cdeep3m.runs.trained import TrainedRun

DESCRIPTION = """\
Predict IMAGES with a trained MODEL; write probability maps.

  MODEL   folder of a training (`cdeep3m train`, runtraining.sh) or of a released CDeep3M model
  IMAGES  folder of .png or .tif images; .tif, .h5 or .mrc; .zarr, .n5 or precomputed:// folder, or its s3:// or
          https:// address; IMAGES::NAME names a dataset inside
  OUT     gets one folder a net, and ensembled/Segmented_0001.png ... (--format: Segmented.zarr ...): the
          average of the nets; of a model of several classes, class_1, class_2 ... with that for each

The same command goes on where an interrupted one stopped.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("cdeep3m predict", exact=True, description=DESCRIPTION, epilog=EXIT_CODES)
    add_prediction_options(parser)
    parser.add_argument("--models", metavar="LIST", help="nets to use, such as 1fm,3fm (default: all that are trained)")
    parser.add_argument(
        "--class",
        dest="label",
        type=int,
        metavar="N",
        help="class whose probability the maps show, 0 being background (default: 1; of a model of several classes all "
        "but background, each in a folder of its own)",
    )
    parser.add_argument("trained", type=Path, metavar="MODEL")
    parser.add_argument("images", metavar="IMAGES")
    parser.add_argument("out", type=Path, metavar="OUT")
    options = parser.parse(argv)
    return run(lambda: _predict(options), debug=options.debug)


def _predict(options: argparse.Namespace) -> int:
    from argparse import Namespace

    from cdeep3m.runs.trained import FEWEST_CLASSES, TrainedRun, nets_named

    trained = TrainedRun(options.trained)
    nets = nets_named(options.models) if options.models else tuple(trained.default_nets())
    classes = _classes(trained, nets) if options.label is None else FEWEST_CLASSES
    if classes <= FEWEST_CLASSES:
        return predict_with(options, nets=nets)
    folders = [options.out / f"class_{label}" for label in range(1, classes)]
    for label, folder in enumerate(folders, start=1):
        chosen = {"label": label, "out": folder, "overlays": False}
        if status := predict_with(Namespace(**{**vars(options), **chosen}), nets=nets):
            return status
    if options.overlays and all((folder / "DONE").exists() for folder in folders):
        _overlay(options, [folder / "ensembled" for folder in folders])
    return 0


def _overlay(options: argparse.Namespace, maps: Sequence[Path]) -> None:
    from cdeep3m.cli.runprediction import OVERLAY_FAILED
    from cdeep3m.errors import failing_with
    from cdeep3m.prediction.run import images_of
    from cdeep3m.report.overlay import class_overlays

    with failing_with(OVERLAY_FAILED):
        images = images_of(path_or_address(options.images, options))
        class_overlays(maps, images, options.out / "overlay")


def _classes(trained: TrainedRun, nets: tuple[str, ...]) -> int:
    """Return how many classes the nets tell apart; of what cannot be read, the prediction itself will tell."""
    from cdeep3m.errors import CDeep3MError, InputError
    from cdeep3m.runs.trained import FEWEST_CLASSES

    try:
        found = trained.classes(nets)
    except CDeep3MError:
        return FEWEST_CLASSES
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{net} {classes}" for net, classes in found.items())
        raise InputError(f"the nets tell different numbers of classes apart ({listed}): choose some with --models")
    return next(iter(found.values()))


if __name__ == "__main__":
    sys.exit(main())
