"""Numbered batches, made ahead in threads of their own."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

T = TypeVar("T")


def staged(arrays: Sequence[np.ndarray], device: torch.device) -> tuple[torch.Tensor, ...]:
    """Return a batch as tensors, in memory that `device` copies from while it computes.

    Parameters
    ----------
    arrays : sequence of ndarray of a number type, shape (n, ...)

    Returns
    -------
    tuple of torch.Tensor, their shapes and types
    """
    blobs = (torch.from_numpy(array) for array in arrays)
    return tuple(blob.pin_memory() if device.type == "cuda" else blob for blob in blobs)


def sent(blobs: Sequence[torch.Tensor], device: torch.device) -> tuple[torch.Tensor, ...]:
    """Return a staged batch on `device`, where it may still be on its way for what is asked of it there.

    Parameters
    ----------
    blobs : sequence of torch.Tensor, any shape

    Returns
    -------
    tuple of torch.Tensor, their shapes
    """
    return tuple(blob.to(device, non_blocking=True) for blob in blobs)


class Prefetch(Generic[T]):
    """Hands out `make(0)`, `make(1)`, ... in order, and makes the next few while the caller works.

    A batch depends on its number alone, so what the caller gets is the same however far ahead the thread is.

    Parameters
    ----------
    make : callable
        Makes the batch of a number; called in other threads, in as many at a time as there are workers.
    depth : int
        Batches to keep ready; as many as there are workers at least.
    workers : int
        Threads that make batches.

    Examples
    --------
    >>> squares = Prefetch(lambda number: number**2)
    >>> squares.seek(3)
    >>> squares.next(), squares.next()
    (9, 16)
    """

    def __init__(self, make: Callable[[int], T], *, depth: int = 2, workers: int = 1) -> None:
        self._make = make
        self._workers = workers
        self._depth = max(depth, workers)
        self._position = 0
        self._ahead: deque[Future[T]] = deque()
        self._thread: ThreadPoolExecutor | None = None

    def next(self) -> T:
        """Return the batch at the current position, and move on; what `make` raised is raised here."""
        while len(self._ahead) <= self._depth:
            self._ahead.append(self._submit(self._position + len(self._ahead)))
        batch = self._ahead.popleft().result()
        self._position += 1
        return batch

    def seek(self, position: int) -> None:
        """Go on with the batch number `position`."""
        for future in self._ahead:
            future.cancel()
        self._ahead.clear()
        self._position = position

    def close(self) -> None:
        """Stop the threads."""
        self.seek(self._position)
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    def _submit(self, number: int) -> Future[T]:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(self._workers, thread_name_prefix="prefetch")
        return self._thread.submit(self._make, number)
