"""How many processors a command may use: --threads, CDEEP3M_THREADS, or CDeep3M2's cpu_resources.txt."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

VARIABLE = "CDEEP3M_THREADS"
FOLDER = "CDEEP3M_CONFIGS"
FILE = "cpu_resources.txt"
KEYS = (
    "enhance_stack",
    "enhance_stack_threadlimit",
    "crop_png",
    "Merge_LargeData",
    "EnsemblePredictions",
    "ensemble",
    "Create_overlays",
)
"""What cpu_resources.txt may hold: whole numbers, 0 to let the program decide."""


def add_threads_option(parser: argparse.ArgumentParser) -> None:
    """Add --threads."""
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help=f"processors to use (default: all; also: {VARIABLE}, or {FILE} in ./configs or in the folder {FOLDER})",
    )


def limit_threads(options: argparse.Namespace, *keys: str) -> None:
    """Let the process, and those that it starts, use no more processors than the user says.

    Parameters
    ----------
    options : Namespace
        As `add_threads_option` parsed it.
    keys : str
        Keys of cpu_resources.txt that are about this command; the smallest one above 0 counts.

    Raises
    ------
    InputError
        A number makes no sense.
    """
    from cdeep3m.errors import InputError

    if options.threads is not None and options.threads < 1:
        raise InputError(f"--threads {options.threads}: expected a number of at least 1")
    limits = [limit for key, limit in configured().items() if key in keys and limit > 0]
    threads = options.threads or (None if VARIABLE in os.environ else min(limits, default=None))
    if threads:
        os.environ[VARIABLE] = str(threads)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))


def configured() -> dict[str, int]:
    """Return what cpu_resources.txt says; nothing where there is none.

    Raises
    ------
    InputError
        It is no JSON of whole numbers.
    """
    import json

    from cdeep3m.errors import InputError
    from cdeep3m.system.files import small_text

    path = Path(os.environ.get(FOLDER, "configs")) / FILE
    if not path.is_file():
        return {}
    try:
        content = json.loads(small_text(path))
        return {key: int(value) for key, value in content.items() if key in KEYS}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: {error}; expected JSON of whole numbers for {', '.join(KEYS)}") from None
