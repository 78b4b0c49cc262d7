"""preprocessworker.sh: the first stage of a prediction over files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, edition_by_environment, run

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
Prepare the packages of the prediction in OUT (predict.config and DefDataPackages.m's files say which), a few ahead of
predictworker.sh.

exit status: 0 done; 1 wrong usage; 2 predict.config cannot be read; 7 package_processing_info.txt is missing;
8 a package could not be prepared; 11 KILL.REQUEST found; 99 another stage failed (see OUT/ERROR)
"""

PACKAGES_AHEAD = {1: 5, 2: 7}
"""By edition."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("preprocessworker.sh", description=DESCRIPTION)
    ahead = PACKAGES_AHEAD[edition_by_environment()]
    parser.add_argument(
        "--maxpackages", type=int, default=ahead, metavar="N", help="packages ahead (default: 5; CDEEP3M_EDITION=2: 7)"
    )
    parser.add_argument(
        "--waitinterval", type=float, default=60, metavar="S", help="seconds between looks (default: 60)"
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    options = parser.parse(argv)

    def work() -> None:
        from cdeep3m.prediction.over_files.stages import FileRun, preprocess_worker

        preprocess_worker(FileRun.open(options.out), maxpackages=options.maxpackages, wait=options.waitinterval)

    return run(work, debug=options.debug)


if __name__ == "__main__":
    sys.exit(main())
