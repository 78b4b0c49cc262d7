"""How far a job is: a bar with an ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from cdeep3m.engines.base import Progress

SECONDS_BETWEEN_LINES = 20.0


class _Job:
    """One named job: where it was when it was first seen, and what shows it."""

    def __init__(self, progress: Progress, bar: Any) -> None:
        self.bar = bar
        self.first = (time.monotonic(), progress.done)
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
            if job.bar is not None:
                self._draw(job.bar, progress)
            elif progress.done == progress.total or time.monotonic() - job.last_line > SECONDS_BETWEEN_LINES:
                job.last_line = time.monotonic()
                print(self._line(name, job, progress), file=sys.stderr, flush=True)
            if progress.total and progress.done == progress.total:
                self._end(name)

    def _start(self, name: str, progress: Progress) -> _Job:
        bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            bar = tqdm(total=progress.total or None, initial=progress.done, desc=name, unit=self._unit)
        self._jobs[name] = _Job(progress, bar)
        return self._jobs[name]

    def _draw(self, bar: Any, progress: Progress) -> None:
        bar.n = progress.done
        if progress.loss is not None:
            bar.set_postfix_str(f"loss {progress.loss:.4g}", refresh=False)
        bar.refresh()

    def _line(self, name: str, job: _Job, progress: Progress) -> str:
        if not progress.total:
            return f"{name}: {self._unit} {progress.done}"
        started, done_before = job.first
        loss = "" if progress.loss is None else f", loss {progress.loss:.4g}"
        new = progress.done - done_before
        left = (time.monotonic() - started) / new * (progress.total - progress.done) if new else 0.0
        eta = f", about {_duration(left)} left" if left >= 1 else ""
        return f"{name}: {self._unit} {progress.done} of {progress.total}{loss}{eta}"

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


def _duration(seconds: float) -> str:
    """Return a time as people say it.

    Examples
    --------
    >>> _duration(42), _duration(100), _duration(7300)
    ('42 s', '2 min', '2 h 2 min')
    """
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
