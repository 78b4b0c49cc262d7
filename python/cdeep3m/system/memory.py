"""Memory that is freed is kept for what follows: while a net predicts or trains, or planes are read and written."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of mallopt (malloc.h)."""

KEEP = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1}
GLIBCS_OWN = {M_MMAP_MAX: 65536, M_TRIM_THRESHOLD: 128 * 1024}
"""The second are the defaults."""

_lock = Lock()
_users = 0


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let the C library reuse freed memory of any size inside the block; give it back to the system at the end.

    Otherwise every large array is fresh memory from the system, which costs about as much time as some of the layers
    that fill it: an eighth of a prediction, a sixth of a training, a third of decoding images. Does nothing where the C
    library is not glibc. Blocks may overlap.
    """
    _count(1)
    try:
        yield
    finally:
        _count(-1)


def give_back() -> None:
    """Give back to the system what was freed and kept, pieces between what is in use included.

    Where large arrays of other sizes come and go, memory grows for hours otherwise: by a fifth of a prediction to n5.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def resident() -> int:
    """Return the bytes that this process holds in memory now; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _count(change: int) -> None:
    global _users
    with _lock:
        _users += change
        if change > 0 and _users == 1:
            _set(KEEP)
        if _users == 0:
            _set(GLIBCS_OWN)


def _set(parameters: dict[int, int]) -> None:
    library = ctypes.CDLL(None)
    if not (hasattr(library, "mallopt") and hasattr(library, "gnu_get_libc_version")):
        return
    for parameter, value in parameters.items():
        library.mallopt(parameter, value)
    if parameters is GLIBCS_OWN:
        give_back()
