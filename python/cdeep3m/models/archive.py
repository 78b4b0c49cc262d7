"""Unpack the archive of a trained model: plain files and folders, all of them below one folder, and nothing else."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import tarfile
import time
import zlib
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, cast

from cdeep3m.errors import FormatError, RunError
from cdeep3m.proto.foreign import PROBED, looks_like
from cdeep3m.system.files import demand_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK = 1 << 20
COMPRESSIONS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
LARGEST_READ = 16 * 2**20
MOST_SECONDS = 6 * 3600
MOST_FILES = 10_000
LONGEST_NAME = 1000
MOST_FROM_A_BYTE = 50
"""So many bytes may come out of one; weights shrink by less than a half."""
MOST_ANYWAY = 2**30

DAMAGE = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)
"""What readers of archives and of their compressions raise for damaged ones; bzip2's an OSError without a number."""

KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a file with holes",
}


def unpack(archive: Path, folder: Path) -> None:
    """Write the files of `archive` below `folder`, with new owners, dates and permissions.

    Parameters
    ----------
    archive : Path
        A tar archive, which may be compressed (gzip, bzip2, xz).
    folder : Path
        An empty folder. After an error it holds what came before it.

    Raises
    ------
    FormatError
        It is no tar archive or is cut off; or a name in it is absolute, leads out of the folder or occurs twice, or
        belongs to a link, a device or the like.
    RunError
        There is no room for its files.
    """
    unpacked = 0
    with _reporting_damage(archive), _opened(archive) as tar:
        for number, member in enumerate(tar, start=1):
            unpacked += member.size
            _demand_within_bounds(archive, number, unpacked)
            place = folder / _safe_name(member, archive)
            if member.isdir():
                place.mkdir(parents=True, exist_ok=True)
            else:
                _demand_room(member, folder)
                place.parent.mkdir(parents=True, exist_ok=True)
                _write(tar, member, place)


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar archive, whatever it is compressed with; a header cannot ask for more memory than headers need."""
    demand_file(archive)
    with open(archive, "rb") as file:
        start = file.read(PROBED)
    opener = next((opener for magic, opener in COMPRESSIONS.items() if start.startswith(magic)), open)
    with opener(archive, "rb") as plain, tarfile.TarFile(fileobj=cast("IO[bytes]", _Bounded(plain))) as tar:
        yield tar


class _Bounded:
    """A file for `tarfile` that gives no more than `LARGEST_READ` bytes at a time, and only until a deadline."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._end = time.monotonic() + MOST_SECONDS
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """Read some bytes."""
        if not 0 <= size <= LARGEST_READ:
            raise tarfile.ReadError(f"a header of {size} bytes")
        if time.monotonic() > self._end:
            raise tarfile.ReadError(f"it takes more than {MOST_SECONDS} s to unpack")
        return self._file.read(size)


def _demand_within_bounds(archive: Path, number: int, unpacked: int) -> None:
    """Refuse an archive that would fill a disk with files or bytes."""
    if number > MOST_FILES:
        raise FormatError(f"{archive} holds more than {MOST_FILES} files; expected a trained model; do not trust it")
    most = MOST_FROM_A_BYTE * archive.stat().st_size + MOST_ANYWAY
    if unpacked > most:
        raise FormatError(f"{archive} would unpack to more than {most} bytes; expected a trained model")


def _safe_name(member: tarfile.TarInfo, archive: Path) -> PurePosixPath:
    """Return the name of `member`, which leads to a place below any folder it is joined to."""
    name = PurePosixPath(member.name)
    if len(os.fsencode(member.name)) > LONGEST_NAME:
        raise FormatError(f"{archive}: it holds a name of {len(member.name)} characters; do not trust it")
    if name.is_absolute() or ".." in name.parts or "\\" in member.name or "\0" in member.name:
        raise FormatError(f"{archive}: it holds {member.name!r}, a name that leads out of its folder; do not trust it")
    if not member.isdir() and (not member.isreg() or member.issparse()):
        kind = KINDS.get(b"S" if member.issparse() else member.type, "an entry of unknown kind")
        raise FormatError(f"{archive}: {member.name!r} in it is {kind}; expected files and folders alone")
    return name


def _demand_room(member: tarfile.TarInfo, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if member.size > free:
        raise RunError(f"{member.name} needs {member.size} bytes, and {folder.parent} has {free} left: make room")


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    """Copy one file out of `tar`; raise ReadError where the archive ends before it does."""
    source = tar.extractfile(member)
    assert source is not None, "regular files can be read"
    with open(place, "xb") as target:
        while chunk := source.read(CHUNK):
            target.write(chunk)
        if target.tell() != member.size:
            raise tarfile.ReadError("unexpected end of data")


@contextmanager
def _reporting_damage(archive: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        raise FormatError(_damage(archive, error)) from None
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        name = Path(str(error.filename)).name
        raise FormatError(f"{archive}: {name!r} occurs in it twice; expected every name once") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise FormatError(_damage(archive, error)) from None


def _damage(archive: Path, error: BaseException) -> str:
    with open(archive, "rb") as file:
        start = file.read(PROBED)
    if start[:2] in (b"\x1f\x8b", b"BZ", b"\xfd7") or tarfile.is_tarfile(archive):
        return f"{archive}: the archive is cut off or damaged ({error or type(error).__name__}); fetch it again."
    return f"{archive}: expected a tar archive, but this is {looks_like(start)}"
