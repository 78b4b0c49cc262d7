"""Images that take the gray values of others, so that a trained model sees what it was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.errors import InputError
from cdeep3m.matlab_ports.histmatch import histmatch, histogram, mean_plane
from cdeep3m.rules import CORRECTED, Rules
from cdeep3m.volumes import open_volume, planes_of
from cdeep3m.volumes.png import folder_for_planes, write_plane

if TYPE_CHECKING:
    import os

    from cdeep3m.volumes import Volume

MATCHED = "Image_{:04d}.png"


def match_images(
    images: str | os.PathLike[str],
    reference: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    rules: Rules = CORRECTED,
) -> int:
    """Match every plane to the histogram of the mean plane of a reference (Histmatch.m).

    Parameters
    ----------
    images, reference : path
        Volumes of 8 or 16 bits; their sizes may differ.
    out : path
        Folder; gets `Image_0001.png` and so on, of the type of the reference.
    rules : Rules
        The original crashes; so there is nothing to reproduce.

    Returns
    -------
    int
        How many planes were written.

    Raises
    ------
    InputError
        In exact mode; when values have other types; when `out` is one of the folders that are read.
    MissingFileError, FormatError
        As of `open_volume`.
    """
    if rules.histmatch_crashes:
        raise InputError("the original's Histmatch crashes (correction 19): leave out --exact, and CDEEP3M_EXACT")
    volume = _open_gray(images)
    wanted = histogram(mean_plane(planes_of(_open_gray(reference))))
    files = folder_for_planes(out, MATCHED, volume.shape[0], inputs=(images, reference))
    for path, plane in zip(files, planes_of(volume), strict=True):
        write_plane(path, histmatch(plane, wanted))
    return len(files)


def _open_gray(path: str | os.PathLike[str]) -> Volume:
    volume = open_volume(path)
    if volume.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path} holds {volume.dtype} values; expected 8 or 16 bits. Convert it")
    return volume
