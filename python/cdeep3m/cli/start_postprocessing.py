"""StartPostprocessing.m: average the variants' predictions of a package."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, rules_from, run

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
De-augment and average the predictions of packages.

  DIR  folder of a package with v<i>/test.h5_shift_<k>.h5; gets test.h5_shift__<k>.png (16 bits), loses the v folders
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("StartPostprocessing.m", exact=True, description=DESCRIPTION)
    parser.fewest_of_edition_2 = 1
    parser.add_argument("folders", nargs="+", metavar="DIR")
    options = parser.parse(argv)

    def average() -> None:
        rules = rules_from(options)
        for folder in options.folders:
            if rules.second_edition:
                from cdeep3m.prediction.as_edition_2 import average_folder

                count = average_folder(folder)
            else:
                from cdeep3m.prediction.over_files.postprocess import average_variants

                count = average_variants(folder, rules=rules)
            print(f"{count} planes written to {folder}")

    return run(average, debug=options.debug)


if __name__ == "__main__":
    sys.exit(main())
