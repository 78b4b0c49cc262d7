"""What happens in a run, as data: JSON lines beside its logs, which `status` and `report` read.

Each line is an object with `time` (seconds since 1970) and `event`; docs/user-guide.md lists the events. A line is
written in one piece, so that a run that is killed leaves whole lines and at most one cut one.
"""

from __future__ import annotations

import json
import logging
import math
import os
import resource
import socket
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cdeep3m import __version__
from cdeep3m.errors import StoppedError, describe, is_interrupt
from cdeep3m.system.files import no_link, small_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cdeep3m.engines.base import Progress

EVENTS = "events.jsonl"
"""Name of the file, in the folder of the logs."""

BETWEEN = (1.0, 30.0)
"""Fewest and most seconds between two lines of progress."""
SHARE = 0.005
"""Between these, progress is written after so much of the time since the run began."""

FINISHED: Final = "finished"
FAILED: Final = "failed"
INTERRUPTED: Final = "interrupted"
STOPPED: Final = "stopped"
"""How a run ends; one that was killed has no end."""


MOST_BYTES = 2**30
"""Of the events of a run."""


@dataclass(frozen=True)
class Event:
    """One line.

    Attributes
    ----------
    time : float
        Seconds since 1970.
    name : str
    values : dict
        What else the line says.
    """

    time: float
    name: str
    values: Mapping[str, Any] = field(default_factory=dict)


class Recorder:
    """Writes the events of one run, and keeps a run going where they cannot be written.

    Parameters
    ----------
    path : Path
        File to add to, in a folder that exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._began = time.monotonic()
        self._last: dict[str, float] = {}
        self._failed = False

    def write(self, event: str, **values: Any) -> None:
        """Add an event; numbers that JSON does not know (nan, infinite) become null."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **_finite(values)}, default=str)
        try:
            with open(self._path, "ab", buffering=0, opener=no_link) as file:
                file.write(_after_cut_line(self._path) + line.encode() + b"\n")
        except OSError as error:
            if not self._failed:
                self._failed = True
                logging.getLogger(__name__).warning(
                    "Warning: %s cannot be written (%s): the run goes on, status and report will know less of it",
                    self._path,
                    describe(error),
                )

    def progress(self, name: str, progress: Progress) -> None:
        """Note how far `name` is, not more often than somebody who looks on would notice."""
        now = time.monotonic()
        fewest, most = BETWEEN
        pause = min(most, max(fewest, SHARE * (now - self._began)))
        if now - self._last.get(name, -math.inf) >= pause or progress.done == progress.total:
            self._last[name] = now
            loss = {} if progress.loss is None else {"loss": progress.loss}
            self.write("progress", name=name, done=progress.done, total=progress.total, **loss)

    def reporting(self, report: Callable[[str, Progress], None] | None) -> Callable[[str, Progress], None]:
        """Return a callable that notes progress and passes it on."""

        def noted(name: str, progress: Progress) -> None:
            self.progress(name, progress)
            if report:
                report(name, progress)

        return noted


class _Warnings(logging.Handler):
    """Passes warnings of this package on to a recorder."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(logging.WARNING)
        self._recorder = recorder

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != __name__:
            self._recorder.write("warning", text=record.getMessage().removeprefix("Warning: "))


@contextmanager
def recorded(path: Path, *, kind: str, **facts: Any) -> Iterator[Recorder]:
    """Record a run: how it begins, every warning, and how it ends.

    Parameters
    ----------
    path : Path
        File of the events; its folder exists.
    kind : {"training", "prediction"}
    **facts
        What the first event says besides.

    Yields
    ------
    Recorder
    """
    recorder = Recorder(path)
    began = time.monotonic()
    recorder.write("began", kind=kind, version=__version__, host=socket.gethostname(), pid=os.getpid(), **facts)
    handler = _Warnings(recorder)
    logger = logging.getLogger("cdeep3m")
    logger.addHandler(handler)
    status, said = FINISHED, ""
    try:
        yield recorder
    except StoppedError as error:
        status, said = STOPPED, describe(error)
        raise
    except BaseException as error:
        status, said = (INTERRUPTED, "") if is_interrupt(error) else (FAILED, describe(error))
        raise
    finally:
        logger.removeHandler(handler)
        seconds = round(time.monotonic() - began, 3)
        recorder.write("ended", status=status, message=said, seconds=seconds, memory=peak_memory())


def read_events(path: Path) -> list[Event]:
    """Return the events of a file, oldest first; none where there is no file.

    Lines that are no events (cut by a kill, or of something else) are left out.
    """
    try:
        lines = small_text(path, errors="replace", most=MOST_BYTES).split("\n")
    except (OSError, ValueError):
        return []
    return [event for line in lines if (event := _event(line))]


def last_attempt(events: Sequence[Event]) -> list[Event]:
    """Return the events from the last beginning on.

    Examples
    --------
    >>> began, ended = Event(1, "began"), Event(2, "ended")
    >>> len(last_attempt([began, ended, began, began, ended]))
    2
    """
    begins = [at for at, event in enumerate(events) if event.name == "began"]
    return list(events[begins[-1] :]) if begins else list(events)


def seconds_spent(events: Sequence[Event]) -> float:
    """Return the seconds that all attempts took; of a killed one, those until its last event."""
    total, begin, last = 0.0, None, 0.0
    for event in events:
        if event.name == "began":
            total += last - begin if begin is not None else 0.0
            begin = event.time
        last = event.time
    return total + (last - begin if begin is not None else 0.0)


def peak_memory() -> int:
    """Return the most bytes of memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _event(line: str) -> Event | None:
    try:
        values = json.loads(line)
        return Event(float(values.pop("time")), str(values.pop("event")), values)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _after_cut_line(path: Path) -> bytes:
    """Return the newline that a cut last line lacks, or nothing."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        if not size:
            return b""
        file.seek(-1, os.SEEK_END)
        return b"" if file.read(1) == b"\n" else b"\n"


def _finite(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
