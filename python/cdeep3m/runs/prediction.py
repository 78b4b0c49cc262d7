"""The folder of one prediction run (PREDICTOUT): its settings, logs, markers and planes."""

from __future__ import annotations

import configparser
import io
import logging
import re
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdeep3m import __version__
from cdeep3m.errors import CDeep3MError, FailedElsewhereError, RunError, StoppedError, describe, failing_with
from cdeep3m.system.files import locked, write_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cdeep3m.engines.base import TrainedModel

logger = logging.getLogger(__name__)

ERROR, KILL = "ERROR", "KILL.REQUEST"
"""Markers of a failure, and of a request to stop."""

HEADING = re.compile(r"^\[.*\]", re.MULTILINE)
"""A line that begins a section of predict.config."""

CONFIG_KEYS = ("trainedmodeldir", "imagedir", "models", "augspeed")
"""What predict.config has held since the original; further keys are this project's own."""


@dataclass(frozen=True)
class PredictionRun:
    """A prediction run's folder.

    Attributes
    ----------
    folder : Path
        PREDICTOUT.
    """

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> PredictionRun:
        """Make `folder` and its logs folder where they are absent; exit status 3 when that fails."""
        with failing_with(3):
            (folder / "logs").mkdir(parents=True, exist_ok=True)
        return cls(folder)

    def net_folder(self, net: str) -> Path:
        """Return the folder of `net`'s probability maps."""
        return self.folder / net

    @property
    def ensemble_folder(self) -> Path:
        """Folder of the nets' average."""
        return self.folder / "ensembled"

    @contextmanager
    def locked(self, stage: str = "") -> Iterator[None]:
        """Keep others from running in this folder; the lock goes with its process, however that ends.

        Parameters
        ----------
        stage : str
            A stage that runs here beside the others, each once; default: all of them in one process.

        Raises
        ------
        RunError
            Another process runs here.
        """
        with (
            locked(self.folder / ".lock", shared=bool(stage)) as whole,
            locked(self.folder / f".lock.{stage}") if stage else nullcontext(True) as own,
        ):
            if not (whole and own):
                raise RunError(
                    f"another {stage or 'prediction'} is running in {self.folder}: wait for it, stop it with "
                    f"`touch {self.folder / 'KILL.REQUEST'}`, or choose another folder"
                )
            yield

    def is_done(self) -> bool:
        """Return whether the whole run has finished."""
        return (self.folder / "DONE").exists()

    def net_is_done(self, net: str) -> bool:
        """Return whether all of `net`'s planes are there."""
        return (self.net_folder(net) / "DONE").exists()

    def mark_net_done(self, net: str) -> None:
        """Say that all of `net`'s planes are there."""
        write_text(self.net_folder(net) / "DONE", "0\n")

    def finish(self) -> None:
        """Say that the whole run has finished."""
        write_text(self.folder / "DONE", "success\n0\n")

    def demand_startable(self) -> None:
        """Refuse to go on from an error that nobody has looked at, or against a request to stop.

        Raises
        ------
        FailedElsewhereError
            ERROR is there (exit status 99).
        StoppedError
            KILL.REQUEST is there.
        """
        error = self.folder / ERROR
        if error.exists():
            said = error.read_text(errors="replace").split("\n", 1)[0].removeprefix("ERROR, ")
            raise FailedElsewhereError(
                f"{error} from an earlier run or another stage says: {said} Mend that, delete ERROR and KILL.REQUEST, "
                "and the same command goes on where it stopped."
            )
        self.demand_no_kill()

    def demand_no_kill(self) -> None:
        """Raise StoppedError when KILL.REQUEST is there."""
        request = self.folder / KILL
        if request.exists():
            raise StoppedError(f"{request} found: stopped. Delete it and the same command goes on where it stopped.")

    @contextmanager
    def recording_errors(self) -> Iterator[None]:
        """Tell other stages of what goes wrong in the block; see `recording_errors`."""
        with recording_errors(self.folder):
            yield

    def begin(self, settings: Mapping[str, str], models: Mapping[str, TrainedModel], *, engine: str = "") -> None:
        """Write down what this run does, or make sure that it is what an interrupted run here did.

        Parameters
        ----------
        settings : mapping
            Keys and values of predict.config.
        models : mapping of net to TrainedModel
            What predicts.
        engine : str
            What runs the models, for readme.txt: engine, image, device.

        Raises
        ------
        RunError
            Planes in this folder were made with other settings or models.
        """
        current = {**settings, **{f"model.{net}": _fingerprint(model) for net, model in models.items()}}
        config = self.folder / "predict.config"
        if config.exists() and any(self.folder.glob("*/Segmented_*.png")):
            self._demand_same(read_config(config), current)
        write_text(config, _config_text(current))
        write_text(self.folder / "readme.txt", _readme({**current, **({"engine": engine} if engine else {})}))
        for net in models:
            self.net_folder(net).mkdir(exist_ok=True)

    def _demand_same(self, earlier: Mapping[str, str], current: Mapping[str, str]) -> None:
        changed = [key for key in current if key in earlier and earlier[key] != current[key]]
        if changed:
            key = changed[0]
            raise RunError(
                f"{self.folder} holds planes made with {key} = {earlier[key]}; this run says {current[key]}: "
                "choose another folder, or delete this one"
            )

    def link_ensemble(self, net_folder: Path) -> None:
        """Make `ensembled` a symbolic link to the only net's folder, as the original does."""
        self.ensemble_folder.unlink(missing_ok=True)
        self.ensemble_folder.symlink_to(net_folder.name, target_is_directory=True)

    def fresh_ensemble_folder(self) -> Path:
        """Return the folder of the nets' average; the link that one net's run left goes first."""
        if self.ensemble_folder.is_symlink():
            self.ensemble_folder.unlink()
        return self.ensemble_folder

    def log(self, stage: str, line: str) -> None:
        """Add `line`, with the time, to logs/<stage>.log (stages: preprocess, prediction, postprocess)."""
        with open(self.folder / "logs" / f"{stage}.log", "a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")


