"""Damaged files, whatever a decoder makes of them, as one error that names the file."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from cdeep3m.errors import CDeep3MError, FormatError, printable

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator


@contextmanager
def decoding(path: str | os.PathLike[str], kind: str) -> Iterator[None]:
    """Turn what decoders raise over a damaged file into a FormatError.

    Parameters
    ----------
    path : path
        The file, for the message.
    kind : str
        What it should be: PNG, TIFF or HDF5.

    Raises
    ------
    FormatError
        When the block raises anything but an error of the system (no such file, no permission) or one of ours.
    """
    try:
        yield
    except (CDeep3MError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise damaged(path, kind, str(error) or type(error).__name__) from error


def damaged(path: str | os.PathLike[str], kind: str, why: str) -> FormatError:
    """Return the error for a file that is truncated, damaged or of another format."""
    reason = printable(" ".join(why.split()).rstrip("."), longest=200)
    return FormatError(f"{path} is no readable {kind} file ({reason}). Copy or export it again")
