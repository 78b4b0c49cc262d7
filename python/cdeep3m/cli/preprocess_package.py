"""PreprocessPackage.m: write what a net sees of one package."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, rules_from, run
from cdeep3m.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
Write the test-time-augmentation variants of one package, which DefDataPackages.m defined.

  IMAGES   folder of .png or .tif images, or one .tif or .h5 stack
  AUG      folder with de_augmentation_info.mat; gets FM/Pkg<PACKAGE>_Z<ZBLOCK>/image_stacks_v<i>.h5 and DONE
  PACKAGE  number of the package in x and y, from 1
  ZBLOCK   number of the z-block, from 1
  FM       1fm, 3fm or 5fm
  SPEED    1 (all variants), 2, 4 or 10 (one variant); others go to the nearest
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("PreprocessPackage.m", exact=True, description=DESCRIPTION)
    parser.add_argument("images", metavar="IMAGES")
    parser.add_argument("aug", metavar="AUG")
    parser.add_argument("tile", type=int, metavar="PACKAGE")
    parser.add_argument("z_block", type=int, metavar="ZBLOCK")
    parser.add_argument("net", metavar="FM")
    parser.add_argument("speed", type=int, metavar="SPEED")
    options = parser.parse(argv)

    def preprocess() -> None:
        if rules_from(options).second_edition:
            from cdeep3m.prediction.as_edition_2 import write_package

            place = options.tile, options.z_block, options.net, options.speed
            print(f"Package written to {write_package(options.images, options.aug, *place)}")
            return
        from cdeep3m.prediction.over_files.prepare import preprocess_package

        folder = preprocess_package(
            options.images,
            options.aug,
            options.tile,
            options.z_block,
            options.net,
            options.speed,
            rules=rules_from(options),
            ask=wait_for_enter,
        )
        print(f"Package written to {folder}")

    return run(preprocess, debug=options.debug)


def wait_for_enter(found: str) -> None:
    """Ask on standard input whether to go on, as checkpoint_nobinary.m does; any line goes on (defect 8).

    Raises
    ------
    InputError
        When there is nobody to answer.
    """
    print(f"{found} Press Enter to go on, Ctrl-C to stop.")
    if not sys.stdin.readline():
        raise InputError(f"{found} Nobody answered on standard input; run without --exact to get a warning instead")


if __name__ == "__main__":
    sys.exit(main())
