"""trainworker.sh: train the nets of a folder that CreateTrainJob made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, rules_from, run
from cdeep3m.cli.engine_options import add_engine_options, container_options
from cdeep3m.cli.training_options import add_augmentation_options, add_run_options, add_solver_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from cdeep3m.engines.base import Engine, LabelledVolume
    from cdeep3m.training.judging import Judge
    from cdeep3m.training.run import TrainRequest

DESCRIPTION = """\
Train the nets of TRAINOUT, a folder that CreateTrainJob.m made, one after another, or one on each GPU with Caffe's
tools. When one fails the others are trained all the same.

The same command goes on where an interrupted one stopped.
"""

EXIT_CODES = """\
exit status: 0 done; 1 wrong usage, or a training failed; 2 TRAINOUT has no folder for a net; 4 the engine cannot run
here (no GPU, where it needs one)
"""

NO_ENGINE = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("trainworker.sh", exact=True, description=DESCRIPTION, epilog=EXIT_CODES)
    add_run_options(parser)
    add_solver_options(parser)
    add_augmentation_options(parser)
    add_engine_options(parser)
    parser.add_argument("out", type=Path, metavar="TRAINOUT")
    options = parser.parse(argv)
    return run(lambda: _train(options), debug=options.debug)


def _train(options: argparse.Namespace) -> None:
    from cdeep3m.training.folder import listed_planes

    train_with(options, request_of(options, planes=listed_planes(options.out)))


def request_of(options: argparse.Namespace, *, planes: int) -> TrainRequest:
    """Return what the options ask for, of training volumes of so many planes (0: not known)."""
    from cdeep3m.training import by_options

    return by_options.request_of(options, planes=planes, rules=rules_from(options))


def train_with(options: argparse.Namespace, request: TrainRequest) -> None:
    """Choose the engine, say what runs where, and train on the files that the run lists."""
    from dataclasses import replace

    engine, gpus = engine_of(options)
    train_by(replace(request, gpus=tuple(gpus)), engine)


def engine_of(options: argparse.Namespace) -> tuple[Engine, list[int]]:
    """Return the engine and its GPUs; say what runs where."""
    from cdeep3m.engines.select import select_engine
    from cdeep3m.errors import failing_with

    with failing_with(NO_ENGINE):
        engine, gpus = select_engine(options.engine, gpu=options.gpu, **container_options(options))
    print(f"Engine: {engine.name}, {engine.device(gpus[0])}, {options.precision}", file=sys.stderr)
    return engine, gpus


def train_by(
    request: TrainRequest,
    engine: Engine,
    *,
    training: Sequence[LabelledVolume] = (),
    validation: Sequence[LabelledVolume] = (),
    judge: Judge | None = None,
) -> None:
    """Train with a bar that tells how far it is (on the volumes in memory, where there are any)."""
    from cdeep3m.cli.progress import ProgressDisplay
    from cdeep3m.training.run import train

    with ProgressDisplay("iteration") as report:
        train(request, engine, report=report, training=training, validation=validation, judge=judge)


if __name__ == "__main__":
    sys.exit(main())
