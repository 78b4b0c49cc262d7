"""Reading, predicting and writing at the same time."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

T = TypeVar("T")


class _End(Generic[T]):
    """Marks the end of what a thread makes, and the error that ended it."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(items: Iterable[T], *, depth: int) -> Iterator[T]:
    """Make `items` in a thread, at most `depth` of them before they are asked for.

    An error of the thread is raised where its item would have come. When the consumer stops early (an error, an
    interrupt), the thread ends with its current item.

    Examples
    --------
    >>> list(ahead(range(4), depth=2))
    [0, 1, 2, 3]
    """
    made: queue.Queue[T | _End[T]] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def put(item: T | _End[T]) -> None:
        while not stop.is_set():
            try:
                made.put(item, timeout=0.1)
                break
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
            put(_End())
        except BaseException as error:  # noqa: BLE001 - it is raised again by the consumer
            put(_End(error))

    thread = threading.Thread(target=make, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            item = made.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stop.set()
        thread.join()


class Background:
    """Runs calls in one thread, in order, at most `depth` waiting.

    An error of a call is raised by the next call, or at the end of the block.

    Examples
    --------
    >>> done = []
    >>> with Background(depth=2) as background:
    ...     for k in range(3):
    ...         background.call(done.append, k)
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

    def __enter__(self) -> Background:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        if error is None:
            for future in self._waiting:
                future.result()
