"""A ledger of finished boxes: what a run on many machines has done, and what it has not.

A ledger is a folder. `ledger.json` says how many boxes there are and which run they belong to; it is made once, whole,
by whoever comes first. Every writer adds to a file of its own, so that no two machines ever write to one file: shared
file systems do not append in one piece. An entry is 16 bytes,

    box, as an unsigned 64-bit number | the same number xor the run's key

so that an entry that is cut off, empty or of another run does not count: its box is done once more, which changes
nothing. An entry is added once the box's values are where they belong. Entries are never removed, and the order of the
files means nothing. Reading takes one pass: 1,000,000 boxes are 16 MB.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import threading
import uuid
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from cdeep3m.errors import FormatError, RunError
from cdeep3m.system.files import partial_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

HEADER = "ledger.json"
SUFFIX = ".boxes"
ENTRY = np.dtype([("box", "<u8"), ("check", "<u8")])
MOST_BOXES = 2**48
"""More is a mistake of whoever asks."""


class LedgerFiles(Protocol):
    """Where a ledger lies: a folder, or a place without folders and without appending."""

    def create(self, name: str, content: bytes) -> None:
        """Make a file with `content`, whole; leave it as it is where it exists already, whoever made it."""

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises
        ------
        FileNotFoundError
            When it is not there.
        """

    def add(self, writer: str, entries: bytes) -> None:
        """Add to what `writer` wrote; the caller gives up `writer` after an error, since part may have been written."""

    def entries(self) -> Iterator[bytes]:
        """Yield what each writer wrote, whole or cut off anywhere."""

    def __hash__(self) -> int:
        """Return the same for equal addresses: writers are kept by ledger."""

    def __str__(self) -> str:
        """Return the address, for messages."""


