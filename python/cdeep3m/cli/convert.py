"""`cdeep3m convert`: a volume of one format becomes one of another."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run
from cdeep3m.cli.volume_options import FORMATS, add_selection_options, selection_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

DESCRIPTION = """\
Write the volume IN, or a part of it, as OUT. Voxel size, unit and offset go along where the format has room for them.

  IN   folder of .png or .tif images; .tif, .h5, .mrc; .zarr, .n5 or precomputed:// folder; s3:// or https:// address
       of one. IN::NAME names a dataset inside.
  OUT  its suffix chooses the format: .tif, .h5, .mrc, .zarr (OME-Zarr 0.5), .n5, .precomputed; else a folder of PNG
       images. Local or s3://.

The same command goes on where an interrupted one stopped.
"""

TYPES = ("uint8", "uint16", "float32", "int8", "int16", "int32", "int64", "uint32", "uint64", "float64")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("cdeep3m convert", description=DESCRIPTION)
    parser.add_argument("--format", choices=FORMATS, help="format of OUT (default: by its suffix)")
    parser.add_argument("--dtype", choices=TYPES, metavar="TYPE", help="type of OUT's values, which must hold them all")
    parser.add_argument("--labels", action="store_true", help="values are labels: levels of a pyramid hold no means")
    add_selection_options(parser)
    parser.add_argument("source", metavar="IN")
    parser.add_argument("out", metavar="OUT")
    options = parser.parse(argv)
    return run(lambda: _convert(options), debug=options.debug)


def _convert(options: argparse.Namespace) -> None:
    from cdeep3m.cli.progress import ProgressDisplay
    from cdeep3m.engines.base import Progress
    from cdeep3m.maps.copying import convert

    with ProgressDisplay("box") as display:
        maps = convert(
            options.source,
            options.out,
            selection=selection_of(options),
            format_name=options.format,
            dtype=options.dtype,
            labels=options.labels,
            report=lambda done, total: display("convert", Progress(done, total)),
        )
    size = " x ".join(map(str, maps.spec.shape))
    print(f"{size} voxels of {maps.spec.dtype} written to {options.out}")


if __name__ == "__main__":
    sys.exit(main())
