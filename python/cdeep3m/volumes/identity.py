"""By what images are told from others: names, sizes and dates of their files, without reading them."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

from cdeep3m.volumes.names import natural_key

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGES = (".png", ".tif", ".tiff")


def fingerprint(images: str | os.PathLike[str]) -> str | None:
    """Return what changes when images are replaced, added or removed; None where nothing can be told of them.

    Of a folder with images these files count, of another one (a chunked format) everything that lies directly in it.

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
    for entry in planes or listed:
        found = entry.stat()
        yield entry.name, found.st_size, found.st_mtime_ns
