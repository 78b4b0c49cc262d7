"""A look at every marker just before it appears: is all that it vouches for on the disk, as far as fsync was asked?"""

from __future__ import annotations

import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKER = re.compile(r"DONE|PREDICTDONE|\.averaged|v\d+")
"""Names of files, and of folders, that say that what is beside or in them is whole."""
RESULTS = re.compile(r"(?!\.|segmentation_).*\.(png|h5)")
"""What markers vouch for; planes that were gathered to be stitched are none of it."""


class Disk:
    """What was brought to the disk below a folder.

    Attributes
    ----------
    markers : list of str
        Those that appeared, relative to the folder.
    early : list of str
        What was not on the disk when a marker appeared that vouches for it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.markers: list[str] = []
        self.early: list[str] = []
        self._files: dict[int, tuple[int, int]] = {}
        self._names: dict[int, dict[str, int]] = {}

    def flushed(self, descriptor: int) -> None:
        """Note what is on the disk from now on: a file's content, or the names in a folder."""
        found = os.fstat(descriptor)
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            with os.scandir(f"/proc/self/fd/{descriptor}") as entries:
                self._names[found.st_ino] = {entry.name: entry.inode() for entry in entries}
        else:
            self._files[found.st_ino] = found.st_size, found.st_mtime_ns

    def renamed(self, source: Path, target: Path) -> None:
        """Look at what a marker vouches for that is about to appear."""
        if not target.is_relative_to(self.folder) or not MARKER.fullmatch(target.name):
            return
        self.markers.append(str(target.relative_to(self.folder)))
        home = source if source.is_dir() else target.parent
        results = [path for path in home.rglob("*") if RESULTS.fullmatch(path.name)]
        for path in [*results, *([source] if source.is_file() else [])]:
            if not self._holds(path):
                self.early.append(f"{path.relative_to(self.folder)} behind {self.markers[-1]}")
        for path in results:
            if not self._knows(path):
                self.early.append(f"the name {path.relative_to(self.folder)} behind {self.markers[-1]}")

    def lasting(self) -> list[str]:
        """Return the markers that are still there and whose names are on the disk."""
        there = [name for name in self.markers if (self.folder / name).exists()]
        return [name for name in there if self._knows(self.folder / name)]

    def _holds(self, path: Path) -> bool:
        found = path.stat()
        return self._files.get(found.st_ino) == (found.st_size, found.st_mtime_ns)

    def _knows(self, path: Path) -> bool:
        return self._names.get(path.parent.stat().st_ino, {}).get(path.name) == path.stat().st_ino


_disks: list[Disk] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "os.rename":
        for disk in _disks:
            disk.renamed(*(Path(os.path.abspath(os.fsdecode(path))) for path in arguments[:2]))


sys.addaudithook(_hook)


@contextmanager
def watched_disk(folder: Path) -> Iterator[Disk]:
    """See what is brought to the disk, and which markers appear below `folder`, in this process."""
    disk, fsync = Disk(folder), os.fsync

    def watched(descriptor: int) -> None:
        fsync(descriptor)
        disk.flushed(descriptor)

    _disks.append(disk)
    os.fsync = watched
    try:
        yield disk
    finally:
        os.fsync = fsync
        _disks.remove(disk)
