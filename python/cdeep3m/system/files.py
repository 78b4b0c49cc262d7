"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What writers meet on a full disk, or beyond a quota or limit; few of them say which file it was."""


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a hidden neighbour of `path` to write to; it takes the name `path` once the block ends without an error.

    The neighbour keeps the suffix of `path`, so writers that choose a format by name work. After an error (a full disk,
    a bad value, an interrupt) it is removed, and whatever `path` held before stays as it was.

    Parameters
    ----------
    path : path
        The file to make or replace; its folder must exist.

    Yields
    ------
    Path
        Where to write.
    """
    target = Path(path)
    partial = target.with_name(f".{target.stem}.partial-{os.getpid()}{target.suffix}")
    try:
        yield partial
        partial.replace(target)
    except OSError as error:
        if error.errno in NO_ROOM and (not isinstance(error.filename, str) or Path(error.filename) == partial):
            error.filename = os.fspath(target)
        raise
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def locked(path: str | os.PathLike[str], *, shared: bool = False) -> Iterator[bool]:
    """Hold a lock on the file `path` for the block; it goes with its process, however that ends.

    Parameters
    ----------
    path : path
        Made where it is not there; its content does not matter.
    shared : bool
        Whether others may hold it at the same time, if they share it, too.

    Yields
    ------
    bool
        False when others hold it: then the block runs without it.
    """
    with open(path, "a") as lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` (UTF-8, newlines as they are) to `path`, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_bytes(text.encode())
