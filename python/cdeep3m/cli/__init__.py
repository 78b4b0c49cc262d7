"""The commands: they parse, call one function, and translate errors to exit statuses."""

import os
import signal
import sys
from contextlib import suppress


def _is_program(name: str) -> bool:
    if name == "-m":
        return True
    from cdeep3m.cli.table import COMMANDS

    return name in COMMANDS


if signal.getsignal(signal.SIGINT) is signal.default_int_handler and _is_program(
    os.path.basename((getattr(sys, "argv", None) or [""])[0])
):
    # Ctrl-C while a program still loads its modules ends it without a traceback; `common.run` takes over.
    with suppress(ValueError):  # in another thread than the first
        signal.signal(signal.SIGINT, signal.SIG_DFL)
