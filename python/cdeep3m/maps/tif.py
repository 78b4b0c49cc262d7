"""Maps as TIFF stacks that Fiji opens with their scale: ImageJ's own kind up to 4 GB, OME and BigTIFF above."""

from __future__ import annotations

import logging
import math
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from cdeep3m.errors import InputError
from cdeep3m.maps.one_file import FileMaps
from cdeep3m.volumes.units import SYMBOLS, in_unit

if TYPE_CHECKING:
    from pathlib import Path

    from cdeep3m.maps.base import MapSpec
    from cdeep3m.volumes.address import Address

logger = logging.getLogger(__name__)

OF_IMAGEJ = ("uint8", "uint16", "float32")
OF_OME = (*OF_IMAGEJ, "int8", "int16", "int32", "uint32", "float64")
LARGEST_IMAGEJ = 2**32 - 2**20
"""Bytes of voxels; the rest is for headers."""


def open_maps(address: Address, spec: MapSpec) -> FileMaps:
    """Open a TIFF map, new or begun earlier.

    Raises
    ------
    InputError
        OME-TIFF has no such type.
    """
    if spec.dtype not in OF_OME:
        raise InputError(f"found {spec.dtype} values; expected one of {', '.join(OF_OME)} for a TIFF file")
    return FileMaps(
        address.path,
        spec,
        "TIFF",
        create=lambda path: _create(path, spec),
        mapped=lambda path: _mapped(path, spec),
    )


def _create(path: Path, spec: MapSpec) -> None:
    place = spec.placement
    if place.voxel_size is not None and place.unit is None:
        logger.warning("the unit of the voxel size %s is not known; it is left out of the TIFF file", place.voxel_size)
    options = _as_imagej(spec) if _is_imagej(spec) else _as_ome(spec)
    made = tifffile.memmap(path, shape=spec.shape, dtype=spec.dtype, photometric="minisblack", **options)
    del made


def _mapped(path: Path, spec: MapSpec) -> np.ndarray:
    array: np.ndarray = tifffile.memmap(path, mode="r+")
    return array.reshape(spec.shape)


def _is_imagej(spec: MapSpec) -> bool:
    bytes_of_all = math.prod(spec.shape) * np.dtype(spec.dtype).itemsize
    # tifffile takes a last axis of one for that of colours, where ImageJ is to open the file.
    return spec.dtype in OF_IMAGEJ and bytes_of_all < LARGEST_IMAGEJ and spec.shape[2] > 1


def _as_imagej(spec: MapSpec) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": "ZYX"}
    sizes, unit = spec.placement.voxel_size, spec.placement.unit
    if sizes is None or unit is None:
        return {"imagej": True, "metadata": metadata}
    # Bio-Formats takes the depth of a voxel for micrometers, whatever the unit of the file is.
    z, y, x = in_unit(sizes, unit, "micrometer")
    offset = in_unit(spec.placement.offset, unit, "micrometer")
    origin = {f"{a}origin": -at / s for a, at, s in zip("zyx", offset, (z, y, x), strict=True) if at}
    metadata |= {"spacing": z, "unit": "um", **origin}
    return {"imagej": True, "metadata": metadata, "resolution": (1 / x, 1 / y)}


def _as_ome(spec: MapSpec) -> dict[str, Any]:
    # OME wants an identifier; a random one would make every file another one, whatever it holds.
    identifier = uuid.uuid5(uuid.NAMESPACE_OID, f"{spec.shape} {spec.dtype}")
    metadata: dict[str, Any] = {"axes": "ZYX", "UUID": str(identifier)}
    sizes, unit = spec.placement.voxel_size, spec.placement.unit
    if sizes is not None and unit is not None:
        spelled = unit if unit in SYMBOLS else "micrometer"
        for axis, size in zip("ZYX", in_unit(sizes, unit, spelled), strict=True):
            metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": SYMBOLS[spelled]}
        if any(spec.placement.offset):
            logger.warning("OME-TIFF has no place for the offset %s %s; it is left out", spec.placement.offset, unit)
    return {"ome": True, "bigtiff": True, "metadata": metadata}
