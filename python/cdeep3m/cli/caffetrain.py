"""caffetrain.sh: train one net of a training's folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, rules_from, run
from cdeep3m.cli.engine_options import add_engine_options, container_options
from cdeep3m.cli.training_options import add_solver_options, settings_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

DESCRIPTION = """\
Train the net MODEL (as in 1fm) of TRAINOUT, a folder that CreateTrainJob.m made.

What the training says goes to TRAINOUT/MODEL/log/out.log. The same command goes on where an interrupted one stopped.
"""

EXIT_CODES = """\
exit status: 0 done; 1 wrong usage; 2 TRAINOUT/MODEL/solver.prototxt is missing; 3 log/ or 4 trainedmodel/ cannot be
made; otherwise that of the engine
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("caffetrain.sh", exact=True, description=DESCRIPTION, epilog=EXIT_CODES)
    add_solver_options(parser)
    add_engine_options(parser)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("out", type=Path, metavar="TRAINOUT")
    options = parser.parse(argv)
    return run(lambda: _train(options), debug=options.debug)


def _train(options: argparse.Namespace) -> None:
    from cdeep3m.cli.progress import ProgressDisplay
    from cdeep3m.engines.select import select_engine
    from cdeep3m.training.run import NetTraining, prepare_folder, train_net

    settings = settings_of(options)
    folder = options.out / options.model
    prepare_folder(folder, settings)
    engine, gpus = select_engine(options.engine, gpu=options.gpu, **container_options(options))
    print(f"Engine: {engine.name}, {engine.device(gpus[0])}, float32", file=sys.stderr)
    job = NetTraining(folder=folder, settings=settings, gpu=gpus[0], rules=rules_from(options))
    with ProgressDisplay("iteration") as report:
        train_net(job, engine, report=report)


if __name__ == "__main__":
    sys.exit(main())
