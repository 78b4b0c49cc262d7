"""Files and folders that appear whole or not at all, and what is left of those that did not."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING, Protocol

from cdeep3m.errors import NO_ROOM, InputError, RunError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import ThreadPoolExecutor
    from types import TracebackType
    from typing import TextIO

PARTIAL = re.compile(r"\..*\.partial-\d+(\.[^.]*)?", re.DOTALL)
"""Names of what is being written."""
SHORT = re.compile(r"\d+ requested and \d+ written")
LONGEST_NAME = 255
"""Bytes of a name, on the usual file systems."""
MOST_ON_THEIR_WAY = 32
"""So many files may wait to be brought to the disk; each of them is open."""
UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EROFS, errno.EACCES, errno.EPERM)
"""What some file systems say of locks, or of flushing a folder."""

PLANES = (".png", ".tif", ".tiff")
"""Ends of names that are read as planes of the folder that they lie in."""
MOST_TEXT = 64 * 2**20
"""Bytes of a note, a list or settings."""

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)

_swept: set[tuple[str, int, int]] = set()
"""Folders, by path, device and number, that this process has looked through."""


class Naming(Protocol):
    """How a file that has been written takes its name, and when it is on the disk: one of the three below."""

    def name(self, partial: Path, target: Path) -> None:
        """Let `partial`, a neighbour of `target`, take its name."""


class AtOnce:
    """Content is on the disk before it takes the name, the name before the writer goes on: so markers are written."""

    def name(self, partial: Path, target: Path) -> None:
        """Flush, rename, flush the folder."""
        flush(partial)
        partial.replace(target)
        flush(target.parent)


class LeftToSystem:
    """The system brings files to the disk when it sees fit: for what no marker vouches for, or only after a flush."""

    def name(self, partial: Path, target: Path) -> None:
        """Rename."""
        partial.replace(target)


class Settling:
    """Files take their names at once; a thread brings them to the disk beside the work that makes further ones.

    The end of the block waits until all of them are there, and their names: only then may a marker vouch for them.
    A file that cannot be brought there is removed, and the error raised by the next one, or at the end.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Settling() as settling:
    ...         for name in ("1.txt", "2.txt"):
    ...             write_text(Path(folder) / name, name, naming=settling)
    ...     write_text(Path(folder) / "DONE", "0")
    """

    def __init__(self) -> None:
        self._room = BoundedSemaphore(MOST_ON_THEIR_WAY)
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._folders: set[Path] = set()
        self._failure: OSError | None = None

    def name(self, partial: Path, target: Path) -> None:
        """Rename, and begin to flush; wait while many others are on their way."""
        self._room.acquire()
        descriptor = -1
        try:
            if self._failure is not None:
                raise self._failure
            descriptor = os.open(partial, os.O_RDONLY)
            partial.replace(target)
            with self._lock:
                self._folders.add(target.parent)
                self._pool = self._pool or _flusher()
                self._pool.submit(self._bring, descriptor, target)
        except BaseException:
            if descriptor >= 0:
                os.close(descriptor)
            self._room.release()
            raise

    def _bring(self, descriptor: int, target: Path) -> None:
        try:
            if self._failure is None:
                _flush(descriptor)
        except OSError as error:
            error.filename = os.fspath(target)
            self._failure = error
            target.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
            self._room.release()

    def __enter__(self) -> Settling:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True)
        self._pool = None
        if error is not None:
            return
        if self._failure is not None:
            raise self._failure
        for place in sorted({*self._folders, *(folder.absolute().parent for folder in self._folders)}):
            flush(place)


def _flusher() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="flushing")


AT_ONCE, LEFT_TO_SYSTEM = AtOnce(), LeftToSystem()


@contextmanager
def whole_file(path: str | os.PathLike[str], *, naming: Naming = AT_ONCE) -> Iterator[Path]:
    """Yield a hidden neighbour of `path` to write to; it takes the name `path` once the block ends without an error.

    The neighbour keeps the suffix of `path`, so writers that choose a format by name work. After an error (a full disk,
    a bad value, an interrupt) it is removed, and whatever `path` held before stays as it was. What a killed process
    left in the folder is removed, too.

    Parameters
    ----------
    path : path
        The file to make or replace; its folder must exist.
    naming : Naming
        When the file is on the disk; default: before this returns, its content before it takes the name.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    RunError
        A folder has that name.
    """
    target = Path(path)
    if target.is_dir():
        raise RunError(f"{target} is a folder; expected a file to write. Choose another name")
    _sweep_once(target.parent)
    partial = partial_name(target)
    lock = -1
    try:
        lock = _owned(partial, os.O_RDWR | os.O_CREAT)
        yield partial
        naming.name(partial, target)
    except OSError as error:
        if error.errno is None and SHORT.fullmatch(str(error)):  # of ndarray.tofile, which does not say why
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(target)) from error
        named = isinstance(error.filename, str)
        if (error.errno in NO_ROOM and not named) or (named and Path(error.filename) == partial):
            error.filename = os.fspath(target)
        raise
    finally:
        partial.unlink(missing_ok=True)
        if lock >= 0:
            os.close(lock)


@contextmanager
def scratch_file(path: Path) -> Iterator[Path]:
    """Yield a hidden neighbour of `path`, empty, that is removed after the block, or else by the next call."""
    _sweep_once(path.parent)
    partial = partial_name(path)
    lock = -1
    try:
        lock = _owned(partial, os.O_RDWR | os.O_CREAT)
        yield partial
    finally:
        partial.unlink(missing_ok=True)
        if lock >= 0:
            os.close(lock)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a hidden neighbour of `folder`, empty, that takes its name once the block ends without an error.

    Parameters
    ----------
    folder : Path
        The folder to make; it must not be there.

    Yields
    ------
    Path
        Where to write.
    """
    with scratch_folder(folder) as partial:
        yield partial
        settle_folder(partial, folder)


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """Yield a hidden neighbour of `folder`, empty, that is removed after the block, or else by the next call."""
    home = folder.absolute().parent
    home.mkdir(parents=True, exist_ok=True)
    _sweep_once(home)
    partial = partial_name(folder)
    partial.mkdir()
    lock = -1
    try:
        lock = _owned(partial, os.O_RDONLY)
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if lock >= 0:
            os.close(lock)


