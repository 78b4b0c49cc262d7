"""postprocessworker.sh: the last stage of a prediction over files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
Average the variants of the prediction in OUT as predictworker.sh finishes them, and stitch the packages of every net.

exit status: 0 done; 1 wrong usage; 2 predict.config cannot be read; 7 package_processing_info.txt is missing, or
averaging failed; 8 stitching failed; 11 KILL.REQUEST found; 99 another stage failed (see OUT/ERROR)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("postprocessworker.sh", description=DESCRIPTION)
    parser.add_argument("--waitinterval", type=float, default=1, metavar="S", help="seconds between looks (default: 1)")
    parser.add_argument("out", type=Path, metavar="OUT")
    options = parser.parse(argv)

    def work() -> None:
        from cdeep3m.prediction.over_files.stages import FileRun, postprocess_worker

        postprocess_worker(FileRun.open(options.out), wait=options.waitinterval)

    return run(work, debug=options.debug)


if __name__ == "__main__":
    sys.exit(main())
