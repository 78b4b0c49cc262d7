"""Caffe's log: lines as Google's glog writes them, which users' log parsers read."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

from cdeep3m.system.files import appending

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class GLog:
    """Writes log lines to a file, a stream, both or neither.

    Parameters
    ----------
    path : Path, optional
        File to append to; its folder must exist.
    stream : text stream, optional
        Where else lines go, usually standard error.
    """

    def __init__(self, path: Path | None = None, stream: TextIO | None = None) -> None:
        self._files = ExitStack()
        self._streams = [stream] if stream else []
        if path is not None:
            self._streams.append(self._files.enter_context(appending(path, buffering=1)))

    def __enter__(self) -> GLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()

    def info(self, source: str, message: str) -> None:
        """Write one line, with the time and the `source` ("solver.cpp:237") that Caffe's own has."""
        self._write("I", source, message)

    def warning(self, source: str, message: str) -> None:
        """Write one line as a warning."""
        self._write("W", source, message)

    def _write(self, severity: str, source: str, message: str) -> None:
        line = format_line(severity, source, message, datetime.now(), threading.get_native_id())
        for stream in self._streams:
            stream.write(line + "\n")
            stream.flush()


def format_line(severity: str, source: str, message: str, time: datetime, thread: int) -> str:
    """Return a log line.

    Examples
    --------
    >>> format_line("I", "solver.cpp:237", "Iteration 0, loss = 0.7", datetime(2020, 11, 22, 17, 47, 32, 295583), 5892)
    'I1122 17:47:32.295583  5892 solver.cpp:237] Iteration 0, loss = 0.7'
    """
    return f"{severity}{time:%m%d %H:%M:%S.%f} {thread:5d} {source}] {message}"


def number(value: float) -> str:
    """Return `value` as a C++ stream prints it by default.

    Examples
    --------
    >>> number(0.00864281234), number(1.0), number(1234567.0), number(0.0000123)
    ('0.00864281', '1', '1.23457e+06', '1.23e-05')
    """
    return f"{value:.6g}"


def output_line(kind: str, index: int, name: str, value: float, weight: float) -> str:
    """Return the text of one output of a net, `kind` being Train or Test.

    Examples
    --------
    >>> output_line("Train", 0, "loss_deconv_all", 0.67023, 1.0)
    '    Train net output #0: loss_deconv_all = 0.67023 (* 1 = 0.67023 loss)'
    >>> output_line("Test", 1, "class_Acc", 0.833951, 0.0)
    '    Test net output #1: class_Acc = 0.833951'
    """
    share = f" (* {number(weight)} = {number(weight * value)} loss)" if weight else ""
    return f"    {kind} net output #{index}: {name} = {number(value)}{share}"
