"""PreprocessImageData: prepare images for prediction, as the paper's third step."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, add_overwrite_option, rules_from, run
from cdeep3m.rules import SPEEDS

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
Prepare images for prediction: runprediction.sh TRAINOUT AUG PREDICTOUT then predicts them.

  IMAGES  folder of .png or .tif images, or one .tif or .h5 stack
  AUG     gets de_augmentation_info.mat, package_processing_info.txt, and images.txt, which names IMAGES

runprediction.sh reads the images themselves, so they must stay where they are. --models also writes every package of
those nets to AUG, for engines that read files: each net takes up to 16 times the images' space.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("PreprocessImageData", exact=True, description=DESCRIPTION)
    parser.add_argument("--models", default="", metavar="LIST", help="write the packages of these nets (1fm,3fm,5fm)")
    parser.add_argument(
        "--augspeed", type=int, choices=SPEEDS, default=1, help="with --models: fewer variants (default: 1, all)"
    )
    add_overwrite_option(parser)
    parser.add_argument("images", metavar="IMAGES")
    parser.add_argument("aug", metavar="AUG")
    options = parser.parse(argv)

    def preprocess() -> None:
        from cdeep3m.cli.preprocess_package import wait_for_enter
        from cdeep3m.prediction.over_files.prepare import preprocess_images

        nets = tuple(net for net in options.models.split(",") if net)
        tiling = preprocess_images(
            options.images,
            options.aug,
            nets=nets,
            speed=options.augspeed,
            rules=rules_from(options),
            ask=wait_for_enter,
            overwrite=options.overwrite,
        )
        print(f"{len(tiling.packages)} packages defined in {options.aug}")

    return run(preprocess, debug=options.debug)


if __name__ == "__main__":
    sys.exit(main())
