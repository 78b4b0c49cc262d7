"""`cdeep3m train`: from images and labels to trained nets, without files in between."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, rules_from, run
from cdeep3m.cli.create_train_job import add_net_options, like_of, make_of
from cdeep3m.cli.engine_options import add_engine_options
from cdeep3m.cli.preprocess_training_data import confirm
from cdeep3m.cli.training_options import add_run_options, add_solver_options
from cdeep3m.cli.trainworker import request_of, train_with

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

DESCRIPTION = """\
Train nets on IMAGES and their LABELS.

  IMAGES  folder of .png or .tif images, or one .tif or .h5 stack
  LABELS  the same planes: 0 background, any one other value foreground
  OUT     folder of the training, the MODEL of `cdeep3m predict`

All 16 orientations of the volume are trained on. The same command goes on where an interrupted one stopped.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("cdeep3m train", exact=True, description=DESCRIPTION)
    add_run_options(parser)
    add_solver_options(parser)
    add_engine_options(parser)
    add_net_options(parser)
    parser.add_argument(
        "--validation",
        nargs=2,
        type=Path,
        metavar=("IMAGES", "LABELS"),
        help="volume to test on during the training (default: the training volume)",
    )
    parser.add_argument("images", type=Path, metavar="IMAGES")
    parser.add_argument("labels", type=Path, metavar="LABELS")
    parser.add_argument("out", type=Path, metavar="OUT")
    options = parser.parse(argv)
    return run(lambda: _train(options), debug=options.debug)


def _train(options: argparse.Namespace) -> None:
    from cdeep3m.training.data import labelled_volume, load_labelled_volume, training_variants
    from cdeep3m.training.folder import create_run

    request = request_of(options)
    load = partial(load_labelled_volume, rules=rules_from(options), confirm=confirm)
    training = training_variants(*load(options.images, options.labels))
    validation = [labelled_volume(*load(*options.validation))] if options.validation else training[:1]
    create_run(options.out, make=make_of(options), like=like_of(options, request.retrain))
    train_with(options, request, training=training, validation=validation)
    print(f"Training has completed. Results are stored in {options.out}")


if __name__ == "__main__":
    sys.exit(main())
