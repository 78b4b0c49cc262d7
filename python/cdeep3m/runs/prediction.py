"""The folder of one prediction run (PREDICTOUT): its settings, logs, markers and planes."""

from __future__ import annotations

import configparser
import hashlib
import io
import json
import logging
import re
import shutil
import time
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdeep3m import __version__
from cdeep3m.errors import (
    DownloadError,
    FailedElsewhereError,
    FullDiskError,
    InputError,
    RunError,
    StoppedError,
    describe,
    failing_with,
    is_full,
    is_interrupt,
)
from cdeep3m.runs.names import DONE, ERROR, KILL, MAP_PLANES
from cdeep3m.runs.trained import digest_of
from cdeep3m.system.files import (
    appending,
    demand_plain_name,
    is_plain_name,
    locked,
    own_folder,
    small_text,
    sweep_tree,
    text_with_names,
    write_text,
)
from cdeep3m.system.threads import spread
from cdeep3m.tiling.info_file import COUNTS, INFO
from cdeep3m.volumes.formats import MAP

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from cdeep3m.engines.base import TrainedModel

logger = logging.getLogger(__name__)

HEADING = re.compile(r"^\[.*\]", re.MULTILINE)
"""A line that begins a section of predict.config."""

AUGMENTED = "augimages"
IMAGES = "images"
"""Key of predict.config for what tells the images from others."""
QUOTED = "json:"
"""Begins a value of predict.config that a line cannot hold as it is."""

CONFIG_KEYS = ("trainedmodeldir", "imagedir", "models", "augspeed")
"""What predict.config has held since the original; further keys are this project's own."""

