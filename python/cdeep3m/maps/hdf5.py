"""Maps as HDF5 files: one contiguous dataset (z, y, x), with ilastik's axis tags and CREMI's resolution."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import h5py
import numpy as np

from cdeep3m.maps.one_file import FileMaps

if TYPE_CHECKING:
    from pathlib import Path

    from cdeep3m.maps.base import MapSpec
    from cdeep3m.volumes.address import Address

DATASET = "data"
SPACE = 2
"""Axes of space, in the flags of axis tags."""


def open_maps(address: Address, spec: MapSpec) -> FileMaps:
    """Open an HDF5 map, new or begun earlier; its dataset is the one that the address names, or `data`."""
    dataset = address.dataset or DATASET
    return FileMaps(
        address.path,
        spec,
        "HDF5",
        create=lambda path: _create(path, spec, dataset),
        mapped=lambda path: _mapped(path, spec, dataset),
    )


def _create(path: Path, spec: MapSpec, name: str) -> None:
    with h5py.File(path, "w", locking=False) as file:  # the caller holds the lock
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_layout(h5py.h5d.CONTIGUOUS)
        plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        plan.set_obj_track_times(False)
        links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
        links.set_create_intermediate_group(True)
        kind = h5py.h5t.py_create(np.dtype(spec.dtype), logical=True)
        h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(spec.shape), plan, links)
        attributes = file[name].attrs
        sizes = spec.placement.voxel_size
        tags = [
            {"key": axis, "typeFlags": SPACE, "resolution": size, "description": spec.placement.unit or ""}
            for axis, size in zip("zyx", sizes or (0, 0, 0), strict=True)
        ]
        attributes["axistags"] = json.dumps({"axes": tags})
        if sizes is not None:
            attributes["resolution"] = np.array(sizes, np.float64)
            attributes["offset"] = np.array(spec.placement.offset, np.float64)
            attributes["unit"] = spec.placement.unit or ""


def _mapped(path: Path, spec: MapSpec, name: str) -> np.ndarray:
    with h5py.File(path, "r") as file:
        offset = file[name].id.get_offset()
    return np.memmap(path, np.dtype(spec.dtype), "r+", offset, spec.shape)
