"""Folders of images, one plane a file: the more numerous of .png and .tif counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdeep3m.errors import MissingFileError
from cdeep3m.volumes.axes import refuse_unused
from cdeep3m.volumes.listing import image_files
from cdeep3m.volumes.planes import open_planes

if TYPE_CHECKING:
    from cdeep3m.volumes.address import Address
    from cdeep3m.volumes.base import Reading, Volume


def open_address(address: Address, reading: Reading) -> Volume:
    """Open a folder of images."""
    if address.dataset:
        raise MissingFileError(f"{address}: a folder of images has no datasets; leave out ::{address.dataset}")
    refuse_unused(reading.selection, name=str(address), kind="a folder of images")
    files = image_files(address.path, rules=reading.rules)
    if files[0].suffix.lower() == ".png":
        from cdeep3m.volumes.png import PngFolder

        return open_planes(PngFolder(files), reading)
    from cdeep3m.volumes.tiff import TiffFolder

    return open_planes(TiffFolder(files), reading)
