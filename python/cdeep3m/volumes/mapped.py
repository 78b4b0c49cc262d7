"""Arrays that need not fit into memory: beyond a size they lie in a temporary file without a name."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

IN_MEMORY = 256 * 2**20
"""Arrays up to so many bytes stay in memory."""


def zeros(shape: tuple[int, ...], dtype: np.dtype, *, folder: Path | None, in_memory: int | None = None) -> np.ndarray:
    """Return an array of zeros, in memory or in a file that goes with the array.

    Parameters
    ----------
    shape, dtype
        Of the array.
    folder : Path or None
        Where there is room for an array beyond so many bytes; None keeps every array in memory.
    in_memory : int, optional
        Bytes up to which arrays stay in memory; default: `IN_MEMORY`.

    Raises
    ------
    OSError
        There is no room.
    """
    size = math.prod(shape) * dtype.itemsize
    if folder is None or size <= (IN_MEMORY if in_memory is None else in_memory):
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile(dir=folder) as file:
        _reserve(file.fileno(), size, folder)
        return np.ndarray(shape, dtype, buffer=mmap.mmap(file.fileno(), size))


def release(array: np.ndarray) -> None:
    """Take what lies in a file out of memory; it is read again when it is needed. Nothing for arrays in memory.

    Parameters
    ----------
    array : ndarray of any type and shape
    """
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def _reserve(descriptor: int, size: int, folder: Path) -> None:
    """Claim the room now: a mapped file that meets a full disk later ends the process."""
    if not hasattr(os, "posix_fallocate"):
        os.truncate(descriptor, size)
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        error.filename = os.fspath(folder)
        raise
