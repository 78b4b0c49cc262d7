"""Boxes in several processes of this machine: one for each GPU, or for a part of the cores."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
from collections import Counter, deque
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from cdeep3m.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cdeep3m.runners.base import Work

MOST_DEATHS = 3
"""A box whose process dies so often is given up."""
PATIENCE = 10.0
"""Seconds that a process gets to end by itself."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Processes:
    """Does boxes in processes, each with settings of its own; one that dies is replaced, and its box done again.

    Parameters
    ----------
    settings : sequence of mapping of str to str
        Environment variables of each process, set before it loads anything.
    """

    one_machine = True

    def __init__(self, settings: Sequence[Mapping[str, str]]) -> None:
        if not settings:
            raise ValueError("no process; expected one or more")
        self._settings = settings

    def run(self, work: Work, boxes: Iterable[int]) -> Iterator[int]:
        """Call `work` with every box, each in the process that is free first."""
        content, again, deaths = pickle.dumps(work), deque[int](), Counter[int]()
        boxes = iter(boxes)
        workers = [_Worker(settings, content) for settings in self._settings]
        try:
            for worker in workers:
                worker.give(_next(again, boxes))
            while busy := {worker.connection: worker for worker in workers if worker.box is not None}:
                for connection in wait(list(busy)):
                    worker = busy[connection]  # type: ignore[index]
                    box = worker.box
                    assert box is not None
                    if worker.has_finished():
                        yield box
                    else:
                        deaths[box] += 1
                        _require_hope(box, deaths[box], worker.exit_code())
                        again.append(box)
                        worker.start()
                    worker.give(_next(again, boxes))
                for worker in workers:
                    if worker.box is None:
                        worker.give(_next(again, boxes))
            for worker in workers:
                worker.end()
        finally:
            for worker in workers:
                worker.stop()

    def __str__(self) -> str:
        return f"{len(self._settings)} processes"


def shares_of_cores(workers: int, cores: int) -> list[dict[str, str]]:
    """Return the settings of processes that divide the cores among them.

    Examples
    --------
    >>> [settings["OMP_NUM_THREADS"] for settings in shares_of_cores(3, 8)]
    ['3', '3', '2']
    >>> [settings["OMP_NUM_THREADS"] for settings in shares_of_cores(2, 1)]
    ['1', '1']
    """
    counts = [max(1, cores // workers + (number < cores % workers)) for number in range(workers)]
    return [dict.fromkeys(THREADS, str(count)) for count in counts]


def one_for_each_gpu(gpus: Sequence[int]) -> list[dict[str, str]]:
    """Return the settings of processes that see one GPU each, as their number 0.

    Parameters
    ----------
    gpus : sequence of int
        Numbers as this process counts them: among those that CUDA_VISIBLE_DEVICES names, where it is set.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = visible if visible != [""] else [str(gpu) for gpu in range(max(gpus) + 1)]
    return [{"CUDA_VISIBLE_DEVICES": names[gpu].strip()} for gpu in gpus]


class _Worker:
    """A process that does boxes, and the box that it does now."""

    def __init__(self, settings: Mapping[str, str], content: bytes) -> None:
        self._settings, self._content = settings, content
        self.start()

    def start(self) -> None:
        """Start a process, in the place of one that has died."""
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.box: int | None = None
        self._process = context.Process(
            target=_serve, args=(theirs, dict(self._settings), self._content), name="boxes", daemon=True
        )
        self._process.start()
        theirs.close()

    def give(self, box: int | None) -> None:
        """Have a box done; None leaves the process waiting."""
        self.box = box
        if box is not None:
            try:
                self.connection.send(box)
            except OSError:
                return  # It has died; that is noticed where its answer is awaited.

    def has_finished(self) -> bool:
        """Say whether the box is done; False when the process has died over it. Raise the error of the work."""
        try:
            error = self.connection.recv()
        except (EOFError, OSError):
            return False
        self.box = None
        if error is not None:
            raise error
        return True

    def exit_code(self) -> int | None:
        """Return how the process ended: minus the signal that killed it."""
        self._process.join(PATIENCE)
        return self._process.exitcode

    def end(self) -> None:
        """Let the process end by itself."""
        self.connection.close()
        self._process.join(PATIENCE)

    def stop(self) -> None:
        """End the process, whatever it does."""
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.connection.close()


def _next(again: deque[int], boxes: Iterator[int]) -> int | None:
    return again.popleft() if again else next(boxes, None)


def _require_hope(box: int, deaths: int, exit_code: int | None) -> None:
    if deaths >= MOST_DEATHS:
        how = f"signal {-exit_code}" if exit_code is not None and exit_code < 0 else f"exit status {exit_code}"
        raise RunError(
            f"box {box} ended its process {deaths} times ({how}); expected it to be done. "
            "Where memory ran out, take fewer --workers; then run the same command again"
        )


def _serve(connection: Connection, settings: Mapping[str, str], content: bytes) -> None:
    """Do boxes until the other side is closed; its end, however sudden, is the end of this process."""
    os.environ.update(settings)
    # Ctrl-C reaches all processes of a terminal; the first one decides for all.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        work = pickle.loads(content)
        while True:
            box = connection.recv()
            connection.send(_error_of(work, box))
    except (EOFError, OSError):
        return


def _error_of(work: Work, box: int) -> Exception | None:
    """Do a box; return what went wrong, in a form that can be sent."""
    try:
        work(box)
    except Exception as error:  # noqa: BLE001 - it is raised again in the first process
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # noqa: BLE001 - whatever a pickle may raise
            return RuntimeError(f"box {box}: {type(error).__name__}: {error}")
        return error
    return None
