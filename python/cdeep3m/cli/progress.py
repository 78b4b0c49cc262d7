"""How far a job is: a bar with an ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from cdeep3m.runs.pace import Pace

if TYPE_CHECKING:
    from types import TracebackType

    from cdeep3m.engines.base import Progress

SECONDS_BETWEEN_LINES = 20.0
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"
OPEN_BAR = "{desc}: {n_fmt}{postfix}"


class _Job:
    """One named job: how fast it goes, and what shows it."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar
        self.pace = Pace()
        self.last_line = 0.0


class ProgressDisplay:
    """Shows the progress of named jobs, one after another or side by side, on stderr; a total of 0 is one not known.

    Parameters
    ----------
    unit : str
        What is counted ("plane", "iteration").
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._jobs: dict[str, _Job] = {}
        self._lock = threading.Lock()

    def __call__(self, name: str, progress: Progress) -> None:
        """Show that the job `name` is at `progress`."""
        with self._lock:
            job = self._jobs.get(name) or self._start(name, progress)
            job.pace.note(time.monotonic(), progress.done)
            if job.bar is not None:
                self._draw(job, progress)
            elif progress.done == progress.total or time.monotonic() - job.last_line > SECONDS_BETWEEN_LINES:
                job.last_line = time.monotonic()
                print(self._line(name, job, progress), file=sys.stderr, flush=True)
            if progress.total and progress.done == progress.total:
                self._end(name)

    def _start(self, name: str, progress: Progress) -> _Job:
        bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            style = BAR if progress.total else OPEN_BAR
            bar = tqdm(total=progress.total or None, initial=progress.done, desc=name, bar_format=style)
        self._jobs[name] = _Job(bar)
        return self._jobs[name]

    def _draw(self, job: _Job, progress: Progress) -> None:
        job.bar.n = progress.done
        job.bar.set_postfix_str(", ".join(self._said(job, progress)), refresh=False)
        job.bar.refresh()

    def _line(self, name: str, job: _Job, progress: Progress) -> str:
        of = f" of {progress.total}" if progress.total else ""
        return ", ".join([f"{name}: {self._unit} {progress.done}{of}", *self._said(job, progress)])

    def _said(self, job: _Job, progress: Progress) -> list[str]:
        """Return the loss, the rate and the time to come, as far as they are known."""
        said = [] if progress.loss is None else [f"loss {progress.loss:.4g}"]
        if progress.done == progress.total:
            return said
        rate, left = job.pace.rate, job.pace.left(progress.total)
        said += [speed(rate, self._unit)] if rate else []
        return [*said, f"about {duration(left)} left"] if left is not None and left >= 1 else said

    def _end(self, name: str) -> None:
        job = self._jobs.pop(name)
        if job.bar is not None:
            job.bar.close()

    def close(self) -> None:
        """Leave the bars as they stand."""
        for name in list(self._jobs):
            self._end(name)

    def __enter__(self) -> ProgressDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def speed(rate: float, unit: str) -> str:
    """Return how many are done in a second, a minute or an hour, whichever is a number that people read.

    Examples
    --------
    >>> speed(12.34, "plane"), speed(0.5, "plane"), speed(0.002, "plane")
    ('12 planes/s', '30 planes/min', '7.2 planes/h')
    """
    for name, seconds in (("s", 1), ("min", 60), ("h", 3600)):
        if rate * seconds >= 1 or name == "h":
            return f"{rate * seconds:.2g} {unit}s/{name}"
    raise AssertionError


def duration(seconds: float) -> str:
    """Return a time as people say it.

    Examples
    --------
    >>> duration(42), duration(100), duration(7300)
    ('42 s', '2 min', '2 h 2 min')
    """
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
