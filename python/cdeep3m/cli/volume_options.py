"""Options of every command that reads or writes volumes: which part, of which axes; which format and type."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from cdeep3m.volumes.address import Address
    from cdeep3m.volumes.axes import Selection

FORMATS = ("png", "tif", "h5", "mrc", "ome-zarr", "ome-zarr-0.4", "ome-zarr-sharded", "n5", "precomputed")
MAP_TYPES = ("uint8", "uint16", "float32")


def add_selection_options(parser: argparse.ArgumentParser, *, time: bool = True, roi: bool = True) -> None:
    """Add what chooses a part of a volume; without `time`, all but --time, without `roi`, all but --roi."""
    if roi:
        parser.add_argument(
            "--roi", metavar="BOX", help="only the box z0:z1,y0:y1,x0:x1, counted from 0, ends not included"
        )
    parser.add_argument("--channel", type=int, metavar="N", help="which channel, from 0, where a file holds several")
    if time:
        parser.add_argument("--time", type=int, metavar="N", help="which time, from 0, where a file holds several")
    parser.add_argument(
        "--level", type=int, metavar="N", help="which level of a pyramid, from 0 (default: 0, full size)"
    )
    parser.add_argument(
        "--axes",
        metavar="LETTERS",
        help="axes of a file that does not say: a letter of t, c, z, y, x each, slowest first",
    )


def add_map_options(parser: argparse.ArgumentParser) -> None:
    """Add what chooses the format and the type of probability maps."""
    parser.add_argument(
        "--format", default="png", metavar="NAME", help=f"format of the maps: {', '.join(FORMATS)} (default: png)"
    )
    parser.add_argument(
        "--dtype",
        choices=MAP_TYPES,
        default="uint8",
        help="type of the maps: probabilities times 255 or 65535, or as they are (default: uint8; png has no other)",
    )


def add_place_option(parser: argparse.ArgumentParser) -> None:
    """Add --maps."""
    parser.add_argument(
        "--maps",
        metavar="ADDRESS",
        help="write the maps there instead, such as s3://bucket/run or another disk; a format of chunks is needed",
    )


def address_of(text: str, options: argparse.Namespace, *, labels: bool = False, roi: bool = True) -> str | Address:
    """Return what a user names: the text where that is a path, or an address where it or an option says more.

    Parameters
    ----------
    text : str
    options : Namespace
        With those of `add_selection_options`.
    labels : bool
        Whether these are the labels of other images, to which --channel does not belong.
    roi : bool
        Whether --roi is the one of `add_selection_options`.

    Raises
    ------
    InputError
        The options make no sense.
    """
    from dataclasses import replace

    from cdeep3m.volumes.address import Address

    selection = selection_of(options, roi=roi)
    named = replace(Address.of(text), selection=replace(selection, channel=None) if labels else selection)
    return text if named == Address(text) and not named.scheme else named


def selection_of(options: argparse.Namespace, *, roi: bool = True) -> Selection:
    """Return what the options of `add_selection_options` ask for; without `roi`, all but --roi.

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
        roi=parse_roi(options.roi) if roi and options.roi is not None else None,
    )


def refuse_selection(options: argparse.Namespace) -> None:
    """Refuse what chooses a part of a volume, where CDeep3M2 is reproduced, which reads whole ones.

    Raises
    ------
    InputError
        There is such an option.
    """
    from cdeep3m.errors import InputError
    from cdeep3m.volumes.axes import Selection

    if selection_of(options) != Selection():
        raise InputError(
            "CDeep3M2 reads whole files: leave out --exact, or --roi, --channel, --time, --level and --axes"
        )


def path_or_address(text: str, options: argparse.Namespace, *, labels: bool = False) -> Path | Address:
    """Return as `address_of`, with a path as one."""
    named = address_of(text, options, labels=labels)
    return Path(named) if isinstance(named, str) else named