def remove_folder(folder: Path) -> None:
    """Remove a folder of what is needed no longer, where it is there; what cannot be removed is an error (OSError)."""
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)


def settle_folder(partial: Path, folder: Path) -> None:
    """Let a folder take its name, once it is on the disk."""
    flush(partial)
    partial.rename(folder)
    flush(folder.absolute().parent)


def partial_name(target: Path) -> Path:
    """Return a hidden neighbour to write `target` to; never too long a name, and another one for every call.

    Processes of one number on two machines, or two threads, never share one.

    Examples
    --------
    >>> name = partial_name(Path("maps/Segmented_0001.png")).name
    >>> name.startswith(f".Segmented_0001.partial-{os.getpid()}"), name.endswith(".png"), is_partial(name)
    (True, True, True)
    """
    suffix = target.suffix if len(os.fsencode(target.suffix)) <= 20 else ""
    mark = f".partial-{os.getpid()}{int.from_bytes(os.urandom(4), 'big') % 10**9:09d}{suffix}"
    room = LONGEST_NAME - 1 - len(os.fsencode(mark))
    return target.with_name(f".{os.fsdecode(os.fsencode(target.stem)[:room])}{mark}")


def is_partial(name: str) -> bool:
    """Return whether something of that name is still being written, or was when its process ended.

    Examples
    --------
    >>> is_partial(".a.partial-12.png"), is_partial(".out.partial-3"), is_partial("a.png")
    (True, True, False)
    """
    return PARTIAL.fullmatch(name) is not None


def sweep(folder: str | os.PathLike[str]) -> int:
    """Remove what processes that are gone were writing in `folder`; return how many files and folders that were.

    What a living process writes is locked by it, and stays.
    """
    removed = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for path in [Path(entry.path) for entry in entries if is_partial(entry.name)]:
            removed += _remove_ownerless(path)
    return removed


def sweep_tree(folder: Path) -> int:
    """Remove what processes that are gone were writing anywhere below `folder`; symbolic links are not followed."""
    removed = 0
    for home, names, _ in os.walk(folder):
        removed += sweep(home)
        names[:] = [name for name in names if not is_partial(name)]
    return removed


