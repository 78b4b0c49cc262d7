"""overlay.py RAW SEGMENTED OUT: lay a segmentation over the images."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, add_overwrite_option, run
from cdeep3m.cli.volume_options import add_selection_options, address_of

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
Lay probability maps or a segmentation over the images: 0.45 * SEGMENTED + 0.55 * RAW. Writes Overlay_0001.png and so
on, 8-bit gray."""

INPUTS = """\
RAW and SEGMENTED have one size: folders of .png or .tif files with one plane each, .tif stacks, or .h5 files with one
dataset of shape (x, y, z). 16 bits are scaled to 8; labels of 0 and 1 count as 0 and 255."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("overlay.py", description=DESCRIPTION, epilog=INPUTS)
    parser.add_argument("raw", metavar="RAW", help="the images")
    parser.add_argument("segmented", metavar="SEGMENTED", help="what was found in them")
    parser.add_argument("out", metavar="OUT", help="folder to write to; made when it is missing")
    add_selection_options(parser)
    add_overwrite_option(parser)
    options = parser.parse(argv)

    def lay() -> None:
        from cdeep3m.report.overlay import overlay_volumes
        from cdeep3m.runs.made_of import files_of, whole_planes

        raw, segmented = (address_of(text, options) for text in (options.raw, options.segmented))
        with whole_planes(
            options.out,
            {"images": files_of(raw), "maps": files_of(segmented)},
            overwrite=options.overwrite,
            refuse=True,
        ):
            count = overlay_volumes(raw, segmented, options.out)
        print(f"{count} planes written to {options.out}")

    return run(lay, debug=options.debug)


if __name__ == "__main__":
    sys.exit(main())
