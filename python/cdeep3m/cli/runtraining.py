"""runtraining.sh: train the nets on augmented training data."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, rules_from, run
from cdeep3m.cli.create_train_job import add_net_options, like_of
from cdeep3m.cli.engine_options import add_engine_options
from cdeep3m.cli.report import add_report_option, report_at_end
from cdeep3m.cli.training_options import add_augmentation_options, add_run_options, add_solver_options
from cdeep3m.cli.trainworker import request_of, train_with
from cdeep3m.training.by_options import make_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

DESCRIPTION = """\
Train the nets 1fm, 3fm and 5fm.

  AUGTRAIN  folder with the 16 .h5 files a volume that PreprocessTrainingData.m made
  TRAINOUT  folder of the training: <net>/trainedmodel gets the models

The same command goes on where an interrupted one stopped.
"""

EXIT_CODES = """\
exit status: 0 done; 1 wrong usage; 2 TRAINOUT could not be made (see CreateTrainJob.m); 3 --retrain is no directory;
4 training failed
"""

BAD_JOB = 2
BAD_RETRAIN = 3
TRAINING_FAILED = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse(argv)
    return run(lambda: _run(options), debug=options.debug)


def _parser() -> CommandParser:
    parser = CommandParser("runtraining.sh", exact=True, description=DESCRIPTION, epilog=EXIT_CODES)
    parser.fewest_of_edition_2, parser.status_of_edition_2 = 1, BAD_JOB  # it goes on without arguments (defect 24)
    add_run_options(parser)
    add_solver_options(parser)
    add_augmentation_options(parser)
    add_engine_options(parser)
    add_report_option(parser)
    add_net_options(parser)
    parser.add_argument(
        "--validation_dir", type=Path, metavar="DIR", help="folder made by PreprocessValidation.m (default: AUGTRAIN)"
    )
    parser.add_argument("augmented", type=Path, metavar="AUGTRAIN")
    parser.add_argument("out", type=Path, metavar="TRAINOUT")
    return parser


def _run(options: argparse.Namespace) -> None:
    from cdeep3m.errors import InputError, failing_with
    from cdeep3m.nets.prototxts import NETS
    from cdeep3m.training.run import check_retrain

    request = request_of(options, planes=0)
    unknown = [net for net in request.nets if net not in NETS]
    if unknown:
        raise InputError(f"no net is called {', '.join(unknown)}; choose from {', '.join(NETS)}")
    with failing_with(BAD_RETRAIN):
        check_retrain(request.retrain)
    with failing_with(BAD_JOB):
        planes = _create(options, request.retrain)
    with failing_with(TRAINING_FAILED):
        train_with(options, request_of(options, planes=planes))
    report_at_end(options)
    print(f"Training has completed. Results are stored in {options.out}")


def _create(options: argparse.Namespace, retrain: Path | None) -> int:
    """Make TRAINOUT; with --retrain and no --width, with the nets that were trained before. Return how many planes."""
    from cdeep3m.runs.provenance import keep_record, trained_on, warn_of_other_images
    from cdeep3m.training.folder import check_training_files, create_run_over_files
    from cdeep3m.training.run import ignore_voxels_of

    planes = check_training_files(options.augmented)
    record = trained_on(options.augmented)
    make, like = make_of(options), like_of(options, retrain)
    rules = replace(rules_from(options), paths_as_given=False)  # nets trained here have to find them
    create_run_over_files(options.augmented, options.out, options.validation_dir, make=make, like=like, rules=rules)
    warn_of_other_images(retrain, record)
    if record:
        keep_record(options.out, record)
        if record.ignores_voxels:
            ignore_voxels_of(options.out)
    return planes


if __name__ == "__main__":
    sys.exit(main())
