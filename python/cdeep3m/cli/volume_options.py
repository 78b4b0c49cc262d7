"""Options of every command that reads or writes volumes: which part, of which axes; which format and type."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from cdeep3m.volumes.axes import Selection

FORMATS = ("png", "tif", "h5", "mrc", "ome-zarr", "ome-zarr-0.4", "n5", "precomputed")
MAP_TYPES = ("uint8", "uint16", "float32")


def add_selection_options(parser: argparse.ArgumentParser) -> None:
    """Add what chooses a part of a volume."""
    parser.add_argument(
        "--roi", metavar="BOX", help="only the box z0:z1,y0:y1,x0:x1, counted from 0, ends not included"
    )
    parser.add_argument("--channel", type=int, metavar="N", help="which channel, from 0, where a file holds several")
    parser.add_argument("--time", type=int, metavar="N", help="which time, from 0, where a file holds several")
    parser.add_argument(
        "--level", type=int, metavar="N", help="which level of a pyramid, from 0 (default: 0, full size)"
    )
    parser.add_argument(
        "--axes",
        metavar="LETTERS",
        help="axes of a file that does not say: a letter of t, c, z, y, x each, slowest first",
    )


def selection_of(options: argparse.Namespace) -> Selection:
    """Return what the options of `add_selection_options` ask for.

    Raises
    ------
    InputError
        They make no sense.
    """
    from cdeep3m.volumes.axes import Selection, parse_roi

    return Selection(
        axes=options.axes,
        channel=options.channel,
        time=options.time,
        level=options.level,
        roi=None if options.roi is None else parse_roi(options.roi),
    )
