"""Neuroglancer precomputed volumes, sharded or not: their axes are x, y, z, channel, and they lie on a grid of nm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdeep3m.errors import FormatError, InputError, MissingFileError
from cdeep3m.volumes.axes import Selection, layout_of
from cdeep3m.volumes.chunked import ChunkedVolume
from cdeep3m.volumes.stores import Store, whole_store
from cdeep3m.volumes.units import placed
from cdeep3m.volumes.values import in_role

if TYPE_CHECKING:
    from cdeep3m.geometry import Placement
    from cdeep3m.volumes.address import Address
    from cdeep3m.volumes.base import Reading, Volume
    from cdeep3m.volumes.stores import Attributes

INFO = "info"
DRIVER = "neuroglancer_precomputed"
UNIT = "nanometer"


def is_precomputed(store: Store) -> bool:
    """Return whether a precomputed volume is there."""
    found = store.read(INFO)
    return found is not None and b'"scales"' in found


def open_address(address: Address, reading: Reading) -> Volume:
    """Open an address, with or without precomputed:// before it."""
    store = whole_store(address.location.removeprefix("precomputed://"))
    return in_role(
        open_precomputed(store, address.dataset, reading.selection, name=str(address)), reading.role, str(address)
    )


def open_precomputed(store: Store, dataset: str, selection: Selection, *, name: str) -> ChunkedVolume:
    """Open a scale of a precomputed volume.

    Parameters
    ----------
    store : Store
    dataset : str
        Path below it; or the key of a scale, such as 8_8_30.
    selection : Selection
    name : str
        For messages.

    Raises
    ------
    MissingFileError, InputError, FormatError, DownloadError
        There is no such volume or scale, or it cannot be read.
    """
    info = store.read_json(INFO)
    if dataset and (info is None or not _is_key(info, dataset)):
        store, dataset = store.child(dataset), ""
        info = store.read_json(INFO)
    if info is None:
        raise MissingFileError(f"no precomputed volume at {name}: it has no info. Check the address")
    scales = info.get("scales")
    if not isinstance(scales, list) or not scales or not all(isinstance(scale, dict) for scale in scales):
        raise FormatError(f"{name}: its info lists no scales; expected those of a precomputed volume. Export it again")
    level = _level_of(scales, dataset, selection, name)
    array = store.open_array(DRIVER, name=name, scale_index=level)
    layout = layout_of(array.shape, "xyzc", selection, name=name)
    return ChunkedVolume(array, layout, place_of(scales[level], name), name=name)


def place_of(scale: Attributes, name: str) -> Placement:
    """Return where a scale of an info lies: its resolution is in nm, its offset in voxels."""
    try:
        x, y, z = (float(side) for side in scale["resolution"])
        ox, oy, oz = (int(begin) for begin in scale.get("voxel_offset", (0, 0, 0)))
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{name}: its info has no resolution of three numbers. Export it again") from error
    return placed((z, y, x), UNIT, (oz * z, oy * y, ox * x), name=name)


def _is_key(info: Attributes, dataset: str) -> bool:
    return any(isinstance(scale, dict) and scale.get("key") == dataset for scale in info.get("scales", []))


def _level_of(scales: list[Attributes], key: str, selection: Selection, name: str) -> int:
    if key:
        if selection.level is not None:
            raise InputError(f"{name} is one level already; leave out --level {selection.level}")
        return next(number for number, scale in enumerate(scales) if scale.get("key") == key)
    level = selection.level or 0
    if level >= len(scales):
        raise InputError(f"{name} has levels 0 to {len(scales) - 1}; found --level {level}")
    return level
