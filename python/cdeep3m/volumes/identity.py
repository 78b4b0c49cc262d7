"""By what images are told from others: names, sizes and dates of their files, without reading them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from cdeep3m.volumes.names import natural_key

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGES = (".png", ".tif", ".tiff")
MOST = 4096
"""So many files and folders of a chunked store count: there may be millions."""


def fingerprint(images: str | os.PathLike[str]) -> str | None:
    """Return what changes when images are replaced, added or removed; None where nothing can be told of them.

    Of a folder with images these files count, of another one (a chunked format) the first 4096 files and folders, from
    the top down.

    Parameters
    ----------
    images : path
        A file or a folder.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    try:
        found = sorted(_files(images), key=lambda entry: natural_key(entry[0]))
    except OSError:
        return None
    digest = hashlib.sha256()
    for name, size, changed in found:
        digest.update(b"%s\0%d\0%d\0" % (os.fsencode(name), size, changed))
    return digest.hexdigest()


def _files(images: str | os.PathLike[str]) -> Iterator[tuple[str, int, int]]:
    whole = os.stat(images)
    if not stat.S_ISDIR(whole.st_mode):
        yield "", whole.st_size, whole.st_mtime_ns
        return
    with os.scandir(images) as entries:
        listed = [entry for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    planes = [entry for entry in listed if entry.name.lower().endswith(IMAGES)]
    if not planes:
        yield from islice(_tree(os.fspath(images)), MOST)
    for entry in planes:
        found = entry.stat()
        yield entry.name, found.st_size, found.st_mtime_ns


def _tree(folder: str) -> Iterator[tuple[str, int, int]]:
    """Yield what lies in a folder and below it, level by level, in the order of names."""
    waiting = deque([""])
    while waiting:
        home = waiting.popleft()
        with os.scandir(os.path.join(folder, home)) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        for entry in listed:
            found = entry.stat(follow_symlinks=False)
            name = os.path.join(home, entry.name)
            if stat.S_ISDIR(found.st_mode):
                waiting.append(name)
            yield name, 0 if stat.S_ISDIR(found.st_mode) else found.st_size, found.st_mtime_ns
