"""Maps as OME-Zarr 0.5 (Zarr 3) or 0.4 (Zarr 2), on disk or S3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cdeep3m.errors import InputError
from cdeep3m.maps.chunked import (
    ChunkedMaps,
    Level,
    chunks_for,
    chunks_in_shards,
    chunks_within,
    demand_own,
    ledger_of,
    run_of,
    shards_for,
    units_of,
)
from cdeep3m.maps.progress import Finished
from cdeep3m.maps.pyramid import level_sizes
from cdeep3m.volumes import ome_zarr
from cdeep3m.volumes.axes import Layout
from cdeep3m.volumes.ome_zarr import Pyramid, downsampled, pyramid_attributes, read_pyramid
from cdeep3m.volumes.stores import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.geometry import Coordinate
    from cdeep3m.maps.base import MapSpec
    from cdeep3m.maps.pyramid import LevelSize
    from cdeep3m.volumes.address import Address

AXES = "zyx"
BLOSC = {"cname": "zstd", "clevel": 1}


def open_maps(address: Address, spec: MapSpec) -> ChunkedMaps:
    """Open an OME-Zarr 0.5 map, new or begun earlier."""
    return open_version(address, spec, "0.5")


def open_version(address: Address, spec: MapSpec, version: str, *, sharded: bool = False) -> ChunkedMaps:
    """Open an OME-Zarr map; chunks of version 0.5 may be kept in shards, a file for each of these.

    Raises
    ------
    InputError
        Something else is there.
    """
    store = Store.at(address.location.removeprefix("zarr://")).child(address.dataset)
    sizes = level_sizes(spec.shape, spec.placement.voxel_size)
    chunks = shards_for(spec.shape) if sharded else chunks_for(spec.shape)
    sealed = _is_sealed(store, spec, version)
    ledger = ledger_of(store)
    demand_own(store, ledger, sealed=sealed)
    kind = f"OME-Zarr {version}{' in shards' if sharded else ''}"
    levels = [
        Level(
            size,
            _array(store.child(str(number)), spec, size, version, None if sharded else chunks),
            Layout(size.shape, AXES),
        )
        for number, size in enumerate(sizes)
    ]
    return ChunkedMaps(
        spec,
        levels,
        chunks=chunks,
        finished=Finished(ledger, run_of(spec, kind, chunks), more=units_of(sizes, chunks)),
        name=str(address),
        seal=lambda: _seal(store, spec, sizes, version),
        sealed=sealed,
        method="first" if spec.labels else "mean",
    )


def _array(store: Store, spec: MapSpec, size: LevelSize, version: str, chunks: Coordinate | None) -> Any:
    """Make the array of a level; without chunks of its own it is kept in shards."""
    own = chunks_in_shards(size.shape) if chunks is None else chunks_within(chunks, size.shape)
    if version == "0.4":
        meta: dict[str, Any] = {
            "chunks": own,
            "shape": size.shape,
            "dtype": np.dtype(spec.dtype).str,
            "dimension_separator": "/",
            "fill_value": 0,
            "compressor": {"id": "blosc", "shuffle": -1, **BLOSC},
        }
        return store.create_array("zarr", metadata=meta)
    blosc = {"shuffle": "shuffle", "typesize": np.dtype(spec.dtype).itemsize, "blocksize": 0, **BLOSC}
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "blosc", "configuration": blosc}]
    shard = {"chunk_shape": own, "codecs": codecs}
    meta = {
        "shape": size.shape,
        "data_type": spec.dtype,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": shards_for(size.shape) if chunks is None else own},
        },
        "dimension_names": list(AXES),
        "fill_value": 0,
        "codecs": [{"name": "sharding_indexed", "configuration": shard}] if chunks is None else codecs,
    }
    return store.create_array("zarr3", metadata=meta)


def _seal(store: Store, spec: MapSpec, sizes: Sequence[LevelSize], version: str) -> None:
    """Write the group's metadata."""
    name = store.url.rpartition("/")[2]
    attributes = pyramid_attributes(
        _pyramid(spec, sizes), version=version, name=name, method="nearest" if spec.labels else "mean"
    )
    if version == "0.4":
        store.write_json(".zgroup", {"zarr_format": 2})
        store.write_json(".zattrs", attributes)
    else:
        store.write_json("zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": attributes})


def _pyramid(spec: MapSpec, sizes: Sequence[LevelSize]) -> Pyramid:
    levels = []
    for number, size in enumerate(sizes):
        scale, translation = downsampled(spec.placement, size.factors)
        begin = spec.placement.offset if spec.labels else translation
        levels.append(ome_zarr.Level(path=str(number), scale=scale, translation=tuple(map(float, begin))))
    return Pyramid(axes=AXES, units=(spec.placement.unit,) * 3, levels=tuple(levels))


def _is_sealed(store: Store, spec: MapSpec, version: str) -> bool:
    """Return whether a whole map of the same kind is there.

    Raises
    ------
    InputError
        Another image is.
    """
    attributes = (
        store.read_json(".zattrs") if version == "0.4" else (store.read_json("zarr.json") or {}).get("attributes")
    )
    found = read_pyramid(attributes, store.url) if attributes else None
    if found is None:
        return False
    array = store.child(found.levels[0].path).open_array("zarr" if version == "0.4" else "zarr3", name=store.url)
    if tuple(array.shape) != spec.shape or array.dtype.name != spec.dtype:
        raise InputError(
            f"{store.url} is there already, {array.dtype.name} values of {tuple(array.shape)}; expected {spec.dtype} "
            f"of {spec.shape}, or nothing. Delete it, or choose another name"
        )
    return True
