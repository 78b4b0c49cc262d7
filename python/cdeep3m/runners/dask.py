"""Boxes on a cluster of Dask: a call for each box, a bounded number of them at a time, no graph of the volume."""

from __future__ import annotations

import logging
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdeep3m.errors import RunError, needing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cdeep3m.runners.base import Work

logger = logging.getLogger(__name__)

FEWEST_AT_ONCE = 64
"""So many boxes are with the scheduler at least, so that clusters that adapt see work for more workers."""
SECONDS_TO_CONNECT = 30
KEPT_MESSAGES = "distributed.admin.low-level-log-length"
"""So many batches of messages a client keeps for whoever looks for faults in it: 2.4 KB a box, up to 1,000 batches."""
MOST_DEATHS = 10
"""A box may outlive so many workers of a cluster that is started here: those that Slurm ends are no fault of a box."""


class OnDask:
    """Does boxes on the workers of a Dask cluster; the scheduler gives the box of a worker that dies to another one.

    Parameters
    ----------
    address : str
        Of the scheduler (tcp://host:8786), or the path of its scheduler file.
    """

    one_machine = False

    def __init__(self, address: str) -> None:
        self._address = address

    def run(self, work: Work, boxes: Iterable[int]) -> Iterator[int]:
        """Call `work` with every box; the memory that this takes here does not grow with their number."""
        with connected(self._address) as client:
            logger.info("dashboard: %s", client.dashboard_link)
            yield from run_on(client, work, boxes)

    def __str__(self) -> str:
        return f"Dask at {self._address}"


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Yield a client of a running cluster.

    Raises
    ------
    RunError
        When there is no scheduler at the address.
    MissingExtraError
        Without distributed.
    """
    with needing("distributed", extra="dask", module="distributed"):
        import dask
        from distributed import Client
    where = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
    try:
        with dask.config.set({KEPT_MESSAGES: 0}):
            client = Client(**where, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise RunError(
            f"no Dask scheduler at {address} ({error}); expected an address such as tcp://host:8786, or a scheduler "
            "file. Start one with: dask scheduler"
        ) from error
    with client:
        yield client


def run_on(client: Any, work: Work, boxes: Iterable[int]) -> Iterator[int]:
    """Yield boxes as the workers of a client finish them.

    Raises
    ------
    RunError
        When the scheduler is lost, or a box ends its workers.
    Exception
        The first error of the work.
    """
    from distributed import as_completed

    boxes, run = iter(boxes), uuid.uuid4().hex[:8]
    at_work: dict[str, tuple[int, Any]] = {}
    ended = as_completed(loop=client.loop)

    def submit_next() -> None:
        box = next(boxes, None)
        if box is not None:
            future = client.submit(work, box, key=f"box-{box}-{run}", pure=False)
            at_work[future.key] = box, future
            ended.add(future)

    try:
        for _ in range(max(FEWEST_AT_ONCE, 4 * sum(client.nthreads().values()))):
            submit_next()
        for future in ended:
            box, _ = at_work.pop(future.key)
            _require_finished(future, box)
            submit_next()
            yield box
    finally:
        if at_work and client.status == "running":
            client.cancel([future for _, future in at_work.values()], force=True)


def _require_finished(future: Any, box: int) -> None:
    if future.status == "finished":
        return
    if future.status in ("cancelled", "lost"):
        raise RunError(f"the Dask scheduler was lost with box {box} under way. Run the same command again")
    from distributed.scheduler import KilledWorker

    error = future.exception()
    if isinstance(error, KilledWorker):
        raise RunError(
            f"box {box} ended its workers ({error.last_worker.address} the last); expected it to be done. Where memory "
            "ran out, give workers more of it; then run the same command again"
        ) from error
    raise error
