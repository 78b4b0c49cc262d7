"""Which files of a folder are the planes of a volume, and in which order."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from cdeep3m.errors import InputError
from cdeep3m.rules import CORRECTED, Rules

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)


def image_files(folder: Path, *, rules: Rules = CORRECTED) -> list[Path]:
    """Return the images of a folder in the order of their planes.

    Files only, names beginning with a dot left out, suffixes in any case. The more numerous of .png and .tif counts,
    .tif when there are as many of both. Files named .tiff count only where there is neither, and not in exact mode.

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
        When there are none.
    """
    names = [entry.name for entry in os.scandir(folder) if not entry.name.startswith(".") and entry.is_file()]
    of_kind = {kind: [name for name in names if name.lower().endswith(kind)] for kind in (".png", ".tif", ".tiff")}
    chosen = of_kind[".png"] if len(of_kind[".png"]) > len(of_kind[".tif"]) else of_kind[".tif"]
    if not rules.bytewise_order:
        chosen = chosen or of_kind[".tiff"]
    if not chosen:
        raise InputError(
            f"no images in {folder}: {len(names)} files, none of them .png or .tif. "
            "Convert the images to 8- or 16-bit gray PNG or TIFF, one plane a file"
        )
    bytewise = sorted(chosen, key=os.fsencode)
    if rules.bytewise_order:
        return [folder / name for name in bytewise]
    natural = sorted(chosen, key=natural_key)
    if natural != bytewise:
        logger.warning(
            "%s: planes are read in natural order (%s before %s); the original would have read them bytewise",
            folder,
            *_first_that_differ(natural, bytewise),
        )
    return [folder / name for name in natural]


def natural_key(name: str) -> tuple[list[tuple[int, int]], bytes]:
    """Return a key that sorts bytewise but takes runs of digits as numbers.

    Examples
    --------
    >>> sorted(["img10", "img2", "a", "img1", "Img3", "img.x"], key=natural_key)
    ['Img3', 'a', 'img.x', 'img1', 'img2', 'img10']
    """
    raw = os.fsencode(name)
    key: list[tuple[int, int]] = []
    at = 0
    while at < len(raw):
        end = at
        while end < len(raw) and raw[end : end + 1].isdigit():
            end += 1
        if end > at:
            key.append((ord("0"), int(raw[at:end])))
            at = end
        else:
            key.append((raw[at], 0))
            at += 1
    return key, raw


def _first_that_differ(natural: list[str], bytewise: list[str]) -> tuple[str, str]:
    return next((a, b) for a, b in zip(natural, bytewise, strict=True) if a != b)
