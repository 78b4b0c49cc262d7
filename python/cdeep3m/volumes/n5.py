"""N5: arrays, pyramids of arrays s0, s1, ..., and the setups and times of bdv.n5; axes are x, y, z by convention."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeGuard

from cdeep3m.errors import InputError, MissingFileError
from cdeep3m.geometry import Placement
from cdeep3m.volumes import bigdataviewer
from cdeep3m.volumes.axes import Selection, layout_of
from cdeep3m.volumes.chunked import ChunkedVolume
from cdeep3m.volumes.stores import Store, whole_store
from cdeep3m.volumes.units import known_unit, placed
from cdeep3m.volumes.values import in_role

if TYPE_CHECKING:
    from cdeep3m.volumes.address import Address
    from cdeep3m.volumes.axes import Layout
    from cdeep3m.volumes.base import Reading, Volume
    from cdeep3m.volumes.stores import Attributes

META = "attributes.json"
DRIVER = "n5"


def is_n5(store: Store) -> bool:
    """Return whether an N5 group or array is there."""
    return store.read(META) is not None or store.url.lower().endswith(".n5")


def open_address(address: Address, reading: Reading) -> Volume:
    """Open an address, with or without n5:// before it."""
    store = whole_store(address.location.removeprefix("n5://"))
    return in_role(open_n5(store, address.dataset, reading.selection, name=str(address)), reading.role, str(address))


def open_n5(store: Store, dataset: str, selection: Selection, *, name: str) -> ChunkedVolume:
    """Open an array, a level of a pyramid, or a setup of a bdv.n5.

    Parameters
    ----------
    store : Store
    dataset : str
        Path of a group or array below it; may be empty.
    selection : Selection
        In a bdv.n5, channel is the setup and time the time point.
    name : str
        For messages.

    Raises
    ------
    MissingFileError, InputError, FormatError, DownloadError
        There is no such array, or it cannot be read, or the selection does not say which is meant.
    """
    place = store.child(dataset)
    attributes = place.read_json(META)
    if attributes is not None and "dimensions" in attributes:
        return _open_array(store, dataset, attributes, selection, name)
    setups = _numbers(place, "setup")
    if setups:
        return _open_setup(store, place, setups, selection, name)
    levels = _numbers(place, "s")
    if levels != list(range(len(levels))) or not levels:
        _refuse_group(place, attributes, name)
    level = bigdataviewer.level_of(len(levels), selection, name)
    path = f"{dataset.strip('/')}/s{level}".strip("/")
    found = store.child(path).read_json(META)
    if found is None or "dimensions" not in found:
        raise MissingFileError(f"no N5 array s{level} at {name}; check the address")
    return _open_array(store, path, found, Selection(axes=selection.axes, channel=selection.channel), name)


def _open_setup(store: Store, place: Store, setups: list[int], selection: Selection, name: str) -> ChunkedVolume:
    """Open setup<i>/timepoint<j>/s<k>; what the XML file beside the store says of it counts."""
    setup = bigdataviewer.chosen(setups, selection.channel, what="setups", option="--channel", name=name)
    group = place.child(f"setup{setup}")
    times = _numbers(group, "timepoint")
    time = bigdataviewer.chosen(times, selection.time, what="times", option="--time", name=name)
    levels = _numbers(group.child(f"timepoint{time}"), "s")
    level = bigdataviewer.level_of(len(levels), selection, name)
    array = group.child(f"timepoint{time}/s{level}")
    attributes = array.read_json(META) or {}
    factors = (group.read_json(META) or {}).get("downsamplingFactors") or []
    known = _setups_beside(store)
    zyx = tuple(int(factor) for factor in factors[level])[::-1] if level < len(factors) else (1, 1, 1)
    opened = array.open_array(DRIVER, name=name, **_spelled(attributes))
    layout = layout_of(opened.shape, "xyz", Selection(axes=selection.axes), name=name)
    return ChunkedVolume(opened, layout, bigdataviewer.place_of(known.get(setup), zyx), name=name)


def _open_array(store: Store, dataset: str, attributes: Attributes, selection: Selection, name: str) -> ChunkedVolume:
    if selection.level:
        raise InputError(f"{name} is one array and has no level {selection.level}; leave out --level")
    array = store.child(dataset).open_array(DRIVER, name=name, **_spelled(attributes))
    layout = layout_of(array.shape, _axes(attributes), selection, name=name)
    return ChunkedVolume(array, layout, _place(store, dataset, attributes, layout, name), name=name)


def _spelled(attributes: Attributes) -> Attributes:
    """Return what tensorstore is told of an array instead of what the file says in a way that it does not know.

    The N5 library for Java notes how many threads packed the chunks with Blosc; its first version had the compression's
    name alone.
    """
    said = attributes.get("compression", {"type": attributes.get("compressionType", "none")})
    known = {key: value for key, value in said.items() if key != "nthreads"} if isinstance(said, dict) else said
    is_known = known in (attributes.get("compression"), {"type": "none"})
    if is_known or not {"dimensions", "blockSize", "dataType"} <= set(attributes):
        return {}
    kept = {key: attributes[key] for key in ("dimensions", "blockSize", "dataType")}
    return {"metadata": {**kept, "compression": known}}


