"""Memory that is freed is kept for what follows: while a net predicts or trains, or planes are read and written."""

from __future__ import annotations

import ctypes
import os
import resource
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from cdeep3m.errors import OutOfMemoryError

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
    return _held()[1]


def demand(size: int, *, what: str) -> None:
    """Refuse to begin what would take more memory than the limit of this process (`ulimit -v`) leaves.

    For libraries that end the process where they get none. Does nothing without such a limit.

    Parameters
    ----------
    size : int
        Bytes that are needed.
    what : str
        What needs them, for the message.

    Raises
    ------
    OutOfMemoryError
        Names what is left.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    left = max(0, limit - _held()[0])
    if left < size:
        raise OutOfMemoryError(
            f"expected {size / 2**20:.0f} MB of memory for {what}, found {left / 2**20:.0f} MB that the limit of this "
            "process leaves; raise it (ulimit -v)"
        )


def _held() -> tuple[int, int]:
    """Return the bytes of address space and of memory that this process holds; 0 where the system does not tell."""
    try:
        space, pages, *_ = Path("/proc/self/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0, 0
    size = os.sysconf("SC_PAGE_SIZE")
    return int(space) * size, int(pages) * size


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
