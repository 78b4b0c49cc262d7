"""What a net is trained on, as data for its report: sizes, gray values, part of foreground, a few patches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cdeep3m.engines.job_files import listed_files
from cdeep3m.errors import CDeep3MError
from cdeep3m.geometry import from_caffe_axes
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
        facts = _facts(training[0].data, training[0].label) | {"validation": own, "volumes": len(training)}
        size = in_nanometers(training[0].placement)
        return facts | ({"voxel_size": size} if size else {})
    files, tests = (_listed(run / name) for name in ("train_file.txt", "valid_file.txt"))
    if not files:
        return {}
    from cdeep3m.volumes.hdf5 import read_dataset

    try:
        data, label = (read_dataset(files[0], name) for name in ("data", "label"))
    except (CDeep3MError, OSError):
        return {}
    if data.ndim != 3 or data.shape != label.shape:
        return {}
    return _facts(data, label) | {"validation": bool(set(tests) - set(files)), "volumes": len(files), "file": files[0]}


def _facts(data: np.ndarray, label: np.ndarray) -> dict[str, Any]:
    """Return the facts of one volume, axes (x, y, z)."""
    slabs = sampled(data.shape[0], SLABS)
    foreground = _share(label, slabs) or _share(label, range(label.shape[0]))  # a small object lies between slabs
    white = max(white_of(np.asarray(data[x])) for x in slabs) if data.dtype.kind == "f" else 1.0
    histogram = sum(gray_histogram(np.asarray(data[x]), top=white) for x in slabs)
    return {
        "shape": [int(side) for side in data.shape[::-1]],
        "type": data.dtype.name,
        "foreground": foreground,
        "histogram": np.asarray(histogram).tolist(),
        "patches": _patches(from_caffe_axes(data), from_caffe_axes(label)),
    }


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
