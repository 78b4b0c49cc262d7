"""Stop a piece of work at one of its operations on files, as a kill would, and see what it leaves."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KILLED = 99
EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink"}
"""What makes names appear or go. What is in a file before it has its name does not count."""


class Watch:
    """The operations on files below a folder, in order, and at which of them to stop.

    Attributes
    ----------
    done : list of (str, str)
        What happened: the operation and the path, relative to the folder.
    """

    def __init__(self, folder: Path, stop_at: int | None = None) -> None:
        self.folder = str(folder)
        self.stop_at = stop_at
        self.done: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def see(self, event: str, arguments: tuple[object, ...]) -> None:
        path = _written(event, arguments)
        if path is None or not path.startswith(self.folder):
            return
        with self._lock:
            if len(self.done) == self.stop_at:
                os._exit(KILLED)
            self.done.append((event, os.path.relpath(path, self.folder)))


_watches: list[Watch] = []


def _written(event: str, arguments: tuple[object, ...]) -> str | None:
    """Return what an event changes, or None where it changes nothing."""
    if event not in EVENTS:
        return None
    path = arguments[1] if event in ("os.rename", "os.link", "os.symlink") else arguments[0]
    return os.path.abspath(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else None


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    for watch in _watches:
        watch.see(event, arguments)


sys.addaudithook(_hook)


@contextmanager
def watching(folder: Path, stop_at: int | None = None) -> Iterator[Watch]:
    """See every change below `folder`; at number `stop_at` this process ends without another word."""
    watch = Watch(folder, stop_at)
    _watches.append(watch)
    try:
        yield watch
    finally:
        _watches.remove(watch)


def killed_at(step: int, work: Callable[[], object], folder: Path) -> None:
    """Do `work` in a process of its own that is gone before its operation number `step` below `folder`."""
    child = os.fork()
    if child == 0:
        try:
            with watching(folder, stop_at=step):
                work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == KILLED, f"the work did not reach step {step}"
