"""The files of a chunked array on disk: which there must be, and what lies in their places."""

from __future__ import annotations

import itertools
import logging
import math
import os
import re
import stat
from typing import TYPE_CHECKING, Any

from cdeep3m.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

logger = logging.getLogger(__name__)

MOST_LOOKED_AT = 200_000
"""So many chunks of an array are looked at: 0.3 s."""
MOST_BYTES = 2**31
"""Of one chunk, decoded, which is in memory as a whole."""

PACKED = (".gz", ".br", ".zst", ".zstd", ".bz2", ".xz")
"""Suffixes of chunks that are packed as files, which no description tells of."""
DESCRIPTIONS = ("zarr.json", "attributes.json", "info", "provenance")
MOST_DESCRIPTIONS = 16

Attributes = dict[str, Any]


def check_chunks(spec: Attributes, *, name: str, item_bytes: int, chunk: Sequence[int]) -> None:
    """Compare what an array declares with the files that are there.

    Parameters
    ----------
    spec : dict
        As tensorstore describes an open array.
    name : str
        What a user calls it, for messages.
    item_bytes : int
        Of one value.
    chunk : sequence of int
        Values that are decoded at a time, along each axis.

    Raises
    ------
    InputError
        Something else than a file lies in a chunk's place, a chunk is too large, or chunks have other names than the
        array's description says: all of them would count as never written.
    """
    size = math.prod(chunk) * item_bytes
    if size > MOST_BYTES:
        raise InputError(f"{name} has chunks of {size} bytes; expected at most {MOST_BYTES}. Store it in smaller ones")
    keys = chunk_keys(spec)
    if keys is None or spec["kvstore"].get("driver") != "file":
        return
    folder = spec["kvstore"]["path"]
    looked, missing, first = 0, 0, ""
    for key in itertools.islice(keys, MOST_LOOKED_AT):
        looked += 1
        if not _is_stored(os.path.join(folder, key)):
            missing += 1
            first = first or key
    if missing:
        _refuse_other_names(folder, first, name, none_is_there=missing == looked)
        logger.warning(
            "Warning: %s lacks %d of %d chunks, such as %s: they count as never written, which is 0 or the fill value",
            name,
            missing,
            looked,
            first,
        )


def _refuse_other_names(folder: str, key: str, name: str, *, none_is_there: bool) -> None:
    """Refuse an array whose first missing chunk lies there packed once more, or that has files, but none by its names.

    cloud-volume packs chunks on disk as `0-64_0-64_0-64.gz`; old versions of zarr-python keep them in folders and do
    not say so.
    """
    packed = [suffix for suffix in PACKED if os.path.isfile(os.path.join(folder, f"{key}{suffix}"))]
    if packed:
        raise InputError(
            f"{name} has its chunks in {packed[0]} files ({key}{packed[0]}); expected chunks as they are. Unpack them, "
            "or write the volume without that (cloud-volume: compress=False)"
        )
    home, _, first = os.path.join(folder, key).rpartition("/")
    while none_is_there and not os.path.isdir(home):
        home, _, first = home.rpartition("/")
    others = [other for other in _others_in(home) if _kind(other) != _kind(first)] if none_is_there else []
    if others:
        raise InputError(
            f"{name} has none of the chunks that its description names, such as {key}; found {others[0]} in {home}. "
            "Copy or export it again, so that names and description agree"
        )


def _kind(name: str) -> str:
    """Return a chunk's name without its numbers: 3.0.12 and 0.0.0 are of one kind."""
    return re.sub(r"-?\d+", "0", name)


def _others_in(folder: str) -> list[str]:
    """Return the names of a folder's first few entries that are no descriptions of arrays."""
    with os.scandir(folder) as entries:
        found = [entry.name for entry in itertools.islice(entries, MOST_DESCRIPTIONS)]
    return sorted(name for name in found if not name.startswith(".") and name not in DESCRIPTIONS)


def chunk_keys(spec: Attributes) -> Iterator[str] | None:
    """Return the names of all chunks, from the first one on; None where they are not files of their own.

    Examples
    --------
    >>> list(chunk_keys({"driver": "n5", "metadata": {"dimensions": [3, 5], "blockSize": [3, 3]}}))
    ['0/0', '0/1']
    """
    driver, meta = spec["driver"], spec.get("metadata", {})
    if driver == "zarr":
        return _numbered(meta["shape"], meta["chunks"], meta.get("dimension_separator", "."))
    if driver == "n5":
        return _numbered(meta["dimensions"], meta["blockSize"], "/")
    if driver == "zarr3" and meta["chunk_grid"]["name"] == "regular":
        encoding = meta.get("chunk_key_encoding", {})
        is_default = encoding.get("name") == "default"
        separator = encoding.get("configuration", {}).get("separator", "/" if is_default else ".")
        keys = _numbered(meta["shape"], meta["chunk_grid"]["configuration"]["chunk_shape"], separator)
        return (f"c{separator}{key}" if key else "c" for key in keys) if is_default else keys
    if driver == "neuroglancer_precomputed" and not spec["scale_metadata"].get("sharding"):
        return _by_bounds(spec["scale_metadata"])
    return None


def _numbered(shape: Sequence[int], chunk: Sequence[int], separator: str) -> Iterator[str]:
    counts = [-(-side // step) for side, step in zip(shape, chunk, strict=True)]
    return (separator.join(map(str, at)) for at in _grid(counts))


def _by_bounds(scale: Attributes) -> Iterator[str]:
    """Yield names such as 0-64_0-64_0-10, the bounds along x, y and z."""
    begin, sides, step = scale["voxel_offset"], scale["size"], scale["chunk_size"]
    counts = [-(-side // length) for side, length in zip(sides, step, strict=True)]
    for at in _grid(counts):
        bounds = [
            (b + n * length, b + min((n + 1) * length, side))
            for b, n, length, side in zip(begin, at, step, sides, strict=True)
        ]
        yield f"{scale['key']}/{'_'.join(f'{low}-{high}' for low, high in bounds)}"


def _grid(counts: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield all numbers of chunks, the last axis fastest; `itertools.product` would hold each axis in memory."""
    if not counts:
        yield ()
        return
    for first in range(counts[0]):
        for rest in _grid(counts[1:]):
            yield (first, *rest)


def _is_stored(path: str) -> bool:
    """Return whether a chunk's file is there.

    Raises
    ------
    InputError
        Something is there that is no file, and might be waited for, or read, without an end.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(path):
            raise InputError(f"{path} is a link to what is not there; expected a chunk. Copy the array again") from None
        return False
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path} is no file; expected a chunk. Copy the array again")
    return True
