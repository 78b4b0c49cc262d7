"""Maps as Neuroglancer shows them: precomputed volumes along x, y, z on a grid of nm."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any

from cdeep3m.errors import InputError
from cdeep3m.maps.chunked import ChunkedMaps, Level, chunks_for, demand_own, ledger_of, run_of, units_of
from cdeep3m.maps.progress import Finished
from cdeep3m.maps.pyramid import LevelSize, level_sizes
from cdeep3m.volumes.axes import Layout
from cdeep3m.volumes.precomputed import DRIVER, INFO, UNIT
from cdeep3m.volumes.stores import Store, reaching, tensorstore_module, writing_context
from cdeep3m.volumes.units import in_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.geometry import Coordinate, Placement
    from cdeep3m.maps.base import MapSpec
    from cdeep3m.volumes.address import Address
    from cdeep3m.volumes.stores import Attributes

logger = logging.getLogger(__name__)

AXES = "xyzc"
TYPES = ("uint8", "uint16", "uint32", "uint64", "float32")


def open_maps(address: Address, spec: MapSpec) -> ChunkedMaps:
    """Open a precomputed map, new or begun earlier.

    Raises
    ------
    InputError
        Something else is there, or the format has no such type.
    """
    if spec.dtype not in TYPES:
        raise InputError(f"found {spec.dtype} values; expected one of {', '.join(TYPES)} for a precomputed volume")
    store = Store.at(address.location.removeprefix("precomputed://")).child(address.dataset)
    sizes = level_sizes(spec.shape, spec.placement.voxel_size)
    chunks = chunks_for(spec.shape)
    info = _info(spec, sizes, chunks)
    sealed = _is_sealed(store, info)
    ledger = ledger_of(store)
    demand_own(store, ledger, sealed=sealed)
    levels = [
        Level(size, _array(store, info, number), Layout((*size.shape[::-1], 1), AXES, {"c": 0}))
        for number, size in enumerate(sizes)
    ]
    return ChunkedMaps(
        spec,
        levels,
        chunks=chunks,
        finished=Finished(ledger, run_of(spec, "precomputed", chunks), more=units_of(sizes, chunks)),
        name=str(address),
        seal=lambda: store.write(INFO, json.dumps(info, indent=2).encode()),
        sealed=sealed,
        method="first" if spec.labels else "mean",
    )


def _info(spec: MapSpec, sizes: Sequence[LevelSize], chunks: Coordinate) -> Attributes:
    """Return the info of the volume, with all its scales."""
    resolution, offset = _grid(spec.placement)
    scales = []
    for size in sizes:
        by = [size_of * factor for size_of, factor in zip(resolution, size.factors, strict=True)]
        begin = [at // factor for at, factor in zip(offset, size.factors, strict=True)]
        scales.append(
            {
                "key": "_".join(f"{side:g}" for side in by[::-1]),
                "size": list(size.shape[::-1]),
                "resolution": by[::-1],
                "voxel_offset": begin[::-1],
                "chunk_sizes": [[min(c, s) for c, s in zip(chunks, size.shape, strict=True)][::-1]],
                "encoding": "raw",
            }
        )
    return {
        "@type": "neuroglancer_multiscale_volume",
        "type": "segmentation" if spec.labels and spec.dtype.startswith("u") else "image",
        "data_type": spec.dtype,
        "num_channels": 1,
        "scales": scales,
    }


def _grid(placement: Placement) -> tuple[list[float], list[int]]:
    """Return voxel size in nm and offset in voxels, along (z, y, x); say what had to be rounded or made up."""
    if placement.voxel_size is None:
        logger.warning("the voxel size is not known; a precomputed volume needs one: 1 x 1 x 1 nm is written")
        return [1.0, 1.0, 1.0], [0, 0, 0]
    unit = placement.unit
    if unit is None:
        logger.warning("the unit of the voxel size %s is not known; it is written as nm", placement.voxel_size)
    sizes = in_unit(placement.voxel_size, unit or UNIT, UNIT)
    begins = in_unit(placement.offset, unit or UNIT, UNIT)
    exact = [begin / size for begin, size in zip(begins, sizes, strict=True)]
    offset = [round(at) for at in exact]
    if any(abs(a - b) > 1e-3 for a, b in zip(exact, offset, strict=True)):
        logger.warning("the offset %s is no whole number of voxels; it is written as %s voxels", begins, tuple(offset))
    return list(sizes), offset


def _array(store: Store, info: Attributes, number: int) -> Any:
    """Open the array of a scale over an info in memory: the store gets its own when the map is whole."""
    ts = tensorstore_module()
    text = json.dumps(info)
    name = hashlib.sha256(f"{store.url} {text}".encode("utf-8", "surrogateescape")).hexdigest()
    layers = [{"base": store.kvstore()}, {"exact": INFO, "base": {"driver": "memory", "path": name}}]
    spec = {
        "driver": DRIVER,
        "kvstore": {"driver": "kvstack", "layers": layers},
        "scale_index": number,
        "store_data_equal_to_fill_value": True,
    }
    with reaching(store.url):
        memory = ts.KvStore.open({"driver": "memory", "path": name}, context=writing_context()).result()
        memory.write("", text.encode()).result()
        array = ts.open(spec, context=writing_context(), open=True).result()
    return array.translate_to[(0, 0, 0, 0)]


def _is_sealed(store: Store, info: Attributes) -> bool:
    """Return whether a whole map of the same kind is there.

    Raises
    ------
    InputError
        Something else is.
    """
    found = store.read_json(INFO)
    if found is None:
        return False
    if any(found.get(key) != info[key] for key in ("data_type", "num_channels", "scales")):
        raise InputError(f"{store.url} is there already, another volume; delete it, or choose another name")
    return True
