"""`cdeep3m objects MAPS OUT`: label, count and measure the objects of probability maps."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run
from cdeep3m.cli.runner_options import add_runner_options, runner_of
from cdeep3m.cli.volume_options import add_selection_options, address_of
from cdeep3m.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.objects.density import Density
    from cdeep3m.objects.job import ObjectsRequest

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Label the separate objects of a volume of any size, block by block, and measure them. OUT gets the labels: numbers from
1, and 0 for background. Beside it are objects.csv (voxels, volume, centroid, bounding box, mean probability, surface,
elongation) and density.csv and .png (how many objects there are along z, y and x, and which part of the volume they
fill)."""

EPILOG = """\
MAPS are probability maps, such as ensembled/ of a prediction: a folder of .png or .tif files with one plane each, a
.tif stack, or any other format that is read. OUT ends with .tif, .h5, .zarr, .n5 or .precomputed, or is a folder,
which gets labels.tif. Memory is bounded by a block (some 400 MB, with --split 2 GB) and the number of objects.
--split needs scikit-image: pip install 'cdeep3m[watershed]'"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = parser().parse(argv)

    def find() -> None:
        from cdeep3m.cli.progress import ProgressDisplay
        from cdeep3m.objects.job import find_objects

        request = request_of(options)

        def draw(found: list[Density], size: tuple[float, float, float], unit: str, path: Path) -> None:
            from cdeep3m.report.plots import plot_density, save_png

            try:
                save_png(plot_density(found, voxel_size=size, unit=unit), path)
            except MissingExtraError as error:
                logger.warning("%s is not drawn: %s", path.name, error)

        with ProgressDisplay("block") as display:
            found = find_objects(request, runner=runner_of(options), report=display, draw=draw)
        if found.cut:
            logger.warning(
                "%d labels come of objects that reach beyond the halo of a block: how they are split may depend on "
                "the blocks. A larger --halo than %d avoids it",
                found.cut,
                request.halo,
            )
        print(f"{found.objects} objects written to {found.labels}")

    return run(find, debug=options.debug)


def parser() -> CommandParser:
    """Return the parser of the command line."""
    made = CommandParser("cdeep3m objects", description=DESCRIPTION, epilog=EPILOG)
    made.add_argument("maps", metavar="MAPS", help="probability maps")
    made.add_argument("out", metavar="OUT", type=Path, help="file for the labels, or folder; made when it is missing")
    made.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        metavar="T",
        help="the least probability of an object's voxels, up to 1 (default: 0.5)",
    )
    made.add_argument(
        "--min-size",
        type=int,
        default=1,
        metavar="V",
        help="leave out objects of fewer voxels (default: 1, none is left out)",
    )
    how = made.add_mutually_exclusive_group()
    how.add_argument(
        "--connectivity",
        type=int,
        choices=(6, 26),
        default=26,
        help="voxels belong together that share a face, or also those that share an edge or a corner (default: 26)",
    )
    how.add_argument(
        "--split",
        type=float,
        metavar="H",
        help="split objects at necks whose radius is smaller by H voxels than on both sides (default: not at all)",
    )
    made.add_argument(
        "--halo",
        type=int,
        default=64,
        metavar="N",
        help="with --split: objects that reach no further than N voxels beyond a block are split in the same way "
        "whatever the blocks (default: 64)",
    )
    made.add_argument(
        "--border",
        choices=("keep", "drop"),
        default="keep",
        help="what becomes of objects at the faces of the volume, of which a part is missing (default: keep)",
    )
    made.add_argument(
        "--voxel-size",
        type=voxel_size,
        metavar="Z,Y,X[UNIT]",
        help="size of a voxel, such as 30,8,8nm: volume, places and surface are in this unit, and --split and --halo "
        "take it into account; lengths of theirs are voxels along x (default: what MAPS say, or else 1,1,1voxel)",
    )
    add_selection_options(made)
    add_runner_options(made)
    return made


def request_of(options: argparse.Namespace) -> ObjectsRequest:
    """Return what the options ask for."""
    from cdeep3m.objects.job import ObjectsRequest
    from cdeep3m.volumes.address import Address

    size, unit = options.voxel_size or (None, "voxel")
    return ObjectsRequest(
        maps=Address.of(address_of(options.maps, options)),
        out=options.out,
        threshold=options.threshold,
        min_size=options.min_size,
        connectivity=options.connectivity,
        split=options.split,
        halo=options.halo,
        border=options.border,
        voxel_size=size,
        unit=unit,
    )


def voxel_size(text: str) -> tuple[tuple[float, float, float], str]:
    """Return sizes along (z, y, x), and their unit.

    Raises
    ------
    argparse.ArgumentTypeError
        When there are not three numbers above 0.

    Examples
    --------
    >>> voxel_size("30,8,8nm"), voxel_size("0.03,0.008,0.008 µm"), voxel_size("3,1,1")
    (((30.0, 8.0, 8.0), 'nm'), ((0.03, 0.008, 0.008), 'µm'), ((3.0, 1.0, 1.0), 'voxel'))
    """
    numbers = text.rstrip("abcdefghijklmnopqrstuvwxyzµμ ")
    unit = text[len(numbers) :].strip() or "voxel"
    try:
        z, y, x = (float(number) for number in numbers.split(","))
    except ValueError:
        z = y = x = 0.0
    if not min(z, y, x) > 0:
        raise argparse.ArgumentTypeError(f"found {text}; expected three sizes above 0 and a unit, like 30,8,8nm")
    return (z, y, x), unit


if __name__ == "__main__":
    sys.exit(main())