UNSAID = {"format": "png", "dtype": "uint8", "fill": "zeros", "calibration": "none"}
"""Settings that predict.config leaves out where they are the original's."""


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
            if any(True for _ in folder.glob("*/trainedmodel")):
                raise RunError(f"{folder} holds a training; expected another place for maps. Choose another folder")
            folder.mkdir(parents=True, exist_ok=True)
            own_folder(folder / "logs")
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
                    f"`touch {self.folder / KILL}`, or choose another folder"
                )
            yield

    @contextmanager
    def finishing(self) -> Iterator[bool]:
        """Yield whether this process is the one to finish the run: of several that find all planes there, one is."""
        with locked(self.folder / ".lock.finish") as ours:
            yield ours

    def is_done(self) -> bool:
        """Return whether the whole run has finished."""
        return (self.folder / DONE).exists()

    def net_is_done(self, net: str) -> bool:
        """Return whether all of `net`'s planes are there."""
        return (self.net_folder(net) / DONE).exists()

    def mark_net_done(self, net: str) -> None:
        """Say that all of `net`'s planes are there."""
        write_text(self.net_folder(net) / DONE, "0\n")

    def finish(self) -> None:
        """Say that the whole run has finished."""
        write_text(self.folder / DONE, "success\n0\n")

    def reopen(self) -> bool:
        """Let a finished run go on where some of its maps are gone or cut off; return whether that is so."""
        lost = self._lost()
        if lost:
            logger.warning(
                "Warning: %s is finished, but %s lacks %d of its maps, such as %s: they are made again",
                self.folder,
                self.ensemble_folder.name,
                len(lost),
                lost[0],
            )
            (self.folder / DONE).unlink()
        return bool(lost)

    def _lost(self) -> list[str]:
        """Return the maps that are to be here, and are not, or do not end as they should."""
        config = read_config(self.folder / "predict.config") if (self.folder / "predict.config").exists() else {}
        depth = config.get("imagesize", "").split(" ")[0]
        if not depth.isdecimal() or config.get("maps", "here") != "here":
            return []
        if config.get("format", "png") != "png":
            return [] if any(self.ensemble_folder.glob(f"{MAP}*")) else [MAP]
        from cdeep3m.volumes.png import is_ended

        names = [f"{MAP}_{z:04d}.png" for z in range(1, int(depth) + 1)]
        return [name for name in names if not is_ended(self.ensemble_folder / name)]

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
            said = small_text(error, errors="replace").split("\n", 1)[0].removeprefix("ERROR, ")
            raise FailedElsewhereError(
                f"{error} from an earlier run or another stage says: {said.rstrip('.')}. Mend that, delete ERROR "
                "and KILL.REQUEST, and the same command goes on where it stopped"
            )
        self.demand_no_kill()

    def demand_no_kill(self) -> None:
        """Raise StoppedError when KILL.REQUEST is there."""
        request = self.folder / KILL
        if request.exists():
            raise StoppedError(f"{request} found: stopped. Delete it and the same command goes on where it stopped")

    @contextmanager
    def recording_errors(self) -> Iterator[None]:
        """Tell other stages of what goes wrong in the block; see `recording_errors`."""
        with recording_errors(self.folder):
            yield

    def demand_same(self, settings: Mapping[str, str], models: Mapping[str, TrainedModel]) -> None:
        """Make sure that what lies here was made of the same images, with the same models and options.

        Parameters
        ----------
        settings, models
            As of `begin`; settings that an earlier run did not write down are not compared.

        Raises
        ------
        RunError
            Says what differs.
        """
        config = self.folder / "predict.config"
        if config.exists() and self._holds_results():
            self._demand_same(read_config(config), _current(settings, models))

    def known(self, key: str) -> str | None:
        """Return what predict.config says where results lie that were made by it."""
        config = self.folder / "predict.config"
        return read_config(config).get(key) if config.exists() and self._holds_results() else None

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
        self.demand_same(settings, models)
        current = _current(settings, models)
        write_text(self.folder / "predict.config", _config_text(current))
        write_text(self.folder / "readme.txt", _readme({**current, **({"engine": engine} if engine else {})}))
        for net in models:
            own_folder(self.net_folder(net))

    def _holds_results(self) -> bool:
        found = (self.folder.glob(pattern) for pattern in (f"*/{MAP}*", "*/Pkg*", "augimages/*/Pkg*", DONE))
        return any(True for paths in found for _ in paths)

    def discard(self, nets: Iterable[str]) -> None:
        """Remove what an earlier run left here: its maps, packages, markers and settings; nothing else.

        Parameters
        ----------
        nets : iterable of str
            Those of the new run; those that the earlier one names are added.
        """
        earlier: list[str] = []
        with suppress(RunError):
            earlier = read_config(self.folder / "predict.config").get("models", "").split(",")
        for name in (DONE, ERROR, KILL, "predict.config", "readme.txt", INFO, COUNTS):
            (self.folder / name).unlink(missing_ok=True)
        if self.ensemble_folder.is_symlink():
            self.ensemble_folder.unlink()
        names = [net.strip() for net in (*nets, *earlier) if is_plain_name(net.strip())]
        for folder in (self.ensemble_folder, *(self.net_folder(net) for net in names)):
            if folder.is_dir() and not folder.is_symlink():
                _remove_results(folder)
        _remove_tree(self.folder / AUGMENTED)

    def tidy(self) -> None:
        """Remove what a killed run was writing."""
        sweep_tree(self.folder)

    def _demand_same(self, earlier: Mapping[str, str], current: Mapping[str, str]) -> None:
        earlier, current = ({**UNSAID, **settings} for settings in (earlier, current))
        changed = [key for key in current if key in earlier and earlier[key] != current[key]]
        if changed:
            key = changed[0]
            made = (
                f"of other images: names, sizes or dates in {earlier.get('imagedir')} have changed since"
                if key == IMAGES
                else f"with {key} = {earlier[key]}; this run says {current[key]}"
            )
            raise RunError(
                f"{self.folder} holds planes made {made}: choose another folder, or predict anew with --overwrite"
            )

    def link_ensemble(self, net_folder: Path) -> None:
        """Make `ensembled` a symbolic link to the only net's folder, as the original does."""
        with suppress(IsADirectoryError, PermissionError):
            self.ensemble_folder.unlink(missing_ok=True)
        if self.ensemble_folder.is_dir():
            _remove_results(self.ensemble_folder)
            self.ensemble_folder.rmdir()
        self.ensemble_folder.symlink_to(net_folder.name, target_is_directory=True)

    def fresh_ensemble_folder(self) -> Path:
        """Return the folder of the nets' average; the link that one net's run left goes first."""
        if self.ensemble_folder.is_symlink():
            self.ensemble_folder.unlink()
        return self.ensemble_folder

    def log(self, stage: str, line: str) -> None:
        """Add `line`, with the time, to logs/<stage>.log (stages: preprocess, prediction, postprocess)."""
        with appending(self.folder / "logs" / f"{stage}.log") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")


