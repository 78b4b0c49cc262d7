"""What a net is trained on, as data for its report: sizes, gray values, part of foreground, a few patches."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from cdeep3m.engines.job_files import listed_files
from cdeep3m.errors import CDeep3MError
from cdeep3m.geometry import from_caffe_axes
from cdeep3m.matlab_ports.check_training_data import SMALLEST_SIDE
from cdeep3m.volumes.labels import IGNORED
from cdeep3m.volumes.samples import data_uri, gray_histogram, sampled, to_8_bits, white_of
from cdeep3m.volumes.units import in_nanometers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from cdeep3m.engines.base import LabelledVolume

SLABS = 12
"""So many yz-slabs stand for the whole: voxels of a slab lie together, in memory and in files."""
PATCHES = 4
IN_BETWEEN = np.uint8(128)
"""Gray value of labels that do not count, where they are shown."""
VARIANT = re.compile(r"\d+\.h5$")
"""What differs between the names of the files of one volume."""
MOST_VOLUMES = 16
"""The gray values of so many volumes are told apart."""
SIDE = 144
"""Pixels along a side of a patch that is shown."""


def facts_of(run: Path, training: Sequence[LabelledVolume], validation: Sequence[LabelledVolume]) -> dict[str, Any]:
    """Return what a net of the run in `run` is trained on; empty where that cannot be read here.

    Parameters
    ----------
    run : Path
        Folder of the training; its train_file.txt counts where there are no volumes in memory.
    training, validation : sequences of LabelledVolume
        Volumes in memory.
    """
    if training:
        own = bool(validation) and validation[0].data is not training[0].data
        facts = _facts([(volume.data, volume.label) for volume in training])
        size = in_nanometers(training[0].placement)
        return facts | {"validation": own, "volumes": len(training)} | ({"voxel_size": size} if size else {})
    files, tests = (_listed(run / name) for name in ("train_file.txt", "valid_file.txt"))
    if not files:
        return {}
    from cdeep3m.volumes.hdf5 import read_dataset

    try:
        volumes = [tuple(read_dataset(file, name) for name in ("data", "label")) for file in one_of_each(files)]
    except (CDeep3MError, OSError):
        return {}
    if any(data.ndim != 3 or data.shape != label.shape for data, label in volumes):
        return {}
    return _facts(volumes) | {"validation": bool(set(tests) - set(files)), "volumes": len(files), "file": files[0]}


def one_of_each(files: Sequence[str]) -> list[str]:
    """Return the first file of every volume: its 16 variants are in files whose names differ in their last number.

    Examples
    --------
    >>> one_of_each(["a/stacks_v1_1.h5", "a/stacks_v1_2.h5", "a/stacks_v2_1.h5"])
    ['a/stacks_v1_1.h5', 'a/stacks_v2_1.h5']
    >>> one_of_each(["a/stacks_v1.h5", "a/stacks_v2.h5"])
    ['a/stacks_v1.h5']
    """
    first: dict[str, str] = {}
    for file in files:
        first.setdefault(VARIANT.sub("", file), file)
    return list(first.values())[:MOST_VOLUMES]


def _facts(volumes: Sequence[tuple[np.ndarray, ...]]) -> dict[str, Any]:
    """Return the facts of the first volume, axes (x, y, z), and the gray values of the others.

    Nothing tells of the zeros that fill short sides.
    """
    own = [(data[part], label[part]) for data, label in volumes for part in (own_part(data, label),)]
    data, label = own[0]
    slabs = sampled(data.shape[0], SLABS)
    foreground = _share(label, slabs) or _share(label, range(label.shape[0]))  # a small object lies between slabs
    others = [_grays(other) for other, _ in own[1:]]
    return {
        "shape": [int(side) for side in data.shape[::-1]],
        "type": data.dtype.name,
        "foreground": foreground,
        "histogram": _grays(data),
        **({"other_histograms": others} if others else {}),
        "patches": _patches(from_caffe_axes(data), from_caffe_axes(label)),
    }


def _grays(data: np.ndarray) -> list[int]:
    """Return the histogram of some slabs of a volume."""
    slabs = sampled(data.shape[0], SLABS)
    white = max(white_of(np.asarray(data[x])) for x in slabs) if data.dtype.kind == "f" else 1.0
    return [int(count) for count in np.sum([gray_histogram(np.asarray(data[x]), top=white) for x in slabs], axis=0)]


def own_part(data: np.ndarray, label: np.ndarray) -> tuple[slice, slice]:
    """Return where in (x, y) the images of a training volume lie, which is smaller where short sides were filled.

    Parameters
    ----------
    data, label : ndarray of a number type, shape (x, y, z)
        A side of 325 voxels may be a filled one: what is 0 at its ends, in images and labels, is left out. Images may
        lie at either end, as variants of a filled volume are turned.
    """
    x, y = (_not_blank(data, label, axis) if data.shape[axis] == SMALLEST_SIDE else slice(None) for axis in (0, 1))
    return x, y


def _not_blank(data: np.ndarray, label: np.ndarray, axis: int) -> slice:
    others = tuple(other for other in range(data.ndim) if other != axis)
    (found,) = np.nonzero(np.any(data, axis=others) | np.any(label, axis=others))
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(None)


def _share(label: np.ndarray, slabs: Iterable[int]) -> float:
    """Return the part of the labels that is foreground, of those that count in some slabs."""
    counts = np.array([(int(np.count_nonzero(label[x])), *_ignored(label[x])) for x in slabs]).sum(axis=0)
    return float((counts[0] - counts[1]) / max(counts[2] - counts[1], 1))


def _ignored(slab: np.ndarray) -> tuple[int, int]:
    """Return how many labels of a slab do not count, and how many there are."""
    return int(np.count_nonzero(slab == IGNORED)), slab.size


def _patches(data: np.ndarray, label: np.ndarray) -> list[dict[str, Any]]:
    """Return a few patches, axes (z, y, x) of the volumes, each about foreground where its plane has any."""
    depth, height, width = data.shape
    places = np.random.default_rng(0)
    patches = []
    for z in sampled(depth, PATCHES):
        inside = np.argwhere((label[z] != 0) & (label[z] != IGNORED))
        y, x = inside[places.integers(len(inside))] if len(inside) else (height // 2, width // 2)
        top, left = (int(min(max(0, at - SIDE // 2), max(0, side - SIDE))) for at, side in ((y, height), (x, width)))
        box = (z, slice(top, top + SIDE), slice(left, left + SIDE))
        shown = np.asarray(label[box])
        label_patch = np.where(shown == IGNORED, IN_BETWEEN, np.where(shown != 0, np.uint8(255), np.uint8(0)))
        patches.append({"plane": z + 1, "image": data_uri(_stretched(data[box])), "label": data_uri(label_patch)})
    return patches


def _stretched(patch: np.ndarray) -> np.ndarray:
    """Return a patch as uint8; floating point and 16 bits over the range that they have."""
    if patch.dtype.itemsize == 1:
        return to_8_bits(np.ascontiguousarray(patch))
    low, high = float(patch.min()), float(patch.max())
    return to_8_bits((patch.astype(np.float64) - low) / (high - low or 1.0))


def _listed(path: Path) -> list[str]:
    """Return the files that a list names, none where there is no list."""
    try:
        return [str(file) for file in listed_files(path, path.parent)]
    except (OSError, ValueError):
        return []
