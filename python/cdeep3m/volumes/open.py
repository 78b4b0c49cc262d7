"""Open a volume: which format an address means."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.errors import InputError, MissingFileError
from cdeep3m.rules import CORRECTED, Rules

if TYPE_CHECKING:
    from cdeep3m.volumes.base import Importer, Role, Volume

EXPECTED = "a folder of .png or .tif images, a .tif or .tiff stack, or an .h5 file with one dataset"


def open_volume(
    path: str | os.PathLike[str],
    *,
    rules: Rules = CORRECTED,
    role: Role = "image",
    importer: Importer = "imageimporter_large",
) -> Volume:
    """Open a folder of images, a TIFF stack or an HDF5 file; planes are read when they are asked for.

    Parameters
    ----------
    path : path
        A folder of .png or .tif files (the more numerous kind counts), a .tif or .tiff file with a plane a page, or an
        .h5 file with one dataset of shape (x, y, z).
    rules : Rules
        Read as the original does: bytewise order of the files; planes without any value between black and white become
        logical (bool); only the first file's size is looked at before reading.
    role : {"image", "label", "segmentation"}
        Labels of two values come as 0 and 1 (uint8) whatever the values are; the labels of a segmentation come as they
        are, whole numbers of any type. Exact mode makes no difference.
    importer : {"imageimporter", "imageimporter_large"}
        Which of the original's readers exact mode follows: that of the training commands, or that of the prediction
        commands, which takes the red channel of colour and decides about black and white by the area that it reads.

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
    where = Path(path)
    if rules.octave_images:
        _refuse_what_the_original_refuses(path, importer)
    if where.is_dir():
        return _open_folder(where, rules=rules, role=role, importer=importer)
    if not where.exists():
        raise MissingFileError(f"no such file or folder: {where}. Expected {EXPECTED}")
    return _open_file(where, rules=rules, role=role, importer=importer)


def _open_folder(folder: Path, *, rules: Rules, role: Role, importer: Importer) -> Volume:
    from cdeep3m.volumes.listing import image_files
    from cdeep3m.volumes.planes import open_planes

    files = image_files(folder, rules=rules)
    if files[0].suffix.lower() == ".png":
        from cdeep3m.volumes.png import PngFolder

        return open_planes(PngFolder(files), rules=rules, role=role, importer=importer)
    from cdeep3m.volumes.tiff import TiffFolder

    return open_planes(TiffFolder(files), rules=rules, role=role, importer=importer)


def _open_file(path: Path, *, rules: Rules, role: Role, importer: Importer) -> Volume:
    suffix = path.suffix.lower()
    if suffix in (".tif", ".tiff"):
        from cdeep3m.volumes.planes import open_planes
        from cdeep3m.volumes.tiff import TiffStack

        return open_planes(TiffStack(path), rules=rules, role=role, importer=importer)
    if suffix in (".h5", ".hdf5"):
        from cdeep3m.volumes.hdf5 import Hdf5Volume
        from cdeep3m.volumes.labels import LabelVolume, SegmentationVolume

        volume = Hdf5Volume(path, checked=not rules.octave_images and role == "image")
        if role == "segmentation":
            return SegmentationVolume(volume, str(path))
        return LabelVolume(volume, str(path)) if role == "label" and not rules.octave_images else volume
    raise InputError(f"{path} is a {suffix or 'file without a suffix, not a'} file; expected {EXPECTED}")


def _refuse_what_the_original_refuses(path: str | os.PathLike[str], importer: Importer) -> None:
    """Fail where imageimporter.m and its callers fail (defects 12 and 14).

    A path whose last component has a dot counts as a file, the folder `my.images` included, unless a slash ends it;
    folder names with % are taken for formats; the training commands call a function that Octave lacks for .h5.
    """
    text = os.fspath(path)
    suffix = os.path.splitext(text)[1].lower()
    if suffix and Path(text).is_dir():
        raise InputError(
            f"the original takes {text} for a file because of the dot; leave out --exact, or end it with /"
        )
    if "%" in text:
        raise InputError(f"the original cannot read {text} because of the %; leave out --exact")
    if suffix == ".h5" and importer == "imageimporter":
        raise InputError(f"the original cannot train on HDF5 files such as {text}; leave out --exact")
