"""Ctrl-C and SIGTERM, held back while something must be done whole."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
