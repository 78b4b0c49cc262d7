"""Maps as MRC files; 8-bit ones are IMOD's unsigned bytes, which 3dmod shows as they are."""

from __future__ import annotations

import logging
import struct
import warnings
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.errors import InputError, needing
from cdeep3m.maps.one_file import FileMaps
from cdeep3m.volumes.mrc import FLAGS_AT, HEADER_BYTES, IMOD_STAMP, ORIGIN_IS_STANDARD, STAMP_AT, UNIT
from cdeep3m.volumes.units import in_unit

if TYPE_CHECKING:
    from pathlib import Path

    from cdeep3m.maps.base import MapSpec
    from cdeep3m.volumes.address import Address

logger = logging.getLogger(__name__)

MODES = {"uint8": 0, "int8": 0, "int16": 1, "float32": 2, "uint16": 6, "float16": 12}
EXTRA_AT = 112
"""Where the field with IMOD's stamp begins."""
PLANES_AT_ONCE = 16
MADE_BY = b"Created by cdeep3m with mrcfile.py"


def open_maps(address: Address, spec: MapSpec) -> FileMaps:
    """Open an MRC map, new or begun earlier.

    Raises
    ------
    InputError
        MRC has no such type.
    """
    if spec.dtype not in MODES:
        raise InputError(f"found {spec.dtype} values; expected one of {', '.join(MODES)} for an MRC file")
    return FileMaps(
        address.path,
        spec,
        "MRC",
        create=lambda path: _create(path, spec),
        mapped=lambda path: np.memmap(path, np.dtype(spec.dtype).newbyteorder("<"), "r+", HEADER_BYTES, spec.shape),
        complete=_add_statistics,
    )


def _create(path: Path, spec: MapSpec) -> None:
    with needing("mrcfile", extra="mrc", module="mrcfile"):
        import mrcfile
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with mrcfile.new_mmap(path, spec.shape, mrc_mode=MODES[spec.dtype], overwrite=True) as file:
            file.header.ispg = 1
            file.header.label[0] = MADE_BY  # mrcfile's own holds the time, and no two files would be the same
            file.header.mz = spec.shape[0]
            place = spec.placement
            if place.voxel_size is not None:
                unit = place.unit or "nanometer"
                if place.unit is None:
                    logger.warning("the unit of the voxel size %s is not known; it is written as nm", place.voxel_size)
                z, y, x = in_unit(place.voxel_size, unit, UNIT)
                file.voxel_size = (x, y, z)
                file.header.origin = in_unit(place.offset, unit, UNIT)[::-1]
    if spec.dtype == "uint8":
        with path.open("r+b") as raw:
            raw.seek(EXTRA_AT + STAMP_AT)
            raw.write(struct.pack("<i", IMOD_STAMP))
            raw.seek(EXTRA_AT + FLAGS_AT)
            raw.write(struct.pack("<i", ORIGIN_IS_STANDARD))


def _add_statistics(path: Path, array: np.ndarray) -> None:
    """Write the smallest, largest and mean value and the deviation, by which programs choose contrast."""
    import mrcfile

    low, high, total, squares = np.inf, -np.inf, 0.0, 0.0
    for begin in range(0, len(array), PLANES_AT_ONCE):
        part = np.asarray(array[begin : begin + PLANES_AT_ONCE], np.float64)
        low, high = min(low, part.min()), max(high, part.max())
        total, squares = total + part.sum(), squares + np.square(part).sum()
    mean = total / array.size
    with mrcfile.mmap(path, mode="r+") as file:
        file.header.dmin, file.header.dmax, file.header.dmean = low, high, mean
        file.header.rms = np.sqrt(max(0.0, squares / array.size - mean**2))