def flush(path: str | os.PathLike[str]) -> None:
    """Wait until a file's content, or a folder's names, are on the disk; nothing where the file system cannot."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _flush(descriptor)
    finally:
        os.close(descriptor)


def _flush(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def flush_tree(folder: Path) -> None:
    """Wait until all files below `folder` are on the disk."""
    for home, _, names in os.walk(folder, topdown=False):
        for name in names:
            flush(os.path.join(home, name))
        flush(home)


@contextmanager
def locked(path: str | os.PathLike[str], *, shared: bool = False) -> Iterator[bool]:
    """Hold a lock on the file `path` for the block; it goes with its process, however that ends.

    Programs that this process starts inherit it: the lock lasts as long as one of them lives.

    Parameters
    ----------
    path : path
        Made where it is not there; its content does not matter. A symbolic link is not followed.
    shared : bool
        Whether others may hold it at the same time, if they share it, too.

    Yields
    ------
    bool
        False when others hold it: then the block runs without it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        yield False
        return
    held_locks.add(descriptor)
    try:
        yield True
    finally:
        with locks_kept:
            held_locks.discard(descriptor)
            os.close(descriptor)


locks_kept = threading.Lock()
"""Held while a program is started, so that no lock which it is given is closed by another thread meanwhile."""
held_locks: set[int] = set()
"""Descriptors of the locks that this process holds: programs that work for it are given them."""


def write_text(path: str | os.PathLike[str], text: str, *, naming: Naming = AT_ONCE) -> None:
    """Write `text` (UTF-8, newlines as they are) to `path`, whole or not at all; undecodable names keep their bytes."""
    with whole_file(path, naming=naming) as partial:
        fill(partial, text.encode("utf-8", "surrogateescape"))


def fill(partial: Path, content: bytes) -> None:
    """Write all of what `whole_file` yields."""
    with open(partial, "wb", buffering=0, opener=uncut) as file:
        rest = memoryview(content)
        while rest:
            rest = rest[file.write(rest) :]


def uncut(path: str, flags: int) -> int:
    """Open what `whole_file` yields, as the `opener` of `open`: it is empty, and is not cut off once more.

    Whoever closes a file that was cut off waits until ext4 has begun to bring it to the disk: a quarter of a second for
    800 MB.
    """
    return os.open(path, flags & ~os.O_TRUNC, 0o666)


def demand_file(path: str | os.PathLike[str], *, most: int | None = None) -> os.stat_result:
    """Return the size and times of a regular file; opening anything else may wait for ever, or never end.

    Parameters
    ----------
    path : path
    most : int, optional
        Bytes that such a file may have.

    Raises
    ------
    InputError
        It is a folder, a pipe, a device or a socket; or larger than files of its kind.
    OSError
        It is not there, or its links go round in circles.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        kind = next((words for test, words in KINDS if test(found.st_mode)), "something else")
        raise InputError(f"{os.fsdecode(path)} is {kind}; expected a file")
    if most is not None and found.st_size > most:
        raise InputError(f"{os.fsdecode(path)} has {found.st_size} bytes; expected at most {most}")
    return found


def small_text(path: str | os.PathLike[str], *, errors: str = "strict", most: int = MOST_TEXT) -> str:
    """Return the text (UTF-8) of a note, a list or a log, which is no pipe, no device and no flood.

    Parameters
    ----------
    path : path
    errors : str
        What becomes of bytes that are no UTF-8, as for `bytes.decode`.
    most : int
        Bytes that such a file may have.

    Raises
    ------
    InputError
        It is no regular file, or a larger one.
    OSError, UnicodeDecodeError
        It cannot be read.
    """
    demand_file(path, most=most)
    return Path(path).read_text(encoding="utf-8", errors=errors)


def text_with_names(path: str | os.PathLike[str]) -> str:
    """Return the text of a note or list that holds names of files, as this system reads names.

    Names are bytes: under `LC_ALL=C` those of a file of UTF-8 are none that the system has.

    Raises
    ------
    InputError
        As of `small_text`, or it holds a NUL, which no name has.
    OSError
        It cannot be read.
    """
    text = small_text(path, errors="surrogateescape")
    if "\0" in text:
        raise InputError(f"{path} is damaged: it holds a NUL; expected text. Make it again")
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def appending(path: str | os.PathLike[str], *, buffering: int = -1) -> TextIO:
    """Open a log to add lines to (UTF-8); nothing is written through a link, and a pipe is not waited for."""
    return open(path, "a", encoding="utf-8", errors="surrogateescape", buffering=buffering, opener=no_link)


def no_link(path: str, flags: int) -> int:
    """Open a file, as the `opener` of `open`, unless it is a symbolic link, or a pipe that nobody reads."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def demand_apart(
    out: str | os.PathLike[str],
    inputs: Iterable[str | os.PathLike[str]],
    *,
    below: Iterable[str] = (),
) -> None:
    """Refuse to write to what is read.

    Parameters
    ----------
    out : path
        A file or folder that is to be written to.
    inputs : iterable of path
        Files and folders that are read.
    below : iterable of str
        Folders in `out` that are written to as well.

    Raises
    ------
    RunError
        One of them is the same, holds a file that is read, or would be one of the planes of a folder that is read.
    """
    places = [Path(out), *(Path(out) / name for name in below)]
    for read in map(Path, inputs):
        for place in places:
            if _same(place, read) or (read.is_file() and _same(place, read.absolute().parent) and place != places[0]):
                raise RunError(f"{place} is what is read; expected another place to write to. Choose another one")
            if place.suffix.lower() in PLANES and _same(place.absolute().parent, read):
                raise RunError(f"{place} would be one of the planes of {read}; expected another name to write to")


