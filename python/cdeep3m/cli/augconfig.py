"""augconfig.py: a file of strengths for the secondary augmentation."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
Write augcfg.ini, the strengths of the secondary augmentation, to the current folder: a number from 0 to 10 for each
operation. Change them, and name the file where PreprocessTrainingData.py or `cdeep3m train` takes a strength. A file
that has been changed is left as it is.
"""
FILE = "augcfg.ini"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("augconfig.py", description=DESCRIPTION)
    options = parser.parse(argv)

    def write() -> None:
        from cdeep3m.edition2.settings import Strengths
        from cdeep3m.errors import RunError
        from cdeep3m.system.files import small_text, write_text

        usual = Strengths().text()
        if os.path.lexists(FILE) and small_text(FILE, errors="replace") != usual:
            raise RunError(f"{FILE} is there already, with other strengths; delete or rename it for the usual ones")
        write_text(Path(FILE), usual)
        print(f"{FILE} written")

    return run(write, debug=options.debug)


if __name__ == "__main__":
    sys.exit(main())
