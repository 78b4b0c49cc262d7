"""enhance_stack.py: images with more contrast and less noise, as models of the second edition expect them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, add_overwrite_option, rules_from, run
from cdeep3m.cli.threads import add_threads_option, limit_threads

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

DESCRIPTION = """\
Enhance every plane of a volume: contrast, total-variation denoising, contrast.

  IN   folder of images, or a stack
  OUT  gets a gray 8-bit .png file a plane, under the images' names; planes of a stack are numbered
  CUT  percent of the gray values that the last step cuts off at either end (default: 2)

Prediction and training do this by themselves (--denoise); this command is for looking at it, and for other programs.
"""


OF_EACH_PLANE = "CDeep3M2 takes percentiles of each plane: use either --exact or --whole_volume"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("enhance_stack.py", exact=True, description=DESCRIPTION)
    parser.add_argument(
        "--whole_volume", action="store_true", help="percentiles of the whole volume instead of each plane's"
    )
    add_threads_option(parser)
    add_overwrite_option(parser)
    parser.add_argument("images", metavar="IN")
    parser.add_argument("out", metavar="OUT")
    parser.add_argument("cut", nargs="?", type=int, default=2, metavar="CUT")
    options = parser.parse(argv)
    return run(lambda: _enhance(options), debug=options.debug)


def _enhance(options: argparse.Namespace) -> None:
    limit_threads(options, "enhance_stack", "enhance_stack_threadlimit")
    from cdeep3m.errors import InputError
    from cdeep3m.runs.made_of import files_of, whole_planes

    rules = rules_from(options)
    if rules.second_edition and options.whole_volume:
        raise InputError(OF_EACH_PLANE)
    made_of = {
        "images": files_of(options.images),
        "CUT": str(options.cut),
        "--whole_volume": str(options.whole_volume),
    }
    with whole_planes(options.out, made_of, overwrite=options.overwrite, refuse=not rules.is_exact):
        if rules.second_edition:
            from cdeep3m.prediction.as_edition_2 import write_enhanced

            count = write_enhanced(options.images, options.out, options.cut)
        else:
            from cdeep3m.preprocessing.enhancing import enhance_stack
            from cdeep3m.volumes.enhancement import Enhancement

            enhancement = Enhancement(cut=options.cut, whole_volume=options.whole_volume)
            count = enhance_stack(options.images, options.out, enhancement)
    print(f"{count} enhanced planes written to {options.out}")


if __name__ == "__main__":
    sys.exit(main())
