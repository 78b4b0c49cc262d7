"""Programs that this process starts: they end with it, however it ends, and hold its locks as long as they live."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from cdeep3m.system.files import held_locks

if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that a process gets when the one that started it is gone."""


def options_of_child() -> dict[str, Any]:
    """Return what `subprocess.Popen` is to be called with."""
    options: dict[str, Any] = {"pass_fds": tuple(held_locks)}
    return {**options, "preexec_fn": _ends_with(os.getpid())} if sys.platform == "linux" else options


def _ends_with(parent: int) -> Callable[[], None]:
    """Return what a child calls before it becomes the program; nothing in it takes memory or locks."""
    prctl = ctypes.CDLL(None).prctl

    def prepare() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return prepare
