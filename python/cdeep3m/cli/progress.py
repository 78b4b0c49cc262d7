"""How far a job is: a bar with an ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from cdeep3m.engines.base import Progress

SECONDS_BETWEEN_LINES = 20.0


class ProgressDisplay:
    """Shows the progress of named jobs, one after another, on stderr; a total of 0 is one that is not known.

    Parameters
    ----------
    unit : str
        What is counted ("plane", "iteration").
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._name = ""
        self._bar: Any = None
        self._first = (0.0, 0)
        self._last_line = 0.0

    def __call__(self, name: str, progress: Progress) -> None:
        """Show that the job `name` is at `progress`."""
        if name != self._name:
            self._start(name, progress)
        if self._bar is not None:
            self._bar.n = progress.done
            if progress.loss is not None:
                self._bar.set_postfix_str(f"loss {progress.loss:.4g}", refresh=False)
            self._bar.refresh()
        elif progress.done == progress.total or time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            print(self._line(progress), file=sys.stderr, flush=True)

    def _start(self, name: str, progress: Progress) -> None:
        self.close()
        self._name = name
        self._first = (time.monotonic(), progress.done)
        self._last_line = 0.0
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=progress.total or None, initial=progress.done, desc=name, unit=self._unit)

    def _line(self, progress: Progress) -> str:
        if not progress.total:
            return f"{self._name}: {self._unit} {progress.done}"
        started, done_before = self._first
        loss = "" if progress.loss is None else f", loss {progress.loss:.4g}"
        new = progress.done - done_before
        left = (time.monotonic() - started) / new * (progress.total - progress.done) if new else 0.0
        eta = f", about {_duration(left)} left" if left >= 1 else ""
        return f"{self._name}: {self._unit} {progress.done} of {progress.total}{loss}{eta}"

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._name = ""

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
