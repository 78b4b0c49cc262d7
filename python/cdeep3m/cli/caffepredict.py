"""caffepredict.sh: predict the variants of one package with one trained net."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run
from cdeep3m.cli.engine_options import add_engine_options, container_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

DESCRIPTION = """\
Predict every *_v<i>.h5 of AUGDIR, all its planes.

  MODEL   a .caffemodel, or a folder of them (the highest iteration counts); deploy.prototxt is in its parent
  AUGDIR  a package's folder, as PreprocessPackage makes it
  OUT     gets v<i>/test.h5_shift_<k>.h5, out.log and PREDICTDONE; or ERROR and KILL.REQUEST

Caffe's tools, and those of an image, predict on all GPUs at the same time.
"""

EXIT_CODES = """\
exit status: 0 done; 1 wrong usage; 2 no .caffemodel; 3 OUT/log cannot be made; 4 the engine cannot run here;
5 OUT/v<i> cannot be made; 6 the engine failed
"""

NO_MODEL = 2
NO_ENGINE = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("caffepredict.sh", description=DESCRIPTION, epilog=EXIT_CODES)
    add_engine_options(parser)
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("aug", type=Path, metavar="AUGDIR")
    parser.add_argument("out", type=Path, metavar="OUT")
    options = parser.parse(argv)
    return run(lambda: _predict(options), debug=options.debug)


def _predict(options: argparse.Namespace) -> None:
    from cdeep3m.engines.select import select_engine
    from cdeep3m.errors import failing_with
    from cdeep3m.prediction.over_files.stages import NO_FOLDER, predict_stacks
    from cdeep3m.runs.prediction import forget_errors, recording_errors
    from cdeep3m.runs.trained import model_at
    from cdeep3m.system.files import demand_apart

    with failing_with(NO_FOLDER):
        demand_apart(options.out, [options.aug, options.model])
    with suppress(OSError):
        options.out.mkdir(parents=True, exist_ok=True)
    forget_errors(options.out)
    with recording_errors(options.out):
        with failing_with(NO_MODEL):
            model = model_at(options.model)
        with failing_with(NO_ENGINE):
            engine, gpus = select_engine(options.engine, gpu=options.gpu, **container_options(options))
        variants = predict_stacks(model, options.aug, options.out, engine, gpus=gpus)
    print(f"{variants} variants of {options.aug} predicted in {options.out}")


if __name__ == "__main__":
    sys.exit(main())
