"""Zarr 2 and 3: arrays as they are, and the levels of OME-Zarr images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdeep3m.errors import InputError, MissingFileError
from cdeep3m.geometry import Placement
from cdeep3m.volumes.axes import Selection, layout_of
from cdeep3m.volumes.chunked import ChunkedVolume
from cdeep3m.volumes.ome_zarr import Pyramid, is_read, read_pyramid
from cdeep3m.volumes.stores import Store, whole_store
from cdeep3m.volumes.values import in_role

if TYPE_CHECKING:
    from cdeep3m.volumes.address import Address
    from cdeep3m.volumes.base import Reading, Volume
    from cdeep3m.volumes.stores import Attributes

DRIVERS = {2: "zarr", 3: "zarr3"}


def is_zarr(store: Store) -> bool:
    """Return whether a Zarr group or array is there."""
    return any(store.read(key) is not None for key in ("zarr.json", ".zarray", ".zgroup", ".zattrs"))


def open_address(address: Address, reading: Reading) -> Volume:
    """Open an address, with or without zarr:// before it."""
    store = whole_store(address.location.removeprefix("zarr://"))
    return in_role(open_zarr(store, address.dataset, reading.selection, name=str(address)), reading.role, str(address))


def open_zarr(store: Store, dataset: str, selection: Selection, *, name: str) -> ChunkedVolume:
    """Open an array, or a level of an image.

    Parameters
    ----------
    store : Store
        A group or an array.
    dataset : str
        Path of a group or array below it; may be empty.
    selection : Selection
        What to read of it.
    name : str
        What a user calls it, for messages.

    Raises
    ------
    MissingFileError
        There is no such group or array.
    InputError, FormatError, DownloadError
        It cannot be read, or holds more than one volume and the selection does not say which.
    """
    parent = _parent(store, dataset, name)
    if parent is not None:
        if selection.level is not None:
            raise InputError(f"{name} is one level already; leave out --level {selection.level}")
        return _open_level(*parent, selection, name)
    place = store.child(dataset)
    kind, attributes = _look(place, name)
    if kind == "array":
        if selection.level:
            raise InputError(f"{name} is one array and has no level {selection.level}; leave out --level")
        return _open_array(place, _names_of_dimensions(attributes), Placement(), selection, name)
    pyramid = read_pyramid(attributes, name)
    if pyramid is None:
        below = ", ".join(_below(place)) or "no names that could be listed"
        raise InputError(f"{name} is a group of arrays; found {below}. Name one of them, such as {name}::NAME")
    level = selection.level or 0
    if level >= len(pyramid.levels):
        raise InputError(f"{name} has levels 0 to {len(pyramid.levels) - 1}; found --level {level}")
    return _open_level(pyramid, place, level, selection, name)


def _parent(store: Store, dataset: str, name: str) -> tuple[Pyramid, Store, int] | None:
    """Return the image of which `dataset` is a level."""
    parts = [part for part in dataset.split("/") if part]
    for cut in range(len(parts) - 1, -1, -1):
        group = store.child("/".join(parts[:cut]))
        attributes = _group_attributes(group)
        known = attributes is not None and _has_image(attributes) and is_read(attributes)
        pyramid = read_pyramid(attributes, name) if attributes and known else None
        level = pyramid.level_of("/".join(parts[cut:])) if pyramid else None
        if pyramid and level is not None:
            return pyramid, group, level
    return None


def _has_image(attributes: Attributes) -> bool:
    ome = attributes.get("ome")
    return "multiscales" in attributes or (isinstance(ome, dict) and "multiscales" in ome)


def _open_level(pyramid: Pyramid, group: Store, level: int, selection: Selection, name: str) -> ChunkedVolume:
    place = group.child(pyramid.levels[level].path)
    own = _names_of_dimensions(_look(place, place.url)[1])
    if own not in (None, pyramid.axes) and selection.axes is None:
        raise InputError(
            f"{name} says that its axes are {pyramid.axes}, its array that they are {own}; expected one of them. Say "
            "with --axes which is right, or export it again"
        )
    return _open_array(place, pyramid.axes, pyramid.place(level, name=name), selection, name)


def _open_array(store: Store, said: str | None, place: Placement, selection: Selection, name: str) -> ChunkedVolume:
    version = 3 if store.read("zarr.json") is not None else 2
    array = store.open_array(DRIVERS[version], name=name)
    layout = layout_of(array.shape, said, selection, name=name)
    return ChunkedVolume(array, layout, place, name=name)


def _look(store: Store, name: str) -> tuple[str, Attributes]:
    """Return whether an array or a group is there, and its attributes."""
    meta = store.read_json("zarr.json")
    if meta is not None:
        kind = "array" if meta.get("node_type") == "array" else "group"
        attributes: Any = meta.get("attributes", {})
        names = {"dimension_names": meta.get("dimension_names")} if kind == "array" else {}
        return kind, {**(attributes if isinstance(attributes, dict) else {}), **names}
    kind = "array" if store.read(".zarray") is not None else "group"
    known = store.read_json(".zattrs")
    if kind == "group" and known is None and store.read(".zgroup") is None:
        raise MissingFileError(f"no Zarr array or group at {name}; check the address")
    return kind, known or {}


def _group_attributes(store: Store) -> Attributes | None:
    meta = store.read_json("zarr.json")
    if meta is not None:
        found = meta.get("attributes", {})
        return found if isinstance(found, dict) else {}
    return store.read_json(".zattrs")


def _names_of_dimensions(attributes: Attributes) -> str | None:
    """Return the axes that the array itself names: dimension names of Zarr 3, or xarray's attribute."""
    names = attributes.get("dimension_names") or attributes.get("_ARRAY_DIMENSIONS")
    if not isinstance(names, list) or not all(isinstance(one, str) and len(one) == 1 for one in names):
        return None
    return "".join(names).lower()


def _below(store: Store) -> list[str]:
    return [name for name in store.names() if not name.startswith(".") and name != "zarr.json"]