def demand_plain_name(name: str, *, what: str) -> str:
    """Return `name`, which comes from a file or a command, once it is known to be one component of a path.

    Parameters
    ----------
    name : str
    what : str
        What it names, for the message.

    Raises
    ------
    InputError
        It leads to another folder, or is hidden, or none.
    """
    if not is_plain_name(name):
        raise InputError(f"{what} {name!r}: expected a plain name, without a path")
    return name


def is_plain_name(name: str) -> bool:
    """Return whether `name` is one component of a path, and not hidden.

    Examples
    --------
    >>> is_plain_name("1fm"), is_plain_name("../x"), is_plain_name(""), is_plain_name("..")
    (True, False, False, False)
    """
    return name == os.path.basename(name) and name[:1] not in ("", ".") and not set(name) & set("\0\\")


def own_folder(folder: Path) -> Path:
    """Make a folder where it is absent; one that is a link is not written through.

    Raises
    ------
    RunError
        It is a symbolic link.
    """
    if folder.is_symlink():
        raise RunError(
            f"{folder} is a symbolic link; expected a folder of this run: nothing is written through links. Remove it"
        )
    folder.mkdir(exist_ok=True)
    return folder


def demand_no_links(folder: str | os.PathLike[str]) -> None:
    """Raise RunError when what is written to, or a folder below it, is a symbolic link."""
    places = [os.fspath(folder), *(os.path.join(home, name) for home, names, _ in os.walk(folder) for name in names)]
    link = next((place for place in places if os.path.islink(place)), None)
    if link is not None:
        raise RunError(f"{link} is a symbolic link; nothing is written through links. Remove it")


def own_folders(base: Path, folder: Path) -> Path:
    """Make a folder below `base`, and those between them, as `own_folder` does."""
    place = base
    for name in folder.relative_to(base).parts:
        place = own_folder(place / name)
    return folder


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _owned(path: Path, flags: int) -> int:
    """Open what this process writes, and lock it, so that others see that it is being written.

    Who sweeps the folder right between the two removes it; then it is opened once more.
    """
    while True:
        descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o666)
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not flags & os.O_CREAT or os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)


def _sweep_once(folder: Path) -> None:
    """Remove what is left in `folder` of killed processes, the first time that this process writes there."""
    try:
        found = os.stat(folder)
    except OSError:
        return
    key = os.path.abspath(folder), found.st_dev, found.st_ino  # the number of a folder that went is given again
    if key not in _swept:
        _swept.add(key)
        sweep(folder)


def _remove_ownerless(path: Path) -> bool:
    """Remove a file or folder that was being written, unless its writer lives; return whether it was removed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
