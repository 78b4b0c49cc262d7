"""SNEMI3D_metrics A B: the adapted Rand error of a labelled volume."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run
from cdeep3m.cli.volume_options import add_selection_options, address_of

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
Print the adapted Rand error of the labelled volume B against the ground truth A, as the SNEMI3D challenge counts it:
1 - F-score of the pairs of voxels that belong together, 0 when all do. Voxels that are 0 (background) in A do not
count. Precision is low where B joins objects, recall where it splits them."""

INPUTS = """\
A and B have one size: folders of .png or .tif files with one plane each, .tif stacks, or .h5 files with one dataset of
shape (x, y, z). Their values are labels, of up to 32 bits, and taken as they are."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("SNEMI3D_metrics", description=DESCRIPTION, epilog=INPUTS)
    parser.add_argument("truth", metavar="A", help="the ground truth")
    parser.add_argument("segmented", metavar="B", help="what is scored")
    add_selection_options(parser)
    options = parser.parse(argv)

    def score() -> None:
        from cdeep3m.objects.segmentation import score_segmentation

        scores = score_segmentation(*(address_of(text, options) for text in (options.truth, options.segmented)))
        print(f"adapted Rand error: {scores.error:.6f} (precision {scores.precision:.6f}, recall {scores.recall:.6f})")

    return run(score, debug=options.debug)


if __name__ == "__main__":
    sys.exit(main())
