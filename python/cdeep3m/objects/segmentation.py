"""Labelled objects: from probability maps by a watershed, and how well they agree with the truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.errors import InputError, needing
from cdeep3m.matlab_ports.apply_3d_watershed import DEPTH
from cdeep3m.matlab_ports.label2rgb import colour_table, label2rgb
from cdeep3m.matlab_ports.overlay import overlay, to_8_bits
from cdeep3m.matlab_ports.snemi3d_metrics import Overlaps, RandScores, overlaps, snemi3d_metrics
from cdeep3m.objects.slabs import find_basins
from cdeep3m.rules import CORRECTED, Rules
from cdeep3m.volumes import open_volume, planes_of, require_one_size
from cdeep3m.volumes.png import folder_for_planes, write_picture
from cdeep3m.volumes.tiff import write_stack

if TYPE_CHECKING:
    import os

LABELS = "labels.tif"
COLOURED = "Overlay_{:04d}.png"


def label_objects(
    segmented: str | os.PathLike[str],
    raw: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    depth: float = DEPTH,
    rules: Rules = CORRECTED,
) -> int:
    """Separate the objects between boundaries, and paint them over the images (Apply3DWatershed.m).

    Parameters
    ----------
    segmented : path
        Probability maps of boundaries, membranes for example. A slab of planes is in memory; the whole is for a while
        in `out`, with 28 bytes a voxel.
    raw : path
        The images, of the same size.
    out : path
        Folder; gets `labels.tif`, 16 bits or 32 where there are more objects, and `Overlay_0001.png` and so on.
    depth : float
        By how much the boundary between two objects must be more probable than their insides, from 0 to 1.
    rules : Rules
        Treat edges and neighbours as the original does.

    Returns
    -------
    int
        How many objects there are.

    Raises
    ------
    InputError
        When `depth` is out of range, the sizes differ, or `out` is one of the folders that are read.
    MissingExtraError
        Without scikit-image.
    MissingFileError, FormatError
        As of `open_volume`.
    """
    if not 0 < depth < 1:
        raise InputError(f"hm3d:{depth:g} is out of range; expected a depth between 0 and 1, such as {DEPTH}")
    maps, images = open_volume(segmented), open_volume(raw)
    require_one_size({segmented: maps, raw: images})
    pictures = folder_for_planes(out, COLOURED, maps.shape[0], inputs=(segmented, raw))
    with needing("scikit-image", extra="watershed", module="skimage"):
        found = find_basins(maps, depth=depth, exact=rules.octave_watershed, folder=Path(out))
    dtype = np.dtype(np.uint16 if found.count <= np.iinfo(np.uint16).max else np.uint32)
    write_stack(Path(out) / LABELS, (plane.astype(dtype) for plane in found.lined()), shape=maps.shape, dtype=dtype)
    table = colour_table(found.count)
    for path, plane, image in zip(pictures, found.lined(), planes_of(images), strict=True):
        write_picture(path, overlay(label2rgb(plane, table), to_8_bits(image)[..., None]))
    return found.count


def score_segmentation(truth: str | os.PathLike[str], segmented: str | os.PathLike[str]) -> RandScores:
    """Return the adapted Rand error of a labelled volume (SNEMI3D_metrics.m); memory grows with the pairs of labels.

    Parameters
    ----------
    truth, segmented : path
        Labels of one size; whole numbers of any type, 0 for background.

    Returns
    -------
    RandScores

    Raises
    ------
    InputError
        When the sizes differ, or a value has a fraction.
    MissingFileError, FormatError
        As of `open_volume`.
    """
    a, b = (open_volume(path, role="segmentation") for path in (truth, segmented))
    require_one_size({truth: a, segmented: b})
    counts = Overlaps()
    for plane_a, plane_b in zip(planes_of(a), planes_of(b), strict=True):
        counts.update(overlaps(plane_a, plane_b))
    return snemi3d_metrics(counts)