@contextmanager
def recording_errors(folder: Path) -> Iterator[None]:
    """Tell those who watch `folder` of what goes wrong in the block, so that they do not wait for ever.

    ERROR gets the message and the exit status, a line each, KILL.REQUEST the message, where the folder is there. A stop
    that was asked for is no error.
    """
    try:
        yield
    except StoppedError:
        raise
    except (CDeep3MError, OSError) as error:
        if folder.is_dir():
            _tell(folder, error)
        raise


def _tell(folder: Path, error: BaseException) -> None:
    message = f"ERROR, {describe(error)}\n"
    try:
        write_text(folder / ERROR, f"{message}{getattr(error, 'exit_code', 1)}\n")
        write_text(folder / KILL, message)
    except OSError as second:
        logger.warning("%s cannot be written: %s", folder / ERROR, describe(second))


def forget_errors(folder: Path) -> None:
    """Remove what an earlier failure told in `folder`; a request to stop of somebody else's stays."""
    if (folder / ERROR).exists():
        for name in (KILL, ERROR):
            (folder / name).unlink(missing_ok=True)


def read_config(path: Path) -> dict[str, str]:
    """Return the `[default]` section of a predict.config, whose line of that name may be missing.

    Raises
    ------
    RunError
        The file cannot be read as one (exit status 2).
    """
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        text = path.read_text()
        parser.read_string(text if HEADING.search(text) else f"[default]\n{text}")
        return dict(parser["default"])
    except (OSError, UnicodeDecodeError, configparser.Error, KeyError) as error:
        failure = RunError(f"{path} is no predict.config with a [default] section: {describe(error)}")
        failure.exit_code = 2
        raise failure from None


def _config_text(settings: Mapping[str, str]) -> str:
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    parser["default"] = dict(settings)
    text = io.StringIO()
    parser.write(text, space_around_delimiters=False)
    return text.getvalue()


def _fingerprint(model: TrainedModel) -> str:
    """Return the weights' file name, size and time of change: enough to notice that a training went on."""
    stat = model.weights.stat()
    return f"{model.weights.name} {stat.st_size} {stat.st_mtime_ns}"


def _readme(settings: Mapping[str, str]) -> str:
    lines = [f"Predicted with cdeep3m {__version__} on {time.strftime('%Y-%m-%d %H:%M:%S')}", ""]
    return "\n".join([*lines, *(f"{key}: {value}" for key, value in settings.items()), ""])
