"""A site's own caffepredict.sh, which stands before this project's on PATH: for queues, other GPUs, other Caffes."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.engines.base import CPU
from cdeep3m.engines.local import LocalCaffe, is_own
from cdeep3m.engines.tools import ToolCall
from cdeep3m.system.files import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND = "caffepredict.sh"
LOG = "caffepredict.log"
PREDICTED, PREDICTED_WELL = "PREDICTDONE", "Success\n0\n"


@dataclass(frozen=True, kw_only=True)
class SiteCall(ToolCall):
    """A call of the site's command, whose options come first.

    Attributes
    ----------
    gpus : str
        What --gpu says.
    """

    gpus: str

    def command(self, gpu: int) -> list[str]:
        """Return the arguments."""
        del gpu
        return ["--gpu", self.gpus, *self.arguments]


def site_command() -> Path | None:
    """Return the first caffepredict.sh on PATH, None where it is this project's own."""
    found = shutil.which(COMMAND)
    return Path(found).absolute() if found and not is_own(Path(found)) else None


def predict_by_site(command: Path, models: Path, aug: Path, out: Path, *, gpus: Sequence[int]) -> None:
    """Predict the variants of one package with the site's command; `PREDICTDONE` is there afterwards.

    Parameters
    ----------
    command : Path
        The command.
    models : Path
        Folder of the trained model.
    aug : Path
        Folder of the variants.
    out : Path
        Gets their predictions, and what the command says (caffepredict.log).
    gpus : sequence of int
        GPU numbers, or CPU alone.

    Raises
    ------
    EngineError
        It cannot be run, or did not end with status 0.
    """
    out.mkdir(parents=True, exist_ok=True)
    call = SiteCall(
        tool=COMMAND,
        arguments=(str(models.absolute()), str(aug.absolute()), str(out.absolute())),
        folder=Path.cwd(),
        reads=(),
        writes=(),
        gpu=CPU,
        log=out / LOG,
        gpus="all" if len(gpus) > 1 else str(gpus[0]),
    )
    with closing(LocalCaffe({COMMAND: command}).follow(call)) as lines:
        for _ in lines:
            pass
    if not (out / PREDICTED).exists():
        write_text(out / PREDICTED, PREDICTED_WELL)
