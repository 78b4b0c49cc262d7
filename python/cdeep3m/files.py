"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
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


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` (UTF-8, newlines as they are) to `path`, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_bytes(text.encode())
