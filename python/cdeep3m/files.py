"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a hidden neighbour of `path` to write to; it takes the name `path` once the block ends without an error.

    The neighbour keeps the suffix of `path`, so writers that choose a format by name work. After an error (a full disk, a
    bad value, an interrupt) it is removed, and whatever `path` held before stays as it was.

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
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` (UTF-8, newlines as they are) to `path`, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_bytes(text.encode())
