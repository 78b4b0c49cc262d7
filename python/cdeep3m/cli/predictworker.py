"""predictworker.sh: the second stage of a prediction over files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run
from cdeep3m.cli.engine_options import add_engine_options, container_options

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
Predict the packages of the prediction in OUT as preprocessworker.sh prepares them.

exit status: 0 done; 1 wrong usage; 2 predict.config cannot be read; 4 predicting failed; 7 package_processing_info.txt
is missing; 11 KILL.REQUEST found; 99 another stage failed (see OUT/ERROR)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("predictworker.sh", description=DESCRIPTION)
    add_engine_options(parser)
    parser.add_argument(
        "--waitinterval", type=float, default=60, metavar="S", help="seconds between looks (default: 60)"
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    options = parser.parse(argv)

    def work() -> None:
        from cdeep3m.engines.select import select_engine
        from cdeep3m.errors import failing_with
        from cdeep3m.prediction.over_files.stages import PREDICTION_FAILED, FileRun, predict_worker

        opened = FileRun.open(options.out)
        with opened.run.recording_errors(), failing_with(PREDICTION_FAILED):
            engine, gpus = select_engine(options.engine, gpu=options.gpu, **container_options(options))
        print(f"Engine: {engine.name}, {engine.device(gpus[0])}, float32", file=sys.stderr)
        predict_worker(opened, engine, gpus=gpus, wait=options.waitinterval)

    return run(work, debug=options.debug)


if __name__ == "__main__":
    sys.exit(main())
