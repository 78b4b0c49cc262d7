"""Reading, predicting and writing at the same time."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cdeep3m.system.interrupts import uninterrupted
from cdeep3m.system.memory import kept_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from types import TracebackType

T = TypeVar("T")
Item = TypeVar("Item")

MOST_THREADS = 8
"""More of them hold more planes in memory, but wait for the disk."""


class _End(Generic[T]):
    """Marks the end of what a thread makes, and the error that ended it."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(items: Iterable[T], *, depth: int) -> Generator[T, None, None]:
    """Make `items` in a thread, at most `depth` of them before they are asked for.

    An error of the thread is raised where its item would have come. When the consumer stops early (an error, an
    interrupt), the thread ends with its current item.

    Examples
    --------
    >>> list(ahead(range(4), depth=2))
    [0, 1, 2, 3]
    """
    made: queue.SimpleQueue[T | _End[T]] = queue.SimpleQueue()
    room = threading.Semaphore(depth)
    stop = threading.Event()

    def make() -> None:
        try:
            source = iter(items)
            while True:
                room.acquire()
                if stop.is_set():
                    return
                made.put(next(source))
        except StopIteration:
            made.put(_End())
        except BaseException as error:  # noqa: BLE001 - it is raised again by the consumer
            made.put(_End(error))

    thread = threading.Thread(target=make, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            item = made.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            room.release()
            yield item
    finally:
        stop.set()
        room.release()
        thread.join()


def processors() -> int:
    """Return how many processors this process may use, 8 at most, or as many as CDEEP3M_THREADS says."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("CDEEP3M_THREADS", "")
    return min(usable, MOST_THREADS, int(wanted) if wanted.isdigit() and int(wanted) else usable)


def spread(function: Callable[[Item], T], items: Sequence[Item]) -> Iterator[T]:
    """Yield `function(item)` for every item, in order, called in a thread for each processor.

    No more results than threads wait to be asked for. An error is raised where its result would have come; calls that
    have not begun are then dropped, those that have are waited for.

    Examples
    --------
    >>> list(spread(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    threads = min(processors(), len(items))
    if threads <= 1:
        with kept_memory():
            yield from map(function, items)
        return
    waiting: deque[Future[T]] = deque()
    with kept_memory(), ThreadPoolExecutor(max_workers=threads) as pool:
        try:
            for item in items:
                if len(waiting) == threads:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(function, item))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def begin(function: Callable[..., T], *args: object) -> Future[T]:
    """Call `function(*args)` in a thread of its own; what it returns or raises is the future's.

    The process waits for it before it ends.

    Examples
    --------
    >>> begin(abs, -3).result()
    3
    """
    pool = ThreadPoolExecutor(max_workers=1)
    future = pool.submit(function, *args)
    pool.shutdown(wait=False)
    return future


def for_each(function: Callable[[Item], object], items: Sequence[Item]) -> None:
    """Call `function` with every item, in a thread for each processor; see `spread`."""
    for _ in spread(function, items):
        pass


def side_by_side(lanes: Sequence[Callable[[], None]], *, stop: Callable[[], None]) -> None:
    """Call functions at the same time, each in a thread, and wait for all of them; raise the first one's error.

    Parameters
    ----------
    lanes : sequence of callable
        What waits for work outside this process.
    stop : callable
        Called after an interrupt: it makes the functions return soon.
    """
    with ThreadPoolExecutor(max_workers=len(lanes)) as pool:
        running: list[Future[None]] = []
        try:
            running += [pool.submit(lane) for lane in lanes]
            wait(running)
        except BaseException:
            with uninterrupted():
                stop()
            raise
    for lane in running:
        lane.result()


class Behind:
    """Runs calls in one thread, in order, at most `depth` waiting.

    An error of a call is raised by the next call, or at the end of the block.

    Examples
    --------
    >>> done = []
    >>> with Behind(depth=2) as behind:
    ...     for k in range(3):
    ...         behind.call(done.append, k)
    >>> done
    [0, 1, 2]
    """

    def __init__(self, *, depth: int) -> None:
        self._depth = depth
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._waiting: list[Future[Any]] = []

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Run `function(*args)` later; wait while `depth` calls are waiting."""
        while len(self._waiting) >= self._depth:
            self._waiting.pop(0).result()
        self._waiting.append(self._pool.submit(function, *args))

    def __enter__(self) -> Behind:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        if error is None:
            for future in self._waiting:
                future.result()
