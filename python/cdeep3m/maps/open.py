"""Open an output: find the format of an address and let its module write it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.errors import InputError
from cdeep3m.maps.chunked import chunks_for, shards_for
from cdeep3m.volumes.address import Address
from cdeep3m.volumes.formats import MAP, Format, expected, format_of

if TYPE_CHECKING:
    import os

    from cdeep3m.geometry import Coordinate
    from cdeep3m.maps.base import Maps, MapSpec

FORMATS: list[Format] = [
    Format(
        name="png",
        what="a folder of .png images",
        module="cdeep3m.maps.png_folder",
        is_folder=True,
        holds=Path.is_dir,
    ),
    Format(
        name="tif",
        what="a .tif or .tiff file",
        module="cdeep3m.maps.tif",
        suffixes=(".tif", ".tiff"),
        is_folder=False,
        inside=".tif",
    ),
    Format(
        name="h5",
        what="an .h5 file",
        module="cdeep3m.maps.hdf5",
        suffixes=(".h5", ".hdf5", ".hdf"),
        is_folder=False,
        inside=".h5",
    ),
    Format(
        name="mrc",
        what="an .mrc file",
        module="cdeep3m.maps.mrc",
        suffixes=(".mrc", ".map", ".rec"),
        is_folder=False,
        inside=".mrc",
    ),
    Format(
        name="ome-zarr",
        what="a .zarr folder",
        module="cdeep3m.maps.ome_zarr",
        suffixes=(".zarr",),
        schemes=("zarr",),
        is_folder=True,
        inside=".zarr",
        chunks=chunks_for,
    ),
    Format(
        name="ome-zarr-0.4",
        what="one of OME-Zarr 0.4 (--format ome-zarr-0.4)",
        module="cdeep3m.maps.ome_zarr_04",
        is_folder=True,
        inside=".zarr",
        chunks=chunks_for,
    ),
    Format(
        name="ome-zarr-sharded",
        what="one in shards (--format ome-zarr-sharded)",
        module="cdeep3m.maps.ome_zarr_sharded",
        is_folder=True,
        inside=".zarr",
        chunks=shards_for,
    ),
    Format(
        name="n5",
        what="an .n5 folder",
        module="cdeep3m.maps.n5",
        suffixes=(".n5",),
        schemes=("n5",),
        is_folder=True,
        inside=".n5",
        chunks=chunks_for,
    ),
    Format(
        name="precomputed",
        what="a precomputed:// folder",
        module="cdeep3m.maps.precomputed",
        suffixes=(".precomputed",),
        schemes=("precomputed",),
        is_folder=True,
        inside=".precomputed",
        chunks=chunks_for,
    ),
]
"""What can be written. Each module has `open_maps(address, spec) -> Maps`, which goes on with what is there."""


def format_called(name: str) -> Format:
    """Return the format of a name.

    Raises
    ------
    InputError
        There is none.
    """
    by_name = {one.name: one for one in FORMATS}
    if name not in by_name:
        raise InputError(f"found the format {name!r}; expected one of {', '.join(by_name)}")
    return by_name[name]


def place_of(folder: Path, format_name: str, *, planes: str = MAP) -> Path:
    """Return where a map of a format goes in a folder that is its own.

    Examples
    --------
    >>> place_of(Path("1fm"), "ome-zarr").as_posix(), place_of(Path("1fm"), "png").as_posix()
    ('1fm/Segmented.zarr', '1fm')
    """
    inside = format_called(format_name).inside
    return folder / f"{planes}{inside}" if inside else folder


def address_in(place: Address, net: str, format_name: str, *, planes: str = "Segmented") -> Address:
    """Return the address of a net's map below a place of its own, such as a bucket.

    Examples
    --------
    >>> str(address_in(Address("s3://lab/run/"), "1fm", "n5"))
    's3://lab/run/1fm/Segmented.n5'
    """
    return Address(f"{place.location.rstrip('/')}/{net}/{planes}{format_called(format_name).inside}")


def chunks_of(format_name: str, shape: Coordinate) -> Coordinate:
    """Return the chunks of a map of a format; every voxel for itself where it has none.

    Examples
    --------
    >>> chunks_of("n5", (10, 500, 500)), chunks_of("tif", (10, 500, 500))
    ((10, 64, 64), (1, 1, 1))
    """
    chunks = format_called(format_name).chunks
    return chunks(shape) if chunks else (1, 1, 1)


def open_maps(address: str | os.PathLike[str] | Address, spec: MapSpec, *, format_name: str | None = None) -> Maps:
    """Open an output of any format in `FORMATS`, new or begun earlier.

    Parameters
    ----------
    address : str, path or Address
        Where the map goes.
    spec : MapSpec
        What it is to be.
    format_name : str, optional
        Name of a format; default: the one that the address tells, or else a folder of PNG images.

    Raises
    ------
    InputError
        There is no such format, or it cannot hold such a map.
    """
    named = Address.of(address)
    found = format_called(format_name) if format_name is not None else format_of(named, FORMATS)
    if found is None:
        if named.scheme or named.suffix:
            raise InputError(f"cannot write to {named}; expected {expected(FORMATS)}")
        found = format_called("png")
    maps: Maps = import_module(found.module).open_maps(named, spec)
    return maps
