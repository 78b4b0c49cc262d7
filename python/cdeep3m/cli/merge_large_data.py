"""Merge_LargeData.m: stitch a net's packages into probability maps."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, exact_by_environment, rules_from, run
from cdeep3m.cli.threads import add_threads_option, limit_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
Stitch the packages of a net into 8-bit probability maps of whole planes.

  FM_DIR  folder of a net (1fm, 3fm or 5fm) with its packages, beside de_augmentation_info.mat; gets Segmented_0001.png
          and so on, and DONE
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status (0 without an argument in exact mode, as the original)."""
    parser = CommandParser("Merge_LargeData.m", exact=True, description=DESCRIPTION)
    add_threads_option(parser)
    parser.add_argument("folder", nargs="?", metavar="FM_DIR")
    options = parser.parse(argv)
    if options.folder is None:
        if exact_by_environment() or options.exact:
            parser.print_usage(sys.stderr)
            return 0
        parser.error("which folder? FM_DIR is missing")

    def merge() -> None:
        limit_threads(options, "Merge_LargeData")
        rules = rules_from(options)
        if rules.second_edition:
            from cdeep3m.prediction.as_edition_2 import merge_folder

            count = merge_folder(options.folder)
        else:
            from cdeep3m.prediction.over_files.postprocess import merge_packages

            count = merge_packages(options.folder, rules=rules)
        print(f"{count} planes written to {options.folder}")

    return run(merge, debug=options.debug)


if __name__ == "__main__":
    sys.exit(main())
