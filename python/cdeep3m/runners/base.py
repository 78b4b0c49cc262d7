"""What every runner does, and the simplest one; and how all boxes of a run are accounted for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cdeep3m.errors import RunError

if TYPE_CHECKING:
    import numpy as np

    from cdeep3m.system.ledger import Ledger

Work = Callable[[int], None]
"""Does a box, whose number it gets. It can be pickled, and may be called again for the same box, anywhere."""
OnDone = Callable[[int, int], None]
"""Receives how many boxes are finished, and how many there are."""
NAMED = 5
"""So many boxes are named in a message."""


class Runner(Protocol):
    """Does boxes somewhere.

    Attributes
    ----------
    one_machine : bool
        Whether all boxes are done on this machine, so that they may share its memory of a file.
    """

    one_machine: bool

    def run(self, work: Work, boxes: Iterable[int]) -> Iterator[int]:
        """Call `work` with every box, in any order and possibly more than once; yield each box once it is finished.

        When the caller stops early (an error, an interrupt), what has begun is given up or finished, and nothing is
        left running.

        Raises
        ------
        RunError
            When a box cannot be finished because whatever does it dies again and again.
        Exception
            The first error of `work`.
        """

    def __str__(self) -> str:
        """Return in words where boxes are done."""


class InThisProcess:
    """Does one box after another, here."""

    one_machine = True

    def run(self, work: Work, boxes: Iterable[int]) -> Iterator[int]:
        """Call `work` with every box, in order."""
        for box in boxes:
            work(box)
            yield box

    def __str__(self) -> str:
        return "this process"


@dataclass(frozen=True)
class Marked:
    """Work that says so in a ledger once a box is done.

    Attributes
    ----------
    work : callable
    ledger : Ledger
    """

    work: Work
    ledger: Ledger

    def __call__(self, box: int) -> None:
        """Do a box, and mark it as finished."""
        self.work(box)
        self.ledger.mark(box)


def run_missing(
    work: Work,
    ledger: Ledger,
    *,
    runner: Runner | None = None,
    share: Callable[[np.ndarray], np.ndarray] | None = None,
    on_done: OnDone | None = None,
    name: str = "box",
) -> bool:
    """Do the boxes that a ledger misses, and account for every one of them.

    Parameters
    ----------
    work : Work
    ledger : Ledger
    runner : Runner, optional
        Default: this process.
    share : callable, optional
        Chooses the boxes to do (ndarray of int, shape (boxes,)) of those that are missing; other calls do the others.
    on_done : OnDone, optional
        Receives progress.
    name : str
        What a box is called in a message.

    Returns
    -------
    bool
        Whether all boxes of the run are finished; always so without `share`.

    Raises
    ------
    RunError
        When a box that was to be done is not finished in the end; says which.
    """
    missing = ledger.missing()
    mine = share(missing) if share else missing
    done = ledger.boxes - len(missing)
    for _ in (runner or InThisProcess()).run(Marked(work, ledger), iter(mine.tolist())):
        done += 1
        if on_done:
            on_done(done, ledger.boxes)
    finished = ledger.finished()
    require_all(mine[~finished[mine]], ledger.boxes, name=name)
    return bool(finished.all())


def require_all(left: np.ndarray, boxes: int, *, name: str = "box") -> None:
    """Fail where boxes are not finished.

    Parameters
    ----------
    left : ndarray of int, shape (boxes left,)
        Those that are not finished.
    boxes : int
        How many there are.
    name : str
        What one is called.

    Raises
    ------
    RunError
        Names the first ones.
    """
    if len(left):
        shown = ", ".join(map(str, left[:NAMED])) + (" and others" if len(left) > NAMED else "")
        raise RunError(f"{len(left)} of {boxes} are not finished: {name} {shown}. Run the same command again")
