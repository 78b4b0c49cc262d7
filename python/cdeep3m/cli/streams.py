"""Standard streams that a command can count on: open, able to take every name, and not in the way of the work."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from contextlib import suppress
from typing import Any

from cdeep3m.errors import printable

LONGEST_LINE = 2000
"""Characters of a line of a log."""


class Patient:
    """A stream whose text is lost where nobody reads it, or its disk is full; the work goes on.

    Parameters
    ----------
    stream : text stream
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write `text`, if that can be."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if that can be."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class OneLine(logging.Formatter):
    """Shows a message as one line, control characters visible; a traceback, where one is asked for, below it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line that is safe to print."""
        said = printable(record.getMessage(), longest=LONGEST_LINE)
        return f"{said}\n{self.formatException(record.exc_info)}" if record.exc_info else said


def give_up_output() -> None:
    """Send what nobody takes of standard output nowhere, so that it is no error at the end of the process."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def settle() -> None:
    """Open what is closed, so that no file of a run takes its number, and let every name be shown."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = open(number, "r" if number == 0 else "w", closefd=False)  # noqa: SIM115 - it stays open
            setattr(sys, name, opened)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if sys.stderr is sys.__stderr__ or sys.__stderr__ is None:
        sys.stderr = Patient(sys.stderr)
        atexit.register(give_up_output)
