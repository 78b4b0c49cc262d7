"""caffetrain.sh: train one net of a training's folder."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, rules_from, run
from cdeep3m.cli.engine_options import add_engine_options, container_options
from cdeep3m.cli.training_options import add_solver_options
from cdeep3m.training.by_options import learning_from, settings_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

DESCRIPTION = """\
Train the net MODEL (as in 1fm) of TRAINOUT, a folder that CreateTrainJob.m made.

What the training says goes to TRAINOUT/MODEL/log/out.log. With Caffe's tools --gpu all is their own: one training on
all GPUs. The same command goes on where an interrupted one stopped.
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
    from cdeep3m.engines.base import ALL_GPUS, CPU, ParallelEngine
    from cdeep3m.engines.select import select_engine
    from cdeep3m.training.folder import keep_training_files
    from cdeep3m.training.run import NetTraining, prepare_folder, train_net

    settings = settings_of(options)
    folder = options.out / options.model
    rules = rules_from(options)
    if not rules.is_exact:
        keep_training_files(options.out)
    prepare_folder(folder, settings)
    engine, gpus = select_engine(options.engine, gpu=options.gpu, **container_options(options))
    all_at_once = options.gpu == "all" and isinstance(engine, ParallelEngine) and gpus != [CPU]
    gpu = ALL_GPUS if all_at_once else gpus[0]
    print(f"Engine: {engine.name}, {engine.device(gpu)}, {options.precision}", file=sys.stderr)
    job = NetTraining(
        folder=folder,
        settings=settings,
        gpu=gpu,
        rules=rules,
        precision=options.precision,
        learning=learning_from(options),
    )
    with ProgressDisplay("iteration") as report, _with_status_of_the_tool():
        train_net(job, engine, report=report)


@contextmanager
def _with_status_of_the_tool() -> Iterator[None]:
    """Give an error of Caffe's tool the exit status that the tool had."""
    from cdeep3m.errors import EngineError

    try:
        yield
    except EngineError as error:
        error.exit_code = error.status or error.exit_code
        raise


if __name__ == "__main__":
    sys.exit(main())
