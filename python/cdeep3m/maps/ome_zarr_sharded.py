"""Maps as OME-Zarr 0.5 whose chunks lie in shards: 25 times fewer files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdeep3m.maps.ome_zarr import open_version

if TYPE_CHECKING:
    from cdeep3m.maps.base import MapSpec
    from cdeep3m.maps.chunked import ChunkedMaps
    from cdeep3m.volumes.address import Address


def open_maps(address: Address, spec: MapSpec) -> ChunkedMaps:
    """Open an OME-Zarr map in shards, new or begun earlier."""
    return open_version(address, spec, "0.5", sharded=True)
