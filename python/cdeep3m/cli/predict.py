"""`cdeep3m predict`: probability maps of a volume with every net of a trained model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run
from cdeep3m.cli.runprediction import EXIT_CODES, add_prediction_options, predict_with

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

DESCRIPTION = """\
Predict IMAGES with a trained MODEL; write probability maps.

  MODEL   folder of a training (`cdeep3m train`, runtraining.sh) or of a released CDeep3M model
  IMAGES  folder of .png or .tif images; .tif, .h5 or .mrc; .zarr, .n5 or precomputed:// folder, or its s3:// or
          https:// address; IMAGES::NAME names a dataset inside
  OUT     gets one folder a net, and ensembled/Segmented_0001.png ... (--format: Segmented.zarr ...): the
          average of the nets

The same command goes on where an interrupted one stopped.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("cdeep3m predict", exact=True, description=DESCRIPTION, epilog=EXIT_CODES)
    add_prediction_options(parser)
    parser.add_argument("--models", metavar="LIST", help="nets to use, such as 1fm,3fm (default: all that are trained)")
    parser.add_argument("trained", type=Path, metavar="MODEL")
    parser.add_argument("images", metavar="IMAGES")
    parser.add_argument("out", type=Path, metavar="OUT")
    options = parser.parse(argv)
    return run(lambda: _predict(options), debug=options.debug)


def _predict(options: argparse.Namespace) -> int:
    from cdeep3m.runs.trained import TrainedRun

    nets = options.models.split(",") if options.models else TrainedRun(options.trained).default_nets()
    return predict_with(options, nets=tuple(nets))


if __name__ == "__main__":
    sys.exit(main())
