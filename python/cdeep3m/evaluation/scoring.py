"""Score maps, or labelled objects, against ground truth on disk: in all and plane by plane, a plane in memory."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cdeep3m.errors import InputError
from cdeep3m.evaluation.border_zone import border_zone
from cdeep3m.evaluation.object_scores import ObjectScores, Touching, resolved, score_objects
from cdeep3m.evaluation.precision_recall import VALUES, PrecisionRecall, precision_recall
from cdeep3m.evaluation.scores import HALF, Scores, best_threshold, score
from cdeep3m.matlab_ports.snemi3d_metrics import Overlaps, overlaps
from cdeep3m.volumes import open_volume, planes_of, require_one_size
from cdeep3m.volumes.address import Address
from cdeep3m.volumes.formats import MAP
from cdeep3m.volumes.labels import IGNORED, ClassVolume, Labelling, OneClass
from cdeep3m.volumes.open import ELSEWHERE
from cdeep3m.volumes.samples import to_8_bits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdeep3m.volumes import Volume

ENSEMBLE = "ensembled"
MAP_TYPES = ("uint8", "uint16", "float32")
CLASS_FOLDER = re.compile(r"class_([1-9]\d*)")
_BOX = re.compile(r"(-?\d*:-?\d*),(-?\d*:-?\d*),(-?\d*:-?\d*)")


@dataclass(frozen=True)
class Region:
    """Where voxels count: a box, a volume that is not 0 there, or everywhere.

    Attributes
    ----------
    box : tuple of slice
        Along (z, y, x).
    mask : Volume, optional
        Voxels of 0 do not count.
    """

    box: tuple[slice, slice, slice] = (slice(None), slice(None), slice(None))
    mask: Volume | None = None

    def planes(self, shape: tuple[int, int, int]) -> Iterator[np.ndarray]:
        """Yield where voxels count, a bool array of shape (y, x) for each plane."""
        depth, *sides = shape
        wanted = range(depth)[self.box[0]]
        for z, mask in zip(range(depth), planes_of(self.mask) if self.mask else repeat(None), strict=False):
            inside = np.zeros(sides, bool)
            if z in wanted:
                inside[self.box[1:]] = True if mask is None else (mask != 0)[self.box[1:]]
            yield inside


@dataclass(frozen=True, kw_only=True)
class MapScores:
    """How well maps agree with their ground truth at one threshold, and at all of them.

    Attributes
    ----------
    threshold : int
        Lowest 8-bit value that counted as foreground.
    chosen_here : bool
        Whether it was chosen on these very voxels.
    counts : ndarray of int64, shape (planes, 2, 256)
        Voxels per plane, class (background, foreground) and value; those that do not count are left out.
    objects : ObjectScores, optional
        Touching foreground voxels as objects.
    """

    threshold: int
    chosen_here: bool
    counts: np.ndarray
    objects: ObjectScores | None

    @property
    def total(self) -> np.ndarray:
        """Counts of all planes, shape (2, 256).

        Returns
        -------
        ndarray of int, shape (2, 256)
        """
        return self.counts.sum(axis=0)

    @property
    def scores(self) -> Scores:
        """Scores of all planes together."""
        return score(self.total, threshold=self.threshold)

    @property
    def planes(self) -> list[Scores]:
        """Scores plane by plane."""
        return [score(counts, threshold=self.threshold) for counts in self.counts]

    @property
    def curve(self) -> PrecisionRecall:
        """Precision and recall at every threshold, of all planes together."""
        return precision_recall(self.total)

    @property
    def best(self) -> int:
        """The threshold whose F1 on these voxels is highest."""
        return best_threshold(self.total)


class Counted(NamedTuple):
    """What one pass over maps and labels counts: values per plane, and what is above a threshold, as objects."""

    values: np.ndarray
    objects: ObjectScores | None


def maps_in(path: str | os.PathLike[str]) -> Path | Address:
    """Return the maps that `path` means: itself, or the average of the nets in the folder of a prediction.

    Raises
    ------
    InputError
        It is the folder of a prediction of several classes.
    """
    named = Address.of(path)
    if named.scheme:
        return named
    classes = class_folders(path)
    if classes:
        listed = ", ".join(map(str, classes))
        first = next(iter(classes.values()))
        raise InputError(f"{path} holds maps of class {listed}; expected those of one. Name its folder, as in {first}")
    folder = Path(path) / ENSEMBLE if (Path(path) / ENSEMBLE).is_dir() else Path(path)
    single = sorted(folder.glob(f"{MAP}.*")) if folder.is_dir() else []
    found = single[0] if len(single) == 1 and single[0].name != ELSEWHERE else folder
    return replace(named, location=os.fspath(found)) if isinstance(path, Address) else found


def class_folders(path: str | os.PathLike[str]) -> dict[int, Path]:
    """Return the prediction of each class in the folder of a prediction of several; none in any other folder."""
    folder = Path(path)
    if Address.of(path).scheme or not folder.is_dir() or (folder / ENSEMBLE).is_dir():
        return {}
    found = {int(match[1]): each for each in folder.iterdir() if (match := CLASS_FOLDER.fullmatch(each.name))}
    return dict(sorted(found.items()))


def class_folder(path: str | os.PathLike[str], label: int) -> str | os.PathLike[str]:
    """Return the prediction of one class in the folder of a prediction of several, or any other maps as they are.

    Raises
    ------
    InputError
        There are maps of other classes alone.
    """
    folders = class_folders(path)
    if folders and label not in folders:
        raise InputError(f"{path} holds maps of class {', '.join(map(str, folders))}; found none of class {label}")
    if label not in folders:
        return path
    return replace(path, location=os.fspath(folders[label])) if isinstance(path, Address) else folders[label]


def classes_in(labels: str | os.PathLike[str]) -> list[int]:
    """Return the numbers beyond 0 that labels hold."""
    found = np.empty(0, np.int64)
    for plane in planes_of(open_volume(labels, role="segmentation")):
        found = np.union1d(found, plane)
    return [int(value) for value in found if value]


def is_map(path: Path | Address, volume: Volume) -> bool:
    """Return whether values of a type of more than 8 bits are probabilities: those of a prediction's own maps are."""
    location = os.fspath(path).rstrip("/")
    own = location.rpartition("/")[2].startswith(f"{MAP}.") or os.path.isfile(os.path.join(location, ELSEWHERE))
    return own and volume.dtype.name in MAP_TYPES


