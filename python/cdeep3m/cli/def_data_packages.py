"""DefDataPackages.m: divide a volume into packages."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, add_overwrite_option, rules_from, run

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
Divide a volume into overlapping packages of at most 1024 x 1024 voxels and about 100 planes.

  IMAGES  folder of .png or .tif images, or one .tif or .h5 stack
  AUG     gets de_augmentation_info.mat and package_processing_info.txt
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("DefDataPackages.m", exact=True, description=DESCRIPTION)
    parser.fewest_of_edition_2 = 1
    add_overwrite_option(parser)
    parser.add_argument("images", metavar="IMAGES")
    parser.add_argument("aug", metavar="AUG")
    options = parser.parse(argv)

    def define() -> None:
        if rules_from(options).second_edition:
            from cdeep3m.prediction import as_edition_2

            as_edition_2.define_packages(options.images, options.aug)
            return
        from cdeep3m.prediction.over_files.prepare import define_packages

        tiling = define_packages(options.images, options.aug, rules=rules_from(options), overwrite=options.overwrite)
        print(f"Number of XY Packages: {tiling.tiles}, number of z-blocks: {len(tiling.z_cuts) - 1}")

    return run(define, debug=options.debug)


if __name__ == "__main__":
    sys.exit(main())
