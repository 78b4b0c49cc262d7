"""Open a volume: find the format of an address and let its module read it."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.errors import InputError, MissingFileError
from cdeep3m.rules import CORRECTED, Rules
from cdeep3m.system.files import demand_file
from cdeep3m.volumes.address import Address
from cdeep3m.volumes.axes import Selection
from cdeep3m.volumes.base import Importer, Reading, Role
from cdeep3m.volumes.crop import CroppedVolume
from cdeep3m.volumes.formats import MAP, Format, expected, format_of

if TYPE_CHECKING:
    from cdeep3m.volumes.base import Volume

BIG_TIFF = (".btf", ".tf2", ".tf8")
"""What else Bio-Formats calls a BigTIFF file; the original does not know it."""
FORMATS: list[Format] = [
    Format(
        name="images",
        what="a folder of .png or .tif images",
        module="cdeep3m.volumes.image_folder",
        is_folder=True,
        holds=Path.is_dir,
    ),
    Format(
        name="tif",
        what="a .tif or .tiff stack",
        module="cdeep3m.volumes.tiff_series",
        suffixes=(".tif", ".tiff", *BIG_TIFF),
        is_folder=False,
    ),
    Format(
        name="h5",
        what="an .h5 file",
        module="cdeep3m.volumes.hdf5_layouts",
        suffixes=(".h5", ".hdf5", ".hdf"),
        is_folder=False,
    ),
    Format(
        name="mrc",
        what="an .mrc file",
        module="cdeep3m.volumes.mrc",
        suffixes=(".mrc", ".map", ".rec", ".st", ".ali", ".mrcs"),
        is_folder=False,
    ),
    Format(
        name="zarr",
        what="a .zarr folder",
        module="cdeep3m.volumes.zarr",
        suffixes=(".zarr",),
        schemes=("zarr",),
        is_folder=True,
        holds=lambda path: any((path / key).is_file() for key in ("zarr.json", ".zarray", ".zgroup")),
    ),
    Format(
        name="n5",
        what="an .n5 folder",
        module="cdeep3m.volumes.n5",
        suffixes=(".n5",),
        schemes=("n5",),
        is_folder=True,
        holds=lambda path: (path / "attributes.json").is_file(),
    ),
    Format(
        name="precomputed",
        what="a precomputed:// folder",
        module="cdeep3m.volumes.precomputed",
        suffixes=(".precomputed",),
        schemes=("precomputed",),
        is_folder=True,
        holds=lambda path: (path / "info").is_file(),
    ),
    Format(
        name="remote",
        what="an s3:// or https:// address of one of the last three",
        module="cdeep3m.volumes.remote",
        schemes=("s3", "http", "https"),
    ),
]
"""What can be read, the more general formats first. Each module has `open_address(address, reading) -> Volume`."""
MAP_SUFFIXES = (".tif", ".h5", ".mrc", ".zarr", ".n5", ".precomputed")
"""Name of a map in a folder of its own, as `cdeep3m predict --format` leaves it; the folder then means the map."""
ELSEWHERE = "Segmented.address"
"""Holds the address of a map that was written to another place (`cdeep3m predict --maps`)."""
OF_THE_ORIGINAL = ("images", "tif", "h5")
"""What exact mode reads."""


def open_volume(
    address: str | os.PathLike[str] | Address,
    *,
    rules: Rules = CORRECTED,
    role: Role = "image",
    importer: Importer = "imageimporter_large",
    selection: Selection | None = None,
) -> Volume:
    """Open a volume of any format in `FORMATS`; voxels are read when they are asked for.

    Parameters
    ----------
    address : str, path or Address
        A folder of .png or .tif files (the more numerous kind counts), a .tif or .tiff file with a plane a page, an
        .h5 file with one dataset of shape (x, y, z), or what other formats say.
    rules : Rules
        `ORIGINAL` reads as the original does: bytewise order of the files; planes without any value between black and
        white become logical (bool); only the first file's size is looked at before reading.
    role : {"image", "label", "segmentation", "values"}
        Labels of two values come as 0 and 1 (uint8) whatever the values are; the labels of a segmentation come as they
        are, whole numbers of any type. Exact mode makes no difference. "values" come as they are, whatever they mean.
    importer : {"imageimporter", "imageimporter_large"}
        Which of the original's readers exact mode follows: that of the training commands, or that of the prediction
        commands, which takes the red channel of colour and decides about black and white by the area that it reads.
    selection : Selection, optional
        Which axes, channel, time and level to read where a file holds several, and which box of it.

    Returns
    -------
    Volume

    Raises
    ------
    MissingFileError
        When there is no such file or folder.
    InputError
        When a folder holds no images, images differ in size or type, or the file is of a kind that is not read.
    FormatError
        When a file is damaged.
    """
    named = Address.of(address)
    if not rules.octave_images:
        named = _map_in(named)
    if rules.octave_images and not named.scheme:
        _refuse_what_the_original_refuses(named.location, importer)
    found = format_of(named, FORMATS)
    if not named.scheme and not os.path.exists(named.location):
        raise MissingFileError(f"no such file or folder: {named.location}. Expected {expected(FORMATS)}")
    if not named.scheme and not os.path.isdir(named.location):
        demand_file(named.location)
    if found is None:
        suffix = named.suffix or "file without a suffix, not a"
        raise InputError(f"{named} is a {suffix} file; expected {expected(FORMATS)}")
    wanted = selection or named.selection
    if rules.octave_images:
        _refuse_what_exact_mode_lacks(named, found, wanted)
    chosen = replace(wanted, roi=None)
    reading = Reading(rules=rules, role=role, importer=importer, selection=chosen)
    volume: Volume = import_module(found.module).open_address(named, reading)
    return volume if wanted.roi is None else CroppedVolume(volume, wanted.roi, str(named))


def _map_in(address: Address) -> Address:
    """Return the one map that a prediction left in a folder, or tells the address of there, where it is meant."""
    if address.scheme or address.dataset or not os.path.isdir(address.location):
        return address
    found = [
        name
        for name in os.listdir(address.location)
        if name == ELSEWHERE or (name.startswith(f"{MAP}.") and os.path.splitext(name)[1] in MAP_SUFFIXES)
    ]
    if found == [ELSEWHERE]:
        there = (Path(address.location) / ELSEWHERE).read_text(encoding="utf-8").strip()
        return replace(address, location=there)
    return replace(address, location=os.path.join(address.location, found[0])) if len(found) == 1 else address


def _refuse_what_exact_mode_lacks(address: Address, found: Format, selection: Selection) -> None:
    """Fail where exact mode is asked for what only this project reads."""
    if found.name not in OF_THE_ORIGINAL or address.dataset or address.suffix in BIG_TIFF:
        raise InputError(f"the original cannot read {address}; leave out --exact")
    if selection != Selection():
        raise InputError(
            "the original reads whole files: leave out --exact, or --roi, --channel, --time, --level and --axes"
        )


def _refuse_what_the_original_refuses(text: str, importer: Importer) -> None:
    """Fail where imageimporter.m and its callers fail (defects 12 and 14).

    A path whose last component has a dot counts as a file, the folder `my.images` included, unless a slash ends it;
    folder names with % are taken for formats; the training commands call a function that Octave lacks for .h5.
    """
    suffix = os.path.splitext(text)[1].lower()
    if suffix and Path(text).is_dir():
        raise InputError(
            f"the original takes {text} for a file because of the dot; leave out --exact, or end it with /"
        )
    if "%" in text:
        raise InputError(f"the original cannot read {text} because of the %; leave out --exact")
    if suffix == ".h5" and importer == "imageimporter":
        raise InputError(f"the original cannot train on HDF5 files such as {text}; leave out --exact")
