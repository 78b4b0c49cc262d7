"""Engines for runs in several processes, which other processes import."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from cdeep3m.engines.identity import IdentityEngine

if TYPE_CHECKING:
    from pathlib import Path


class Deadly(IdentityEngine):
    """Kills its process the first time that it is asked for a net in another one than `first`, and leaves a mark."""

    def __init__(self, mark: Path, first: int) -> None:
        super().__init__()
        self.mark, self.first = mark, first

    def load(self, *args: Any, **kwargs: Any) -> Any:
        if os.getpid() != self.first and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().load(*args, **kwargs)


class FilesOnly:
    """Predicts nothing in memory."""

    name = "files"
