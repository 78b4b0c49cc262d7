"""What the description of a TIFF file says of its planes: ImageJ's lines, OME's sizes, tifffile's shape."""

from __future__ import annotations

import json
import logging
import math
import re
from typing import TYPE_CHECKING

from cdeep3m.errors import InputError
from cdeep3m.volumes.damage import damaged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cdeep3m.volumes.tiff_directories import Directory

logger = logging.getLogger(__name__)

IMAGEJ = {"frames": "t", "slices": "z", "channels": "c"}
"""ImageJ's names, the slowest axis first."""
PIXELS = re.compile(r"<(?:\w+:)?Pixels\b([^>]*)>")
CHANNEL = re.compile(r"<(?:\w+:)?Channel\b[^>]*?\bSamplesPerPixel\s*=\s*[\"'](\d{1,9})[\"']")
ATTRIBUTE = re.compile(r"\b(Size[ZCT]|DimensionOrder)\s*=\s*[\"']([^\"']{0,40})[\"']")
FILE_NAME = re.compile(r"<(?:\w+:)?UUID\b[^>]*?\bFileName\s*=\s*[\"']([^\"']+)[\"']")
WORDS = {"c": "channels", "t": "times", "z": "planes"}
ALL = "all"
"""Stands for the planes of several images."""


def planes_said(text: str) -> dict[str, int] | None:
    r"""Return how many planes a description promises along each axis, the slowest first; None where it says nothing.

    Examples
    --------
    >>> planes_said("ImageJ=1.54f\nimages=8\nchannels=2\nslices=4\n")
    {'t': 1, 'z': 4, 'c': 2}
    >>> planes_said('<OME><Image><Pixels DimensionOrder="XYZCT" SizeC="1" SizeT="1" SizeZ="5"/></Image></OME>')
    {'t': 1, 'c': 1, 'z': 5}
    >>> planes_said('{"shape": [2, 4, 64, 72]}'), planes_said("taken on Monday")
    ({'?': 8}, None)
    """
    if text.startswith("ImageJ="):
        return _imagej(dict(line.split("=", 1) for line in text.splitlines() if "=" in line))
    if PIXELS.search(text):
        return _ome(text)
    if text.lstrip().startswith("{"):
        return _tifffile(text)
    return None


def check_promises(path: Path, pages: Sequence[Directory], *, chosen: bool = False) -> int:
    """Compare what the description promises with the pages that are there; return how many planes there are.

    Parameters
    ----------
    path : Path
        The file, for messages.
    pages : sequence of Directory
        All of its pages.
    chosen : bool
        Whether it is known which pages are meant: then there may be several channels, times or images.

    Returns
    -------
    int
        Beyond 4 GB ImageJ writes one directory for all planes, which lie behind each other: then more than `pages`.

    Raises
    ------
    FormatError
        Planes are missing.
    InputError
        It holds several channels, or times of volumes, or a part of an image whose other files lie beside it.
    """
    said = planes_said(pages[0].text)
    if said is None:
        return len(pages)
    promised = said.get(ALL) or math.prod(said.values())
    if not chosen:
        _refuse_channels(path, said)
    if len(pages) == 1 and promised > 1 and pages[0].text.startswith("ImageJ=") and pages[0].compression == 1:
        _check_behind_each_other(path, pages[0], promised)
        return promised
    files = {name for block in PIXELS.split(pages[0].text)[1:] for name in FILE_NAME.findall(block)}
    if len(files) > 1:
        raise InputError(
            f"{path} is one of {len(files)} files of an OME-TIFF; expected one file. Save them as one, for example "
            "with ImageJ (Bio-Formats Exporter), or bfconvert"
        )
    full = [page for page in pages if not page.reduced]
    if promised > len(full) * (pages[0].samples if "?" in said else 1):
        raise damaged(
            path, "TIFF", f"it is incomplete: its description promises {promised} planes, it holds {len(full)}"
        )
    return len(pages)


def _imagej(lines: Mapping[str, str]) -> dict[str, int] | None:
    said = {axis: _number(lines.get(name)) for name, axis in IMAGEJ.items()}
    images = _number(lines.get("images"))
    if math.prod(said.values()) != images and max(said.values()) == 1:
        said["z"] = images
    return said if math.prod(said.values()) >= images else {**said, "?": -(-images // math.prod(said.values()))}


def _ome(text: str) -> dict[str, int] | None:
    """Return the planes of the first image along its axes; of several images the number, and all of their planes."""
    blocks = list(PIXELS.finditer(text))
    ends = [*(block.start() for block in blocks[1:]), len(text)]
    images = [_of_image(block[1], text[block.end() : end]) for block, end in zip(blocks, ends, strict=True)]
    if len(images) == 1:
        return images[0]
    return {"series": len(images), ALL: sum(math.prod(sizes.values()) for sizes in images)}


def _of_image(attributes: str, rest: str) -> dict[str, int]:
    """Return the planes of an image along its axes: the samples of a colour lie in one plane."""
    said = dict(ATTRIBUTE.findall(attributes))
    order = said.get("DimensionOrder", "XYZCT")[:1:-1].lower()
    sizes = {axis: _number(said.get(f"Size{axis.upper()}")) for axis in order if axis in "zct"}
    samples = [_number(count) for count in CHANNEL.findall(rest)]
    return {**sizes, "c": len(samples)} if sum(samples) == sizes.get("c") else sizes


def _tifffile(text: str) -> dict[str, int] | None:
    try:
        said = json.loads(text)
        shape, axes = [int(side) for side in said["shape"]], str(said.get("axes", ""))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if len(axes) != len(shape):
        in_plane = 3 if shape and shape[-1] in (3, 4) and len(shape) > 2 else 2
        return {"?": math.prod(shape[:-in_plane])} if min(shape, default=0) > 0 else None
    return {axis.lower(): side for axis, side in zip(axes, shape, strict=True) if axis not in "YXS"}


def _number(text: str | None) -> int:
    """Return a number from a description; 1 where there is none that makes sense."""
    digits = (text or "").strip()
    return max(1, int(digits)) if digits.isascii() and digits.isdigit() and len(digits) < 19 else 1


def _refuse_channels(path: Path, said: Mapping[str, int]) -> None:
    if said.get("series", 1) > 1:
        raise InputError(
            f"{path} holds {said['series']} images (series); expected one. Save the one that is meant alone"
        )
    if said.get("c", 1) > 1:
        raise InputError(
            f"{path} holds {said['c']} channels; expected one gray channel. Save the one that is meant as a file of "
            "its own (ImageJ: Image > Color > Split Channels)"
        )
    if said.get("t", 1) > 1 and said.get("z", 1) > 1:
        raise InputError(
            f"{path} holds {said['t']} times of {said['z']} planes; expected one volume. Save each time as "
            "a file of its own"
        )
    if said.get("t", 1) > 1:
        logger.warning(
            "Warning: %s calls its %d planes times (frames); they are read as planes along z", path, said["t"]
        )


def _check_behind_each_other(path: Path, page: Directory, promised: int) -> None:
    end, needed = path.stat().st_size, page.begins + promised * page.plane_bytes
    if needed > end:
        whole = max(0, (end - page.begins) // page.plane_bytes)
        raise damaged(path, "TIFF", f"it is truncated: its description promises {promised} planes, it holds {whole}")
