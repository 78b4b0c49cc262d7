"""Histmatch.m IN REF OUT: give images the gray values of others."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, add_overwrite_option, rules_from, run
from cdeep3m.cli.volume_options import add_selection_options, address_of

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
Match every plane of IN to the histogram of the mean plane of REF, for example of the images that a model was trained
on. Writes Image_0001.png and so on, of REF's type."""

INPUTS = """\
IN and REF are folders of .png or .tif files with one plane each, .tif stacks, or .h5 files with one dataset of shape
(x, y, z); of 8 or 16 bits. Their sizes may differ."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("Histmatch.m", exact=True, description=DESCRIPTION, epilog=INPUTS)
    parser.add_argument("images", metavar="IN", help="the volume to change")
    parser.add_argument("reference", metavar="REF", help="the volume to match")
    parser.add_argument("out", metavar="OUT", help="folder to write to; made when it is missing")
    add_selection_options(parser)
    add_overwrite_option(parser)
    options = parser.parse(argv)

    def match() -> None:
        from cdeep3m.preprocessing.histograms import match_images
        from cdeep3m.runs.made_of import files_of, whole_planes

        images, reference = (address_of(text, options) for text in (options.images, options.reference))
        rules = rules_from(options)
        made_of = {"images": files_of(images), "reference": files_of(reference)}
        with whole_planes(options.out, made_of, overwrite=options.overwrite, refuse=not rules.is_exact):
            count = match_images(images, reference, options.out, rules=rules)
        print(f"{count} planes written to {options.out}")

    return run(match, debug=options.debug)


if __name__ == "__main__":
    sys.exit(main())