@contextmanager
def recording_errors(folder: Path) -> Iterator[None]:
    """Tell those who watch `folder` of what goes wrong in the block, so that they do not wait for ever.

    ERROR gets the message and the exit status, a line each, KILL.REQUEST the message, where the folder is there. A stop
    that was asked for is no error; a full disk and a store that is away need nothing but the same command again.
    """
    try:
        yield
    except (StoppedError, FullDiskError, DownloadError):
        raise
    except Exception as error:
        if folder.is_dir() and not is_full(error) and not is_interrupt(error):
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
        text = text_with_names(path).removeprefix("\ufeff")
        parser.read_string(text if HEADING.search(text) else f"[default]\n{text}")
        return {key: _plain(value) for key, value in parser["default"].items()}
    except (OSError, ValueError, configparser.Error, KeyError) as error:
        failure = RunError(f"{path} is no predict.config with a [default] section: {describe(error)}")
        failure.exit_code = 2
        raise failure from None


def _config_text(settings: Mapping[str, str]) -> str:
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    parser["default"] = {key: _fit_for_a_line(value) for key, value in settings.items()}
    text = io.StringIO()
    parser.write(text, space_around_delimiters=False)
    return text.getvalue()


def demand_net_name(net: str) -> str:
    """Return a net's name, once it is known that its folder lies in the run, beside the run's own ones.

    Raises
    ------
    InputError
        It is no plain name, or that of a folder of the run.
    """
    if net in (AUGMENTED, "ensembled", "logs"):
        raise InputError(f"the net {net}: expected another name, as each run has a folder {net} of its own")
    return demand_plain_name(net, what="the net")


def _fit_for_a_line(value: str) -> str:
    """Return a value as predict.config holds it: names may have line feeds, or spaces at their ends."""
    plain = (
        value == value.strip()
        and not value.startswith(QUOTED)
        and not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", value)
    )
    return value if plain else QUOTED + json.dumps(value)


def _plain(value: str) -> str:
    """Return what `_fit_for_a_line` was given."""
    return str(json.loads(value.removeprefix(QUOTED))) if value.startswith(QUOTED) else value


def _current(settings: Mapping[str, str], models: Mapping[str, TrainedModel]) -> dict[str, str]:
    """Return all that predict.config says of a run."""
    fingerprints = spread(_fingerprint, list(models.values()))
    return {
        **settings,
        "cdeep3m": __version__,
        **{f"model.{net}": found for net, found in zip(models, fingerprints, strict=True)},
    }


def _fingerprint(model: TrainedModel) -> str:
    """Return the weights' file name, and a hash of the net and its weights."""
    parts = [digest_of(path) for path in (model.deploy, model.weights) if path.is_file()]
    return f"{model.weights.name} sha256:{hashlib.sha256(''.join(parts).encode()).hexdigest()[:32]}"


def _remove_results(folder: Path) -> None:
    """Remove maps, packages and the marker of a net, or of an ensemble."""
    (folder / DONE).unlink(missing_ok=True)
    for path in folder.glob(MAP_PLANES):
        path.unlink()
    for pattern in ("Pkg*", f"{MAP}.*", f".{MAP}.partial.*"):
        for path in folder.glob(pattern):
            _remove_whole(path)


def _remove_whole(path: Path) -> None:
    if path.is_dir():
        _remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_tree(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _readme(settings: Mapping[str, str]) -> str:
    lines = [f"Predicted with cdeep3m {__version__} on {time.strftime('%Y-%m-%d %H:%M:%S')}", ""]
    return "\n".join([*lines, *(f"{key}: {value}" for key, value in settings.items()), ""])
