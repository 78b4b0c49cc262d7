"""A Dask cluster of this machine, for tests."""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

IGNORING = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning"
)
"""For modules that use `local_cluster`: distributed leaves sockets of dead workers to the garbage collector."""


@contextmanager
def local_cluster() -> Iterator[str]:
    """Yield the scheduler's address of two workers, each watched by a nanny; skip without distributed."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
    ) as made:
        yield made.scheduler_address
    del made
    hook, sys.unraisablehook = sys.unraisablehook, lambda *_: None
    gc.collect()
    sys.unraisablehook = hook
