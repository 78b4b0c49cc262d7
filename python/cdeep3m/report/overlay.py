"""Micrographs with what was found drawn into them: laid over, or coloured by how right it is."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from cdeep3m.edition2.overlaying import overlay as green_overlay
from cdeep3m.matlab_ports.overlay import overlay, to_8_bits
from cdeep3m.volumes import open_volume, planes_of, require_one_size
from cdeep3m.volumes.enhanced import open_enhanced
from cdeep3m.volumes.png import folder_for_planes, write_picture, write_plane

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from cdeep3m.volumes import Volume
    from cdeep3m.volumes.enhancement import Enhancement

FOUND = (60, 200, 90)
INVENTED = (240, 70, 60)
MISSED = (70, 130, 255)
LEGEND = "green: found; red: found, but not there; blue: missed; white: outlines of the truth"
"""What the colours of `compare` mean, in words."""

COLOURS = ((0, 158, 115), (230, 159, 0), (86, 180, 233), (204, 121, 167), (213, 94, 0), (240, 228, 66), (0, 114, 178))
"""Of the classes beyond background, in their order: those that everybody can tell apart (Okabe and Ito 2008)."""

LAID_OVER = "Overlay_{:04d}.png"
IN_GREEN = "overlay_{:04d}.png"


def overlay_volumes(raw: str | os.PathLike[str], segmented: str | os.PathLike[str], out: str | os.PathLike[str]) -> int:
    """Lay a segmentation or probability maps over the images, plane by plane (overlay.py).

    Parameters
    ----------
    raw, segmented : path
        Volumes of one size; 16 bits are scaled to 8, and labels of 0 and 1 count as 0 and 255.
    out : path
        Folder; gets `Overlay_0001.png` and so on, 8-bit gray.

    Returns
    -------
    int
        How many planes were written.

    Raises
    ------
    InputError
        When the sizes differ, or `out` is one of the folders that are read.
    MissingFileError, FormatError
        As of `open_volume`.
    """
    images, maps = open_volume(raw), open_volume(segmented)
    require_one_size({raw: images, segmented: maps})
    files = folder_for_planes(out, LAID_OVER, images.shape[0], inputs=(raw, segmented))
    to_gray = _white_where_not_0 if _are_labels_of_0_and_1(maps) else to_8_bits
    for path, image, plane in zip(files, planes_of(images), planes_of(maps), strict=True):
        write_plane(path, overlay(to_gray(plane), to_8_bits(image)))
    return len(files)


def green_overlays(
    segmented: str | os.PathLike[str],
    raw: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    enhancement: Enhancement | None = None,
) -> int:
    """Lay probability maps over the images in green, plane by plane, in the colours of CDeep3M2 (Create_overlays.py).

    Parameters
    ----------
    segmented, raw : path
        Volumes of one size, of any format; 16 bits are scaled to 8.
    out : path
        Folder; gets `overlay_0001.png` and so on. What is there under these names is replaced.
    enhancement : Enhancement, optional
        Shows the images as a net saw them.

    Returns
    -------
    int
        How many pictures were written.

    Raises
    ------
    InputError
        When the sizes differ, or `out` is one of the folders that are read.
    MissingFileError, FormatError
        As of `open_volume`.
    """
    maps, images = open_volume(segmented), open_enhanced(raw, enhancement)
    require_one_size({segmented: maps, raw: images})
    files = folder_for_planes(out, IN_GREEN, images.shape[0], inputs=(raw, segmented))
    for path, plane, image in zip(files, planes_of(maps), planes_of(images), strict=True):
        write_picture(path, green_overlay(to_8_bits(plane), to_8_bits(image)))
    return len(files)


def class_overlays(
    segmented: Sequence[str | os.PathLike[str]], raw: str | os.PathLike[str], out: str | os.PathLike[str]
) -> int:
    """Lay the probability maps of several classes over the images, a colour each, plane by plane.

    Parameters
    ----------
    segmented : sequence of path
        The maps of each class, in their order; volumes of the size of `raw`.
    raw : path
        The images; 16 bits are scaled to 8.
    out : path
        Folder; gets `overlay_0001.png` and so on. What is there under these names is replaced.

    Returns
    -------
    int
        How many pictures were written.

    Raises
    ------
    InputError
        When the sizes differ, or `out` is one of the folders that are read.
    MissingFileError, FormatError
        As of `open_volume`.
    """
    maps, images = [open_volume(path) for path in segmented], open_volume(raw)
    require_one_size(dict(zip([*segmented, raw], [*maps, images], strict=True)))
    files = folder_for_planes(out, IN_GREEN, images.shape[0], inputs=(raw, *segmented))
    planes = zip(*(planes_of(each) for each in maps), strict=True)
    for path, of_classes, image in zip(files, planes, planes_of(images), strict=True):
        write_picture(path, tinted(to_8_bits(image), [to_8_bits(plane) for plane in of_classes]))
    return len(files)


def tinted(image: np.ndarray, maps: Sequence[np.ndarray], *, strength: float = 0.5) -> np.ndarray:
    """Tint one plane by the probabilities of several classes, each in its own of the `COLOURS`.

    Parameters
    ----------
    image : ndarray of uint8, shape (y, x)
    maps : sequence of ndarray of uint8, shape (y, x)
        Probabilities of 255ths.
    strength : float
        How strong the tint of a certain voxel is, from 0 to 1.

    Returns
    -------
    ndarray of uint8, shape (y, x, 3)
        Red, green, blue.

    Examples
    --------
    >>> maps = np.uint8([[255, 0, 0]]), np.uint8([[0, 255, 0]])
    >>> tinted(np.full((1, 3), 100, np.uint8), maps).tolist()
    [[[50, 129, 108], [165, 130, 50], [100, 100, 100]]]
    """
    picture = np.repeat(image[..., None], 3, axis=-1).astype(np.float32)
    for plane, colour in zip(maps, cycle(COLOURS), strict=False):
        picture += strength / 255 * plane[..., None] * (np.array(colour, np.float32) - picture)
    return np.rint(picture).astype(np.uint8)


def _are_labels_of_0_and_1(volume: Volume) -> bool:
    return volume.dtype.kind == "u" and not any((plane > 1).any() for plane in planes_of(volume))


def _white_where_not_0(plane: np.ndarray) -> np.ndarray:
    return np.where(plane, np.uint8(255), np.uint8(0))


def compare(
    image: np.ndarray, label: np.ndarray, segmentation: np.ndarray, *, strength: float = 0.3, outline: int = 2
) -> np.ndarray:
    """Tint one plane by how a segmentation agrees with its ground truth, and outline the ground truth in white.

    Parameters
    ----------
    image : ndarray of uint8, shape (y, x)
        The micrograph.
    label, segmentation : ndarray of bool, shape (y, x)
        Ground truth, and what was found.
    strength : float
        How strong the tint is, from 0 to 1.
    outline : int
        Width of the outline, in pixels; 0 for none.

    Returns
    -------
    ndarray of uint8, shape (y, x, 3)
        Red, green, blue: `FOUND` where both agree, `INVENTED` and `MISSED` where they do not.

    Examples
    --------
    >>> picture = compare(np.full((1, 2), 100, np.uint8), np.array([[True, False]]), np.zeros((1, 2), bool), outline=0)
    >>> picture.tolist()
    [[[91, 109, 146], [100, 100, 100]]]
    """
    picture = np.repeat(image[..., None], 3, axis=-1).astype(np.float32)
    areas = (label & segmentation, segmentation & ~label, label & ~segmentation)
    for area, colour in zip(areas, (FOUND, INVENTED, MISSED), strict=True):
        picture[area] += strength * (np.array(colour, np.float32) - picture[area])
    if outline:
        picture[label & ~ndimage.binary_erosion(label, iterations=outline, border_value=1)] = 255
    return np.rint(picture).astype(np.uint8)
