"""The commands: they parse, call one function, and translate errors to exit statuses."""

import os
import signal
import sys
import threading

from cdeep3m.cli.table import COMMANDS

if (
    os.path.basename((getattr(sys, "argv", None) or [""])[0]) in ("-m", *COMMANDS)
    and threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    # Ctrl-C while a program still loads its modules ends it without a traceback; `common.run` takes over.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
