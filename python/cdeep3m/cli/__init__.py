"""The commands: they parse, call one function, and translate errors to exit statuses."""

import os
import sys

# What `signal` consists of, without the enumerations that take it a while to load.
from _signal import SIG_DFL, SIGINT, default_int_handler, getsignal, signal  # type: ignore[import-not-found]


def _is_program(name: str) -> bool:
    if name == "-m":
        return True
    from cdeep3m.cli.table import COMMANDS

    return name in COMMANDS


if _is_program(os.path.basename((getattr(sys, "argv", None) or [""])[0])):
    # NumPy's threads for products of matrices sleep at once: else each keeps a processor busy for 25 ms at every start.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    if getsignal(SIGINT) is default_int_handler:
        # Ctrl-C while a program still loads its modules ends it without a traceback; `common.run` takes over.
        try:  # noqa: SIM105 - contextlib takes a while to load, too
            signal(SIGINT, SIG_DFL)
        except ValueError:  # in another thread than the first
            pass
