"""Maps as N5: arrays s0, s1, ... along x, y, z, with the attributes of n5-viewer and COSEM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdeep3m.errors import InputError
from cdeep3m.maps.chunked import ChunkedMaps, Level, chunks_for, demand_own, ledger_of, run_of, units_of
from cdeep3m.maps.progress import Finished
from cdeep3m.maps.pyramid import level_sizes
from cdeep3m.volumes.axes import Layout
from cdeep3m.volumes.ome_zarr import downsampled
from cdeep3m.volumes.stores import Store
from cdeep3m.volumes.units import SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.geometry import Coordinate
    from cdeep3m.maps.base import MapSpec
    from cdeep3m.maps.pyramid import LevelSize
    from cdeep3m.volumes.address import Address
    from cdeep3m.volumes.stores import Attributes

META = "attributes.json"
VERSION = "2.5.1"
AXES = "xyz"


def open_maps(address: Address, spec: MapSpec) -> ChunkedMaps:
    """Open an N5 map, new or begun earlier.

    Raises
    ------
    InputError
        Something else is there, or N5 has no such type.
    """
    if spec.dtype == "float16":
        raise InputError("found float16 values; N5 has no such type. Choose --dtype float32")
    store = Store.at(address.location.removeprefix("n5://")).child(address.dataset)
    sizes = level_sizes(spec.shape, spec.placement.voxel_size)
    chunks = chunks_for(spec.shape)
    sealed = _is_sealed(store, spec)
    ledger = ledger_of(store)
    demand_own(store, ledger, sealed=sealed)
    levels = [
        Level(size, _array(store.child(f"s{number}"), spec, size, chunks), Layout(size.shape[::-1], AXES))
        for number, size in enumerate(sizes)
    ]
    return ChunkedMaps(
        spec,
        levels,
        chunks=chunks,
        finished=Finished(ledger, run_of(spec, "N5", chunks), more=units_of(sizes, chunks)),
        name=str(address),
        seal=lambda: _seal(store, spec, sizes),
        sealed=sealed,
        method="first" if spec.labels else "mean",
    )


def _array(store: Store, spec: MapSpec, size: LevelSize, chunks: Coordinate) -> Any:
    block = [min(chunk, side) for chunk, side in zip(chunks, size.shape, strict=True)][::-1]
    meta = {
        "dimensions": size.shape[::-1],
        "blockSize": block,
        "dataType": spec.dtype,
        "compression": {"type": "gzip", "level": 1},
    }
    return store.create_array("n5", metadata=meta)


def _seal(store: Store, spec: MapSpec, sizes: Sequence[LevelSize]) -> None:
    """Add what the arrays are to their attributes; those of the group come last."""
    # Neuroglancer shows no volume whose unit it does not know, such as "nanometer" in full.
    name = spec.placement.unit
    unit = None if name is None else SYMBOLS.get(name, name).replace("µ", "u")
    for number, size in enumerate(sizes):
        scale, translation = downsampled(spec.placement, size.factors)
        begin = spec.placement.offset if spec.labels else translation
        array = store.child(f"s{number}")
        said: Attributes = {"axes": list(AXES), "downsamplingFactors": list(size.factors[::-1])}
        if spec.placement.voxel_size is not None:
            where = {"scale": list(scale), "translate": list(map(float, begin)), "units": [unit or ""] * 3}
            said["transform"] = {"axes": list("zyx"), **where}
        array.write_json(META, {**(array.read_json(META) or {}), **said})
    group: Attributes = {"n5": VERSION, "scales": [list(size.factors[::-1]) for size in sizes]}
    if spec.placement.voxel_size is not None:
        sizes_xyz = list(map(float, spec.placement.voxel_size[::-1]))
        group["pixelResolution"] = {"dimensions": sizes_xyz, "unit": unit or "pixel"}
    store.write_json(META, group)


def _is_sealed(store: Store, spec: MapSpec) -> bool:
    """Return whether a whole map of the same kind is there.

    Raises
    ------
    InputError
        Something else is.
    """
    group, first = store.read_json(META), store.child("s0").read_json(META)
    if group is None:
        return False
    found = (first or {}).get("dimensions"), (first or {}).get("dataType")
    if found != (list(spec.shape[::-1]), spec.dtype):
        raise InputError(
            f"{store.url} is there already, {found[1]} values of {found[0]} along x, y, z; expected {spec.dtype} of "
            f"{list(spec.shape[::-1])}, or nothing. Delete it, or choose another name"
        )
    return True
