"""Chunked volumes at addresses whose names do not say their format: what is stored there does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdeep3m.errors import InputError
from cdeep3m.volumes import n5, precomputed, zarr
from cdeep3m.volumes.stores import Store

if TYPE_CHECKING:
    from cdeep3m.volumes.address import Address
    from cdeep3m.volumes.base import Reading, Volume


def open_address(address: Address, reading: Reading) -> Volume:
    """Open the Zarr, N5 or precomputed volume that is at an address.

    Raises
    ------
    InputError
        None is.
    """
    store = Store.at(address.location)
    for module, is_there in ((zarr, zarr.is_zarr), (precomputed, precomputed.is_precomputed), (n5, n5.is_n5)):
        if is_there(store):
            volume: Volume = module.open_address(address, reading)
            return volume
    raise InputError(
        f"nothing at {address.location} says that it is Zarr, N5 or precomputed; expected zarr.json, .zarray, .zgroup, "
        "attributes.json or info. Check the address"
    )
