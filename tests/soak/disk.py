"""A disk that stops a process, is full or is broken at one of its operations, in whatever library that happens.

The library of `disk.c` stands before the C library's functions, so a write of HDF5 or tensorstore counts as one of
Python does. It needs a C compiler; without one, trials see Python's own file operations alone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("disk.c")
OURS = "SOAK_DISK"
"""Variable that holds the folder of the library, from building it until it is loaded."""
READING = "EREAD"
"""Reading fails as on a broken disk; other names are errors of writing, or signals."""


def environment() -> dict[str, str]:
    """Build the library; return the variables that have a program load it, none without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return {}
    folder = tempfile.mkdtemp(prefix="soak-disk-")
    library = Path(folder) / "disk.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), OURS: folder}


def begin_with(module: str) -> None:
    """Start this program, `python -m MODULE`, again with the library loaded, where that can be."""
    if not settle() and (more := environment()):
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], {**os.environ, **more})


def settle() -> bool:
    """Keep what this process starts from loading the library, and remove its file; return whether it is loaded."""
    folder = os.environ.pop(OURS, None)
    if folder is not None:
        os.environ.pop("LD_PRELOAD", None)
        shutil.rmtree(folder)
    return is_loaded()


def is_loaded() -> bool:
    """Return whether this process was started with the library."""
    return hasattr(ctypes.CDLL(None), "soak_arm")


def arm(folder: str, at: int, what: str) -> None:
    """Let the n-th operation below a folder stop this process, or it and all that follow fail.

    Parameters
    ----------
    folder : str
        Without links in it.
    at : int
        Operations count from 1.
    what : str
        Name of a signal or of an error, `READING`, or anything else, which only counts.
    """
    reads = what == READING
    error = errno.EIO if reads else getattr(errno, what, 0)
    ctypes.CDLL(None).soak_arm(os.fsencode(folder), ctypes.c_long(at), getattr(signal, what, 0), error, int(reads))


def operations() -> int:
    """Return how many operations there were."""
    seen = ctypes.CDLL(None).soak_seen
    seen.restype = ctypes.c_long
    return int(seen())