@dataclass(frozen=True)
class LedgerFolder:
    """A ledger's files in a folder of this machine or of a shared file system.

    Attributes
    ----------
    folder : Path
        Made when it is not there.
    """

    folder: Path

    def create(self, name: str, content: bytes) -> None:
        """Make a file, whole; the first one to come wins."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = partial_name(self.folder / name)
        try:
            partial.write_bytes(content)
            # A link, unlike a new name, is refused where there is a file already, on shared file systems too.
            os.link(partial, self.folder / name)
        except FileExistsError:
            pass
        finally:
            partial.unlink(missing_ok=True)

    def read(self, name: str) -> bytes:
        """Return a file's content."""
        return (self.folder / name).read_bytes()

    def add(self, writer: str, entries: bytes) -> None:
        """Append in one write, and close: shared file systems show to others what has been closed."""
        file = os.open(self.folder / f"{writer}{SUFFIX}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
        try:
            written = os.write(file, entries)
        finally:
            os.close(file)
        if written != len(entries):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    def entries(self) -> Iterator[bytes]:
        """Yield the content of each writer's file."""
        with os.scandir(self.folder) as found:
            paths = [entry.path for entry in found if entry.name.endswith(SUFFIX)]
        for path in paths:
            yield Path(path).read_bytes()

    def __str__(self) -> str:
        return str(self.folder)


@dataclass(frozen=True)
class Ledger:
    """Which of a run's boxes are finished.

    Attributes
    ----------
    files : LedgerFiles
        Where it lies.
    boxes : int
        How many boxes the run has; they are numbered from 0.
    key : int
        64 bits that no other run has.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ledger = open_ledger(folder, boxes=4, run={"volume": "a.tif"})
    ...     ledger.writer().mark(2, 0)
    ...     ledger.missing().tolist()
    [1, 3]
    """

    files: LedgerFiles
    boxes: int
    key: int

    def finished(self) -> np.ndarray:
        """Return for every box whether it is finished, as of now.

        Returns
        -------
        ndarray of bool, shape (boxes,)
        """
        found = np.zeros(self.boxes, bool)
        for content in self.files.entries():
            entries = np.frombuffer(content, ENTRY, count=len(content) // ENTRY.itemsize)
            boxes = entries["box"]
            found[boxes[(boxes ^ np.uint64(self.key) == entries["check"]) & (boxes < self.boxes)]] = True
        return found

    def missing(self) -> np.ndarray:
        """Return the boxes that are not finished, in order.

        Returns
        -------
        ndarray of int64, shape (boxes left,)
        """
        return np.flatnonzero(~self.finished())

    def writer(self) -> LedgerWriter:
        """Return what this process, or this thread, marks its boxes with."""
        return LedgerWriter(self)

    def mark(self, *boxes: int) -> None:
        """Say that boxes are finished, with a writer that this thread keeps for it; see `LedgerWriter.mark`."""
        _writer_of(self, os.getpid(), threading.get_ident()).mark(*boxes)


class LedgerWriter:
    """Marks boxes as finished, in a file that nobody else writes to; each process and each thread takes its own.

    Parameters
    ----------
    ledger : Ledger
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._name = _new_name()
        self._process = os.getpid()

    def __reduce__(self) -> tuple[type[LedgerWriter], tuple[Ledger]]:
        """Take another file where it is sent to another process."""
        return LedgerWriter, (self._ledger,)

    def mark(self, *boxes: int) -> None:
        """Say that boxes are finished: all that they hold is where it belongs, and stays there if this process ends.

        Raises
        ------
        ValueError
            When there is no such box.
        OSError
            When the entries cannot be written: the boxes do not count as finished, the next ones go to another file.
        """
        if outside := [box for box in boxes if not 0 <= box < self._ledger.boxes]:
            raise ValueError(f"no box {outside[0]} among {self._ledger.boxes}")
        if self._process != os.getpid():
            self._name, self._process = _new_name(), os.getpid()
        try:
            self._ledger.files.add(self._name, _entries(boxes, self._ledger.key))
        except BaseException:
            self._name = _new_name()
            raise


def open_ledger(place: str | os.PathLike[str] | LedgerFiles, *, boxes: int, run: Mapping[str, str | int]) -> Ledger:
    """Open the ledger of a run, or make it.

    Parameters
    ----------
    place : path or LedgerFiles
        Its folder, or where else it lies.
    boxes : int
        How many boxes the run has.
    run : mapping of str to str or int
        All that decides what the boxes hold (size and place of the input, grid, trained models, rules): a ledger never
        counts for another run. Names are read by users, when a value differs.

    Returns
    -------
    Ledger

    Raises
    ------
    RunError
        When the ledger that is there belongs to another run; names what differs first.
    FormatError
        When its header is damaged.
    """
    if not 0 <= boxes < MOST_BOXES:
        raise ValueError(f"{boxes} boxes; expected 0 to {MOST_BOXES - 1}")
    files = LedgerFolder(Path(place)) if isinstance(place, (str, os.PathLike)) else place
    wanted = {"boxes": str(boxes)} | {name: str(value) for name, value in run.items()}
    try:
        content = files.read(HEADER)
    except FileNotFoundError:
        files.create(HEADER, json.dumps(wanted, indent=1).encode())
        content = files.read(HEADER)
    _require_same(_parsed(content, files), wanted, files)
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).digest()
    return Ledger(files, boxes, int.from_bytes(digest[:8], "little"))


def share_of(boxes: np.ndarray, *, number: int, of: int) -> np.ndarray:
    """Return the boxes of one share of the work, in order: every one is in exactly one share, neighbours together.

    Parameters
    ----------
    boxes : ndarray of int, shape (n,)
        In order.
    number, of : int
        Which share, from 1, of how many.

    Returns
    -------
    ndarray of int

    Raises
    ------
    ValueError
        When there is no such share.

    Examples
    --------
    >>> [share_of(np.arange(7), number=k, of=3).tolist() for k in (1, 2, 3)]
    [[0, 1], [2, 3], [4, 5, 6]]
    """
    if not 1 <= number <= of:
        raise ValueError(f"share {number} of {of}; expected 1 to {of}")
    first, after = (len(boxes) * k // of for k in (number - 1, number))
    return boxes[first:after]


@lru_cache(maxsize=64)
def _writer_of(ledger: Ledger, process: int, thread: int) -> LedgerWriter:
    del process, thread
    return ledger.writer()


def _new_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"


def _entries(boxes: Iterable[int], key: int) -> bytes:
    numbers = np.fromiter(boxes, np.uint64)
    entries = np.empty(len(numbers), ENTRY)
    entries["box"], entries["check"] = numbers, numbers ^ np.uint64(key)
    return entries.tobytes()


def _parsed(content: bytes, files: LedgerFiles) -> dict[str, str]:
    try:
        header = json.loads(content)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise FormatError(f"{HEADER} in {files} is damaged. Delete {files} and what the run wrote, then run it again")
    return header


def _require_same(found: Mapping[str, str], wanted: Mapping[str, str], files: LedgerFiles) -> None:
    """Fail where a ledger belongs to another run; its key alone would count nothing, silently."""
    for name in (*wanted, *found):
        if found.get(name) != wanted.get(name):
            raise RunError(
                f"{files} belongs to another run: expected {name} {wanted.get(name, 'not given')}, found "
                f"{found.get(name, 'none')}. Choose another place to write to, or delete what that run wrote"
            )