def region_of(text: str | None, shape: tuple[int, int, int]) -> Region:
    """Return the region that a user asked for: None, a box such as "0:5,100:400,:", or the path of a volume.

    Raises
    ------
    InputError
        A box that holds no voxel, or a volume of another size.
    MissingFileError, FormatError
        As of `open_volume`.
    """
    if text is None:
        return Region()
    match = _BOX.fullmatch(text)
    if match is None:
        mask = open_volume(text, role="segmentation")
        if mask.shape != shape:
            raise InputError(
                f"the region {text} has {mask.shape} voxels along (z, y, x); expected {shape}, as the maps"
            )
        return Region(mask=mask)
    z, y, x = (slice(*(int(end) if end else None for end in part.split(":"))) for part in match.groups())
    if not all(len(range(side)[part]) for side, part in zip(shape, (z, y, x), strict=True)):
        raise InputError(f"the region {text} holds no voxel of {shape} along (z, y, x); expected a box such as 0:5,:,:")
    return Region(box=(z, y, x))


def score_maps(
    maps: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    *,
    threshold: int | None = HALF,
    tolerance: float = 0,
    roi: str | None = None,
    objects: bool = True,
    label: int | None = None,
    ignore: int | None = None,
) -> MapScores:
    """Score probability maps against ground truth.

    Parameters
    ----------
    maps : path
        8-bit maps, or the folder of a prediction, whose average of the nets then counts; its maps of more bits are
        scored in 256 steps.
    labels : path
        Ground truth of the same voxels: 0 background, one other value foreground.
    threshold : int or None
        Lowest value that counts as foreground, 0 to 256; None: the best one for these very voxels.
    tolerance : float
        Pixels around borders of the ground truth that do not count, as of `border_zone`.
    roi : str, optional
        As of `region_of`.
    objects : bool
        Whether to score objects, too; they are whole whatever the tolerance is.
    label : int, optional
        The number that is foreground in labels of several classes.
    ignore : int, optional
        The number of voxels that nobody has labelled; they do not count.

    Returns
    -------
    MapScores

    Raises
    ------
    InputError
        Sizes that differ, maps of another type, or nothing that counts.
    MissingFileError, FormatError
        As of `open_volume`.
    """
    if tolerance < 0:
        raise InputError(f"a tolerance of {tolerance:g} pixels; expected 0 or more")
    here = maps_in(maps)
    values, truth = open_volume(here), _truth(labels, label, ignore)
    require_one_size({here: values, labels: truth})
    if values.dtype != np.uint8 and not is_map(here, values):
        raise InputError(
            f"{here} holds {values.dtype}; expected 8-bit probability maps. Score objects with --instances"
        )
    region = region_of(roi, values.shape)
    counted = _count(values, truth, region, tolerance, threshold if objects else None, ignore=ignore)
    if not counted.values.sum():
        raise InputError("no voxel counts: expected some inside the region and outside the zone around borders")
    if threshold is not None:
        return MapScores(threshold=threshold, chosen_here=False, counts=counted.values, objects=counted.objects)
    best = best_threshold(counted.values.sum(axis=0))
    found = _count(values, truth, region, tolerance, best, ignore=ignore).objects if objects else None
    return MapScores(threshold=best, chosen_here=True, counts=counted.values, objects=found)


