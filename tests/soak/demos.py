"""The demos on volumes of two planes, their steps in processes that are forked: whole demos take minutes."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from cdeep3m.cli import demo, rundemo
from cdeep3m.cli.table import COMMANDS
from cdeep3m.errors import RunError
from cdeep3m.system import files
from cdeep3m.system.children import PR_SET_PDEATHSIG

if TYPE_CHECKING:
    from collections.abc import Sequence

SHAPES = ((2, 160, 200), (3, 200, 160))


def make_small() -> None:
    """Let the demos of this process be small, and pass whatever their maps are."""
    rundemo.USUAL = {
        number: rundemo.Settings(iterations=2, shapes=SHAPES[:number], held_out_shape=SHAPES[0]) for number in (1, 2)
    }
    demo.Settings = partial(demo.Settings, train_shape=SHAPES[0], held_out_shape=SHAPES[0])
    demo.PASS = 0.0
    rundemo.run_command = demo.run_command = _forked


def _forked(command: Sequence[str]) -> int:
    """Run a step in a process of its own that ends with this one; return its exit status."""
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        status = 70
        try:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            files._swept.clear()
            status = import_module(f"cdeep3m.cli.{COMMANDS[command[0]]}").main(list(command[1:])) or 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        raise RunError(f"signal {os.WTERMSIG(status)} ended {command[0]}")
    return os.WEXITSTATUS(status)
