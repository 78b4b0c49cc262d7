"""Apply3DWatershed.m SEGMENTED RAW OUT [hm3d:H]: separate objects by a 3-D watershed."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, add_overwrite_option, rules_from, run
from cdeep3m.cli.volume_options import add_selection_options, address_of

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX = "hm3d:"

DESCRIPTION = """\
Separate the objects of a volume where probability maps of their boundaries (membranes, for example) are bright, by a
3-D watershed. Writes labels.tif, a stack with a number for each object and 0 between them, and Overlay_0001.png and so
on: the objects in colour over the images."""

INPUTS = """\
SEGMENTED and RAW have one size: folders of .png or .tif files with one plane each, .tif stacks, or .h5 files with one
dataset of shape (x, y, z). A slab of planes is in memory at a time, and 28 bytes a voxel are in OUT for a while. Needs
scikit-image: pip install 'cdeep3m[watershed]'"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("Apply3DWatershed.m", exact=True, description=DESCRIPTION, epilog=INPUTS)
    parser.add_argument("segmented", metavar="SEGMENTED", help="probability maps of boundaries")
    parser.add_argument("raw", metavar="RAW", help="the images")
    parser.add_argument("out", metavar="OUT", help="folder to write to; made when it is missing")
    parser.add_argument(
        "depth",
        nargs="?",
        type=depth,
        default=0.15,
        metavar="hm3d:H",
        help="how much more probable than the insides of two objects the boundary between them must be, from 0 to 1: "
        "less gives more objects (default: hm3d:0.15)",
    )
    add_selection_options(parser)
    add_overwrite_option(parser)
    options = parser.parse(argv)

    def apply() -> None:
        from cdeep3m.objects.segmentation import label_objects
        from cdeep3m.runs.made_of import files_of, whole_planes

        segmented, raw = (address_of(text, options) for text in (options.segmented, options.raw))
        rules = rules_from(options)
        made_of = {"images": files_of(raw), "maps": files_of(segmented), "hm3d": str(options.depth)}
        with whole_planes(options.out, made_of, overwrite=options.overwrite, refuse=not rules.is_exact):
            count = label_objects(segmented, raw, options.out, depth=options.depth, rules=rules)
        print(f"{count} objects written to {options.out}")

    return run(apply, debug=options.debug)


def depth(text: str) -> float:
    """Return the number of an argument such as "hm3d:0.2".

    Raises
    ------
    argparse.ArgumentTypeError
        When it is none between 0 and 1.

    Examples
    --------
    >>> depth("hm3d:0.2")
    0.2
    """
    try:
        value = float(text.removeprefix(PREFIX))
    except ValueError:
        value = 0.0
    if not text.startswith(PREFIX) or not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"found {text}; expected {PREFIX} and a number from 0 to 1, like hm3d:0.15")
    return value


if __name__ == "__main__":
    sys.exit(main())
