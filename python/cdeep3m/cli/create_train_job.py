"""CreateTrainJob.m: the folder of a training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, rules_from, run
from cdeep3m.training.by_options import make_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

DESCRIPTION = """\
Make the folder of a training, ready for trainworker.sh.

  AUG         folder with the 16 .h5 files that PreprocessTrainingData.m made
  OUT         folder to make
  VALIDATION  folder with the .h5 file that PreprocessValidation.m made
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("CreateTrainJob.m", exact=True, description=DESCRIPTION)
    add_net_options(parser)
    parser.add_argument("augmented", type=Path, metavar="AUG")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("validation", type=Path, metavar="VALIDATION")
    options = parser.parse(argv)
    return run(lambda: _create(options), debug=options.debug)


def add_net_options(parser: argparse.ArgumentParser) -> None:
    """Add what makes other nets than DeepEM3D's."""
    parser.add_argument(
        "--width",
        type=int,
        metavar="N",
        help="divide the nets' numbers of channels by N: smaller, faster nets of the same make (default: 1)",
    )
    parser.add_argument(
        "--least_channels",
        type=int,
        metavar="N",
        help="channels that --width leaves at least, where there are so many (default: 2)",
    )
    parser.add_argument(
        "--patch_side", type=int, metavar="N", help="side of the training patches, a multiple of 16 (default: 320)"
    )
    parser.add_argument(
        "--bn_fraction",
        type=float,
        metavar="F",
        help="memory of BatchNorm's running statistics; for short trainings, as in 0.95 (default: 0.999)",
    )
    parser.add_argument("--batch", type=int, metavar="N", help="patches in a batch of the training (default: 5)")
    parser.add_argument(
        "--initialisation",
        metavar="NAME",
        help="what convolutions are filled with before they learn: msra or xavier for all of them (default: original, "
        "as in DeepEM3D's nets)",
    )
    parser.add_argument(
        "--binning",
        type=int,
        metavar="N",
        help="2: average squares of 2 x 2 pixels before the net looks, and enlarge its scores: a quarter of the work, "
        "and twice the view, where what is sought is large (default: 1)",
    )


def add_classes_option(parser: argparse.ArgumentParser) -> None:
    """Add --classes."""
    parser.add_argument(
        "--classes",
        type=int,
        metavar="N",
        help="classes in the labels, numbered from 0, background (default: 2, where any number but 0 is foreground)",
    )


def like_of(options: argparse.Namespace, retrain: Path | None) -> Path | None:
    """Return the training whose nets are taken over: the one to go on from, unless other nets are asked for."""
    return retrain if options.width is None and options.binning is None else None


def _create(options: argparse.Namespace) -> None:
    from cdeep3m.training.folder import create_run_over_files

    rules = rules_from(options)
    create_run_over_files(options.augmented, options.out, options.validation, make=make_of(options), rules=rules)
    print(f"Train job created in {options.out}")


if __name__ == "__main__":
    sys.exit(main())
