"""Ctrl-C and SIGTERM, held back while something must be done whole."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SOON = 0.01
"""Seconds until an interrupt that was ignored comes again."""


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back what asks this process to stop until the block is done; then it gets its way.

    In other threads than the main one, which signals never interrupt, this does nothing.
    """
    caught: list[tuple[Any, ...]] = []
    previous = _hold_back(caught) if threading.current_thread() is threading.main_thread() else {}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if caught:
        signal.raise_signal(caught[0][0])


def _hold_back(caught: list[tuple[Any, ...]]) -> dict[signal.Signals, Any]:
    """Note the signals that come in `caught` instead of handling them; return who handled them before."""
    previous = {number: signal.getsignal(number) for number in SIGNALS}
    handled = {number: handler for number, handler in previous.items() if handler is not None}
    for number in handled:
        signal.signal(number, lambda *arguments: caught.append(arguments))
    return handled


@contextmanager
def interrupting_again() -> Iterator[None]:
    """Interrupt once more where Python ignores an interrupt: one that comes in a finaliser, or as an object goes."""
    previous = sys.unraisablehook

    def again(ignored: sys.UnraisableHookArgs) -> None:
        if issubclass(ignored.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, SOON)
        else:
            previous(ignored)

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGALRM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    sys.unraisablehook = again
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        sys.unraisablehook = previous
