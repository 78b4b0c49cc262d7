"""Which files of a folder are the planes of a volume, in which order, and what else lies there."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.errors import InputError, MissingFileError
from cdeep3m.rules import CORRECTED, Rules
from cdeep3m.volumes.names import doubled, in_order, listing, natural_key, oddities, series_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["image_files", "natural_key"]

logger = logging.getLogger(__name__)

PNG, TIFF = (".png",), (".tif", ".tiff")
OTHER_IMAGES = (
    *(".jpg", ".jpeg", ".jp2", ".bmp", ".gif", ".pgm", ".pbm", ".ppm", ".pnm", ".webp", ".avif"),
    *(".dm3", ".dm4", ".mrc", ".mrcs", ".rec", ".st", ".ser", ".emd", ".czi", ".nd2", ".lif", ".nrrd", ".nii", ".npy"),
)
UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".filepart", ".tmp", ".gz", ".bz2", ".xz", ".zip")
"""What downloads and compressions put behind a name."""


def image_files(folder: Path, *, rules: Rules = CORRECTED) -> list[Path]:
    """Return the images of a folder in the order of their planes; say what is left out, or looks odd.

    Files only, names beginning with a dot left out, suffixes in any case. The more numerous of PNG and TIFF counts,
    TIFF when there are as many of both. In exact mode .tiff files do not count.

    Parameters
    ----------
    folder : Path
    rules : Rules
        Keep the original's bytewise order, in which img10 comes before img2 (defect 18), instead of the natural one.

    Returns
    -------
    list of Path
        At least one.

    Raises
    ------
    InputError
        When there are none, or two stand for one plane.
    MissingFileError
        When an image is a link that leads nowhere.
    """
    names = _files_in(folder)
    pngs, tiffs = (_of(names, kind) for kind in (PNG, TIFF[:1] if rules.bytewise_order else TIFF))
    chosen = pngs if len(pngs) > len(tiffs) else tiffs
    left_out = sorted(set(names) - set(chosen), key=natural_key)
    left_out = [name for name in left_out if _is_image(name)]
    if not chosen:
        also = f" ({listing(left_out)} among them)" if left_out else ""
        raise InputError(
            f"no images in {folder}: {len(names)} files, none of them .png or .tif{also}. "
            "Convert the images to 8- or 16-bit gray PNG or TIFF, one plane a file"
        )
    if left_out:
        kind = "PNG" if chosen is pngs else "TIFF"
        logger.warning(
            "Warning: %s: %s left out, as the %d %s files are read; move or convert what belongs to the volume",
            folder,
            listing(left_out) + (" is" if len(left_out) == 1 else " are"),
            len(chosen),
            kind,
        )
    return [folder / name for name in (_bytewise(folder, chosen) if rules.bytewise_order else _ordered(folder, chosen))]


def plane_numbers(images: str | os.PathLike[str], *, rules: Rules = CORRECTED) -> list[int] | None:
    """Return the number of each plane of a folder in their order; None where the names do not count one number."""
    if not os.path.isdir(images):
        return None
    names = _files_in(Path(images))
    pngs, tiffs = (_of(names, kind) for kind in (PNG, TIFF[:1] if rules.bytewise_order else TIFF))
    chosen = pngs if len(pngs) > len(tiffs) else tiffs
    series = series_of(sorted(chosen, key=os.fsencode) if rules.bytewise_order else in_order(chosen)[0])
    return series[0].counted() if len(series) == 1 else None


def _bytewise(folder: Path, chosen: Sequence[str]) -> list[str]:
    _say_oddities(folder, chosen)
    return sorted(chosen, key=os.fsencode)


def _ordered(folder: Path, chosen: Sequence[str]) -> list[str]:
    if twice := doubled(sorted(chosen, key=natural_key)):
        raise InputError(
            f"{folder / twice[1]} and {twice[0]} are two files for one plane; expected one file a plane. "
            "Remove the copy, or move it elsewhere"
        )
    names, words = in_order(chosen)
    bytewise = sorted(chosen, key=os.fsencode)
    if words:
        logger.warning("Warning: %s: %s", folder, words)
    elif names != bytewise:
        logger.warning(
            "%s: planes are read in natural order (%s before %s); the original would have read them bytewise",
            folder,
            *_first_that_differ(names, bytewise),
        )
    _say_oddities(folder, names)
    return names


def _say_oddities(folder: Path, names: Sequence[str]) -> None:
    for words in oddities(names):
        logger.warning("Warning: %s: %s", folder, words)


def _files_in(folder: Path) -> list[str]:
    """Return the names of the visible files of a folder; refuse images that cannot be read to their end."""
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_file():
                names.append(entry.name)
            elif entry.name.lower().endswith((*PNG, *TIFF)) and entry.is_dir():
                logger.warning("Warning: %s is a folder, and left out; expected an image file", folder / entry.name)
            elif entry.name.lower().endswith((*PNG, *TIFF)):
                _refuse(folder / entry.name)
    return names


def _refuse(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise MissingFileError(
            f"{path} is a link to {os.readlink(path)}, which is not there; mount its disk, or remove the link"
        )
    kind = "a pipe" if stat.S_ISFIFO(path.stat().st_mode) else "no file"
    raise InputError(f"{path} is {kind}; expected an image file. Remove it")


def _of(names: Sequence[str], suffixes: tuple[str, ...]) -> list[str]:
    return [name for name in names if name.lower().endswith(suffixes)]


def _is_image(name: str) -> bool:
    """Return whether a file may be a plane that was meant to be read."""
    lower = name.lower()
    for suffix in UNFINISHED:
        if lower.endswith(suffix):
            lower = lower.removesuffix(suffix)
            break
    return lower.endswith((*PNG, *TIFF, *OTHER_IMAGES))


def _first_that_differ(natural: list[str], bytewise: list[str]) -> tuple[str, str]:
    return next((a, b) for a, b in zip(natural, bytewise, strict=True) if a != b)
