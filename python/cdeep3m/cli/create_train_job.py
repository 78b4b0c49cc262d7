"""CreateTrainJob.m: the folder of a training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run

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
    parser = CommandParser("CreateTrainJob.m", description=DESCRIPTION)
    add_width_option(parser)
    parser.add_argument("augmented", type=Path, metavar="AUG")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("validation", type=Path, metavar="VALIDATION")
    options = parser.parse(argv)
    return run(lambda: _create(options), debug=options.debug)


def add_width_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that makes compact nets."""
    parser.add_argument(
        "--width",
        type=int,
        default=None,
        metavar="N",
        help="divide the nets' numbers of channels by N: smaller, faster nets of the same make (default: 1)",
    )


def _create(options: argparse.Namespace) -> None:
    from cdeep3m.trainjob import create_train_job

    create_train_job(options.augmented, options.out, options.validation, width=options.width or 1)
    print(f"Train job created in {options.out}")


if __name__ == "__main__":
    sys.exit(main())