def score_instances(
    found: str | os.PathLike[str], labels: str | os.PathLike[str], *, roi: str | None = None
) -> ObjectScores:
    """Score labelled objects, each with a number of its own, against those of the ground truth.

    Raises
    ------
    InputError
        Sizes that differ, or values with a fraction.
    MissingFileError, FormatError
        As of `open_volume`.
    """
    ours, truth = (open_volume(path, role="segmentation") for path in (found, labels))
    require_one_size({found: ours, labels: truth})
    region = region_of(roi, ours.shape)
    counts: Overlaps = Overlaps()
    for b, a, inside in zip(planes_of(ours), planes_of(truth), region.planes(ours.shape), strict=True):
        counts.update(overlaps(a[inside], b[inside]))
    return score_objects(counts)


def _truth(labels: str | os.PathLike[str], label: int | None, ignore: int | None) -> Volume:
    """Open labels, where there are classes or voxels to be ignored as foreground, background and IGNORED."""
    if label is None and ignore is None:
        return open_volume(labels, role="label")
    stored = open_volume(labels, role="segmentation")
    if label is None:
        return ClassVolume(stored, str(labels), Labelling(ignore=ignore))
    return OneClass(stored, label, ignore)


def _count(
    maps: Volume,
    labels: Volume,
    region: Region,
    tolerance: float,
    threshold: int | None,
    *,
    ignore: int | None = None,
) -> Counted:
    """Count values plane by plane, and the voxels that objects share where there is a threshold."""
    values = np.zeros((maps.shape[0], 2, VALUES), np.int64)
    shared: Overlaps = Overlaps()
    true, found = Touching(), Touching()
    planes = zip(planes_of(maps), planes_of(labels), region.planes(maps.shape), strict=True)
    for z, (probabilities, truth, part) in enumerate(planes):
        plane = to_8_bits(probabilities)
        label = (truth != 0) & (truth != IGNORED) if ignore is not None else truth != 0
        part &= truth != IGNORED if ignore is not None else np.True_
        where = part & ~border_zone(label, tolerance)
        for side, kind in enumerate((~label, label)):
            values[z, side] = np.bincount(plane[kind & where], minlength=VALUES)
        if threshold is not None:
            shared.update(overlaps(true.number(label & part), found.number((plane >= threshold) & part)))
    objects = None if threshold is None else score_objects(resolved(shared, true, found))
    return Counted(values, objects)
