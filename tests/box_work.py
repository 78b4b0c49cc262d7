"""Work for runners, which other processes import."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class WriteBox:
    """Writes a file for each box, with its number; notes which process did it.

    Attributes
    ----------
    folder : Path
    seconds : float
        How long a box takes.
    kills : int
        Box that kills its process; once, or `always`.
    fails : int
        Box that fails.
    """

    folder: Path
    seconds: float = 0.0
    kills: int = -1
    always: bool = False
    fails: int = -1

    def __call__(self, box: int) -> None:
        time.sleep(self.seconds)
        if box == self.kills and (self.always or not self._was_here(box)):
            os.kill(os.getpid(), 9)
        if box == self.fails:
            raise InputError(f"box {box} does not fit")
        (self.folder / f"{box}.txt").write_text(str(box * box))
        with (self.folder / "processes").open("a") as file:
            file.write(f"{os.getpid()} {os.environ.get('OMP_NUM_THREADS')} {os.environ.get('CUDA_VISIBLE_DEVICES')}\n")

    def _was_here(self, box: int) -> bool:
        mark = self.folder / f"killed{box}"
        if mark.exists():
            return True
        mark.touch()
        return False


def boxes_in(folder: Path) -> dict[int, str]:
    """Return what was written, by box."""
    return {int(path.stem): path.read_text() for path in folder.glob("*.txt")}


def processes_in(folder: Path) -> list[list[str]]:
    """Return process and settings of every box that was done."""
    return [line.split() for line in (folder / "processes").read_text().splitlines()]


def nothing(box: int) -> None:
    """Do nothing."""
    del box


def compute(box: int) -> None:
    """Compute for some 100 ms, in a memory that stays in the processor's cache."""
    values = np.full(4096, 2.0 + box)
    for _ in range(40_000):
        np.sqrt(values, out=values)
