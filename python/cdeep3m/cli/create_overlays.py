"""Create_overlays.py: predictions laid over the images in green."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, add_overwrite_option, rules_from, run
from cdeep3m.cli.threads import add_threads_option, limit_threads

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

DESCRIPTION = """\
Lay probability maps over the images, in green, as pictures.

  SEG  folder of probability maps, as in PREDICTOUT/ensembled
  RAW  the images: a folder, or a stack
  OUT  gets overlay_0001.png and so on
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("Create_overlays.py", exact=True, description=DESCRIPTION)
    add_threads_option(parser)
    add_overwrite_option(parser)
    parser.add_argument("segmented", metavar="SEG")
    parser.add_argument("raw", metavar="RAW")
    parser.add_argument("out", metavar="OUT")
    options = parser.parse(argv)
    return run(lambda: _create(options), debug=options.debug)


def _create(options: argparse.Namespace) -> None:
    limit_threads(options, "Create_overlays")
    from cdeep3m.runs.made_of import files_of, whole_planes

    rules = rules_from(options)
    made_of = {"images": files_of(options.raw), "maps": files_of(options.segmented)}
    with whole_planes(options.out, made_of, overwrite=options.overwrite, refuse=not rules.is_exact):
        if rules.second_edition:
            from cdeep3m.prediction.as_edition_2 import write_overlays

            count = write_overlays(options.segmented, options.raw, options.out)
        else:
            from cdeep3m.report.overlay import green_overlays

            count = green_overlays(options.segmented, options.raw, options.out)
    print(f"{count} overlays written to {options.out}")


if __name__ == "__main__":
    sys.exit(main())
