"""`cdeep3m train`: from images and labels to trained nets, without files in between."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run
from cdeep3m.cli.create_train_job import add_net_options, like_of, make_of
from cdeep3m.cli.engine_options import add_engine_options
from cdeep3m.cli.preprocess_training_data import confirm
from cdeep3m.cli.report import add_report_option, report_at_end
from cdeep3m.cli.training_options import add_run_options, add_solver_options
from cdeep3m.cli.trainworker import request_of, train_with
from cdeep3m.cli.volume_options import add_selection_options, path_or_address
from cdeep3m.rules import rules_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

DESCRIPTION = """\
Train nets on IMAGES and their LABELS.

  IMAGES  folder of .png or .tif images; .tif, .h5 or .mrc; .zarr, .n5 or precomputed:// folder, or its s3:// or
          https:// address; IMAGES::NAME names a dataset inside
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
    add_report_option(parser)
    add_net_options(parser)
    parser.add_argument(
        "--validation",
        nargs=2,
        metavar=("IMAGES", "LABELS"),
        help="volume to test on during the training (default: the training volume)",
    )
    add_selection_options(parser)
    parser.add_argument("images", metavar="IMAGES")
    parser.add_argument("labels", metavar="LABELS")
    parser.add_argument("out", type=Path, metavar="OUT")
    options = parser.parse(argv)
    return run(lambda: _train(options), debug=options.debug)


def _train(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from cdeep3m.nets.prototxts import NETS
    from cdeep3m.system.files import demand_apart
    from cdeep3m.training.data import labelled_volume, load_labelled_volume, training_range, training_variants
    from cdeep3m.training.folder import create_run
    from cdeep3m.volumes import open_volume

    request_of(options, planes=0)  # tells of wrong settings before images are read
    pairs = [
        (path_or_address(images, options), path_or_address(labels, options, labels=True))
        for images, labels in [(options.images, options.labels), *([options.validation] if options.validation else [])]
    ]
    demand_apart(options.out, [path for pair in pairs for path in pair], below=NETS)
    load = partial(load_labelled_volume, rules=rules_of(exact=options.exact), confirm=confirm)
    training = training_variants(*load(*pairs[0]))
    place = open_volume(pairs[0][0], rules=rules_of(exact=options.exact)).placement
    training = [replace(volume, placement=place) for volume in training]
    validation = [labelled_volume(*load(*pairs[1]))] if options.validation else training[:1]
    request = request_of(options, planes=training[0].data.shape[-1])
    noted = training_range(*pairs[0], training[0].data)
    create_run(options.out, make=make_of(options), like=like_of(options, request.retrain), images=noted)
    train_with(options, request, training=training, validation=validation)
    report_at_end(options)
    print(f"Training has completed. Results are stored in {options.out}")


if __name__ == "__main__":
    sys.exit(main())
