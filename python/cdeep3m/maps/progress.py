"""Which boxes of an output are finished: numbered in the order in which they are asked for, kept in a ledger."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.errors import RunError
from cdeep3m.system.ledger import SUFFIX, open_ledger
from cdeep3m.tiling.boxes import Grid, SomeOf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cdeep3m.geometry import Roi
    from cdeep3m.system.ledger import Ledger
    from cdeep3m.volumes.stores import Store


class StoreLedger:
    """A ledger's files as objects of a store such as S3, where nothing can be added to: every entry is an object.

    Parameters
    ----------
    store : Store
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._written: dict[str, int] = {}

    def create(self, name: str, content: bytes) -> None:
        """Make an object; leave it as it is where it exists already."""
        if self._store.read(name) is None:
            self._store.write(name, content)

    def read(self, name: str) -> bytes:
        """Return an object's content."""
        found = self._store.read(name)
        if found is None:
            raise FileNotFoundError(f"{self}/{name}")
        return found

    def add(self, writer: str, entries: bytes) -> None:
        """Add an object of its own for `entries`."""
        number = self._written.get(writer, 0)
        self._store.write(f"{writer}-{number:08d}{SUFFIX}", entries)
        self._written[writer] = number + 1

    def entries(self) -> Iterator[bytes]:
        """Yield the content of each object."""
        for name in self._store.names():
            if name.endswith(SUFFIX):
                yield self._store.read(name) or b""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoreLedger) and other._store == self._store

    def __hash__(self) -> int:
        return hash(self._store)

    def __str__(self) -> str:
        return self._store.url


class Finished:
    """The boxes of an output, and which of them are finished.

    Parameters
    ----------
    place : Store
        Where the ledger lies.
    run : mapping of str to str
        All that decides what the boxes hold.
    more : int
        Further numbers that the output needs, behind those of the boxes.
    """

    def __init__(self, place: Store, run: Mapping[str, str], *, more: int = 0) -> None:
        self._place = place
        self._run = run
        self._more = more
        self._boxes: Grid | dict[Roi, int] = {}
        self._ledger: Ledger | None = None
        self.done = np.zeros(0, bool)

    @property
    def count(self) -> int:
        """How many boxes there are."""
        return len(self._boxes)

    def finished_boxes(self) -> list[Roi]:
        """Return the boxes that are finished, in order."""
        return [box for box, done in zip(self._boxes, self.done, strict=False) if done]

    def begin(self, boxes: Sequence[Roi] | Grid) -> bool:
        """Take `boxes` for all that there are, and read what is finished; return False where that was done before.

        Raises
        ------
        RunError
            The ledger that is there belongs to another run.
        """
        if self._ledger is not None:
            for box in () if boxes is self._boxes else boxes:
                self.number(box)
            self.refresh()
            return False
        self._boxes = boxes if isinstance(boxes, Grid) else {box: number for number, box in enumerate(boxes)}
        place = Path(self._place.url) if self._place.is_local else StoreLedger(self._place)
        run = {**self._run, "cut": _digest(boxes)}
        self._ledger = open_ledger(place, boxes=len(boxes) + self._more, run=run)
        self.done = self._ledger.finished()
        return True

    def number(self, box: Roi) -> int:
        """Return the number of a box.

        Raises
        ------
        ValueError
            It is none of those that `begin` was told.
        """
        if isinstance(self._boxes, Grid):
            return self._boxes.number(box)
        if box not in self._boxes:
            raise ValueError(f"{box} is none of the boxes that were asked for")
        return self._boxes[box]

    def missing(self, boxes: Sequence[Roi] | Grid) -> Sequence[Roi]:
        """Return those of `boxes` that are not finished, in order."""
        if isinstance(boxes, Grid) and boxes is self._boxes:
            return SomeOf(boxes, np.flatnonzero(~self.done[: boxes.count]))
        return [box for box in boxes if not self.done[self.number(box)]]

    def mark(self, *numbers: int) -> None:
        """Say that boxes are finished: what they hold is on the disk."""
        if self._ledger is None:
            raise ValueError("no boxes were asked for")
        self._ledger.mark(*numbers)
        self.done[list(numbers)] = True

    def refresh(self) -> None:
        """Read what others finished."""
        if self._ledger is not None:
            self.done |= self._ledger.finished()

    def demand_all(self, count: int, name: str) -> None:
        """Raise RunError when one of the first `count` boxes is not finished."""
        self.refresh()
        left = count - int(np.count_nonzero(self.done[:count]))
        if left:
            raise RunError(f"{name}: {left} of {count} boxes are missing; the same command makes them")

    def forget(self) -> None:
        """Delete what a run that was stopped at its very end left of its ledger."""
        self._place.remove_all()

    def remove(self) -> None:
        """Delete the ledger: the output is whole and says so itself."""
        if self._ledger is not None:
            self._place.remove_all()


def _digest(boxes: Iterable[Roi]) -> str:
    """Return what tells boxes from others."""
    digest = hashlib.sha256()
    for box in boxes:
        digest.update(f"{box.begin}{box.end}".encode())
    return digest.hexdigest()[:16]
