"""Enhanced images as a folder of files, for eyes and for other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.errors import InputError
from cdeep3m.geometry import Roi
from cdeep3m.system.threads import for_each
from cdeep3m.volumes.enhanced import enhanced
from cdeep3m.volumes.listing import image_files
from cdeep3m.volumes.open import open_volume
from cdeep3m.volumes.png import write_plane

if TYPE_CHECKING:
    from cdeep3m.volumes.base import Volume
    from cdeep3m.volumes.enhancement import Enhancement


def enhance_stack(images: str | os.PathLike[str], out: str | os.PathLike[str], enhancement: Enhancement) -> int:
    """Write every plane of a volume, enhanced, to a folder.

    Parameters
    ----------
    images : path
        Folder of images, or a stack of any format.
    out : path
        Gets 8-bit gray PNG files: of the images' own names, or those of a stack's planes, numbered with leading zeros.
        It may be there if it holds no other files than these.
    enhancement : Enhancement

    Returns
    -------
    int
        How many planes were written.

    Raises
    ------
    InputError
        `out` holds other files.
    """
    volume = open_volume(images)
    names = _names(Path(images), volume)
    folder = Path(out)
    _check_folder(folder, set(names), Path(images))
    seen = enhanced(volume, enhancement, name=os.fspath(images))
    folder.mkdir(parents=True, exist_ok=True)
    depth, height, width = volume.shape

    def write(z: int) -> None:
        write_plane(folder / names[z], seen.read(Roi((z, 0, 0), (z + 1, height, width)))[0])

    for_each(write, range(depth))
    return depth


def _names(images: Path, volume: Volume) -> list[str]:
    """Return the name of every plane's file."""
    if not volume.is_folder:
        digits = max(4, len(str(volume.shape[0])))
        return [f"{images.stem}_{z + 1:0{digits}d}.png" for z in range(volume.shape[0])]
    return [f"{path.stem}.png" for path in image_files(images)]


def _check_folder(folder: Path, names: set[str], images: Path) -> None:
    """Refuse to mix the planes with other files, or to write over what is read."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; expected a folder to write to. Choose another one")
    if images.is_dir() and folder.samefile(images):
        raise InputError(f"{folder} is what is read; expected another folder to write to. Choose a new one")
    others = sorted(path.name for path in folder.iterdir() if path.name not in names and not path.name.startswith("."))
    if others:
        raise InputError(f"{folder} holds other files, such as {others[0]}; expected an empty or new folder")