def _axes(attributes: Attributes) -> str | None:
    """Return the letters of the axes, the fastest first, as N5 lists dimensions; three are x, y, z by convention."""
    said = attributes.get("axes")
    if isinstance(said, list) and all(isinstance(one, str) and len(one) == 1 for one in said):
        return "".join(said).lower()
    return {2: "xy", 3: "xyz"}.get(len(attributes["dimensions"]))


def _place(store: Store, dataset: str, attributes: Attributes, layout: Layout, name: str) -> Placement:
    """Return where an array lies: by its own transform or resolution, or by that of the group above it."""
    transform = attributes.get("transform")
    if isinstance(transform, dict) and {"axes", "scale", "translate"} <= set(transform):
        return _transformed(transform, name)
    parts = [part for part in dataset.split("/") if part]
    above = store.child("/".join(parts[:-1])).read_json(META) if parts else None
    pixel = attributes.get("pixelResolution") or (above or {}).get("pixelResolution")
    sizes: Any = pixel.get("dimensions") if isinstance(pixel, dict) else pixel or attributes.get("resolution")
    unit: Any = pixel.get("unit") if isinstance(pixel, dict) else attributes.get("units") or attributes.get("unit")
    if not _numbers_for(sizes, layout):
        return Placement()
    unit = unit[-1] if isinstance(unit, list) and unit else unit
    factors = attributes.get("downsamplingFactors") or _listed_above(above, parts)
    wide = float(sizes[layout.axes.index("x")])
    full = layout.in_space([float(size) for size in sizes], missing=wide)
    by = layout.in_space(factors, missing=1.0) if _numbers_for(factors, layout) else (1.0, 1.0, 1.0)
    begins: Any = attributes.get("offset")
    given = layout.in_space([float(begin) for begin in begins], missing=0.0) if _numbers_for(begins, layout) else None
    z, y, x = (size * factor for size, factor in zip(full, by, strict=True))
    shift = tuple((factor - 1) / 2 * size for size, factor in zip(full, by, strict=True))
    length = known_unit(unit if isinstance(unit, str) else None)
    return placed((z, y, x), length, given or (shift[0], shift[1], shift[2]), name=name)


def _listed_above(above: Attributes | None, parts: list[str]) -> object:
    """Return the factors of level s<number> in the `scales` of the group above it, as n5-viewer lists them."""
    scales, level = (above or {}).get("scales"), re.fullmatch(r"s(\d+)", parts[-1]) if parts else None
    number = int(level[1]) if level else 0
    return scales[number] if level and isinstance(scales, list) and number < len(scales) else None


def _transformed(transform: Attributes, name: str) -> Placement:
    """Return the place that COSEM's attribute names, axis by axis; an axis that it lacks is taken to be as x."""
    by_axis = {str(axis).lower(): number for number, axis in enumerate(transform["axes"])}
    order = [by_axis.get(axis) for axis in "zyx"]
    scale, shift = transform["scale"], transform["translate"]
    wide = 1.0 if order[2] is None else float(scale[order[2]])
    z, y, x = (wide if at is None else float(scale[at]) for at in order)
    oz, oy, ox = (0.0 if at is None else float(shift[at]) for at in order)
    units = transform.get("units") or [None]
    return placed((z, y, x), known_unit(units[-1]), (oz, oy, ox), name=name)


def _numbers_for(values: object, layout: Layout) -> TypeGuard[list[float]]:
    return (
        isinstance(values, list)
        and len(values) == len(layout.axes)
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    )


def _setups_beside(store: Store) -> dict[int, bigdataviewer.Setup]:
    """Return what dataset.xml beside dataset.n5 says."""
    home, _, own = store.url.rpartition("/")
    xml = f"{re.sub(r'[.]n5$', '', own, flags=re.IGNORECASE)}.xml"
    text = Store(home or ".").read(xml)
    return bigdataviewer.read_setups(text, f"{home}/{xml}") if text is not None else {}


def _numbers(store: Store, word: str) -> list[int]:
    """Return the numbers of the folders named `word` and a number."""
    found = [re.fullmatch(rf"{word}(\d+)", name) for name in store.names()]
    return sorted(int(match[1]) for match in found if match)


def _refuse_group(store: Store, attributes: Attributes | None, name: str) -> None:
    names = [one for one in store.names() if one != META]
    if attributes is None and not names:
        raise MissingFileError(f"no N5 array or group at {name}; check the address")
    raise InputError(
        f"{name} is a group; found {', '.join(names) or 'no names that could be listed'}. "
        f"Name an array in it, such as {name}::{names[0] if names else 'NAME'}"
    )
