"""Unpack the archive of a trained model: plain files and folders, all of them below one folder, and nothing else."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zlib
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cdeep3m.errors import FormatError, RunError
from cdeep3m.proto.foreign import PROBED, looks_like

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1 << 20

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
    with _reporting_damage(archive), tarfile.open(archive, "r:*") as tar:
        for member in tar:
            place = folder / _safe_name(member, archive)
            if member.isdir():
                place.mkdir(parents=True, exist_ok=True)
            else:
                _demand_room(member, folder)
                place.parent.mkdir(parents=True, exist_ok=True)
                _write(tar, member, place)


def _safe_name(member: tarfile.TarInfo, archive: Path) -> PurePosixPath:
    """Return the name of `member`, which leads to a place below any folder it is joined to."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name or "\0" in member.name:
        raise FormatError(f"{archive}: it holds {member.name!r}, a name that leads out of its folder; do not trust it.")
    if not member.isdir() and (not member.isreg() or member.issparse()):
        kind = KINDS.get(b"S" if member.issparse() else member.type, "an entry of unknown kind")
        raise FormatError(f"{archive}: {member.name!r} in it is {kind}; files and folders alone were expected.")
    return name


def _demand_room(member: tarfile.TarInfo, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if member.size > free:
        raise RunError(f"{member.name} needs {member.size} bytes, and {folder.parent} has {free} left: make room.")


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
        raise FormatError(f"{archive}: {name!r} occurs in it twice; every name once was expected.") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise FormatError(_damage(archive, error)) from None


def _damage(archive: Path, error: BaseException) -> str:
    with open(archive, "rb") as file:
        start = file.read(PROBED)
    if tarfile.is_tarfile(archive) or start[:2] in (b"\x1f\x8b", b"BZ", b"\xfd7"):
        return f"{archive}: the archive is cut off or damaged ({error or type(error).__name__}); fetch it again."
    return f"{archive}: a tar archive was expected, but this is {looks_like(start)}."
