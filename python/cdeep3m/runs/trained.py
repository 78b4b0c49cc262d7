"""Run directories: what lies where in a trained run, and which snapshot counts."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from cdeep3m.engines.base import TrainedModel
from cdeep3m.errors import MissingFileError, MissingModelError
from cdeep3m.nets.shapes import classes_of
from cdeep3m.proto.prototxt import read_net
from cdeep3m.runs.validation import kept_weights
from cdeep3m.system.files import demand_file
from cdeep3m.volumes.names import listing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MODEL_SUFFIX = ".caffemodel"
STATE_SUFFIX = ".solverstate"

FEWEST_CLASSES = 2
STANDARD_NETS = ("1fm", "3fm", "5fm")

logger = logging.getLogger(__name__)

_ITERATION = re.compile(r"_iter_(\d+)$")


def iteration_of(path: Path) -> int | None:
    """Return the iteration in a snapshot's name, or None when there is none.

    Examples
    --------
    >>> from pathlib import Path
    >>> iteration_of(Path("1fm_classifer_iter_2000.caffemodel"))
    2000
    """
    match = _ITERATION.search(path.stem)
    return int(match[1]) if match else None


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file of a model, 64 hexadecimal digits; one that has not changed is read once."""
    found = os.stat(path)
    return _digest(os.path.abspath(path), found.st_ino, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(path: str, *state: int) -> str:
    del state
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def is_visible(path: Path) -> bool:
    """Return whether `path` is no hidden file, such as one that is being written."""
    return not path.name.startswith(".")


def snapshots(folder: Path, suffix: str) -> list[Path]:
    """Return the snapshots in `folder` whose name ends in `suffix`, by rising iteration (numbers, not text)."""
    found = [(iteration_of(path), path) for path in folder.glob(f"*{suffix}") if is_visible(path)]
    return [path for iteration, path in sorted((i, path) for i, path in found if i is not None)]


def weights_in(folder: Path) -> list[Path]:
    """Return the trained weights in `folder` by rising iteration; a single file without an iteration counts, too.

    Others than this project name files as they like: one .caffemodel alone can only be the trained one.
    """
    numbered = snapshots(folder, MODEL_SUFFIX)
    others = [path for path in folder.glob(f"*{MODEL_SUFFIX}") if is_visible(path)]
    return numbered or (others if len(others) == 1 else [])


def predicting_weights(folder: Path) -> Path | None:
    """Return the weights in `folder` that predict, None where there are none.

    They are those with the highest iteration, or, where the training keeps the best ones, those that scored best.
    """
    found = weights_in(folder)
    return (_kept(folder, found) or found[-1]) if found else None


def chosen_weights(folder: Path) -> Path | None:
    """Return the weights in `folder` that predict, None where there are none; say which are left out, and why."""
    found, chosen = weights_in(folder), predicting_weights(folder)
    if chosen is None:
        return None
    left_out = [
        path.name for path in sorted(folder.glob(f"*{MODEL_SUFFIX}*")) if is_visible(path) and path not in found
    ]
    if left_out:
        logger.warning(
            "Warning: %s: %s left out, as no name ends with _iter_<number>%s; %s is used",
            folder,
            listing(left_out) + (" is" if len(left_out) == 1 else " are"),
            MODEL_SUFFIX,
            chosen.name,
        )
    prefixes = {_ITERATION.sub("", path.stem): path.name for path in found}
    others = [name for prefix, name in prefixes.items() if prefix != _ITERATION.sub("", chosen.stem)]
    if others:
        logger.warning(
            "Warning: %s holds weights of several trainings; %s has the highest iteration and is used, not %s",
            folder,
            chosen.name,
            listing(others),
        )
    return chosen


def _kept(folder: Path, found: Sequence[Path]) -> Path | None:
    """Return the weights that scored best on held-out planes, where the training keeps these."""
    name = kept_weights(folder.parent)
    if name is None:
        return None
    kept = next((path for path in found if path.name == name), None)
    if kept is None:
        logger.warning(
            "Warning: %s lacks %s, which scored best; %s has the highest iteration and is used",
            folder,
            name,
            found[-1].name,
        )
    return kept


class TrainedRun:
    """A folder that `runtraining.sh` made: one folder a net, each with deploy.prototxt and trainedmodel/.

    Attributes
    ----------
    folder : Path
        The training's output folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def nets(self) -> list[str]:
        """Return the nets that have a trained model here, sorted by name."""
        return sorted(path.parent.name for path in self.folder.glob("*/trainedmodel") if weights_in(path))

    def default_nets(self) -> list[str]:
        """Return the nets that predict where none are named: those of 1fm, 3fm and 5fm, or else the only other one.

        Raises
        ------
        MissingModelError
            The folder is not there, or holds no trained net, or several that are none of these.
        """
        self._demand_folder()
        found = self.nets()
        standard = [net for net in found if net in STANDARD_NETS]
        others = [net for net in found if net not in STANDARD_NETS]
        if others and (standard or len(others) > 1):
            words = f"{self.folder} holds {listing(others)} beside the nets {', '.join(STANDARD_NETS)}"
            if not standard:
                raise MissingModelError(f"{words}; expected one of these. Name the nets to use with --models")
            logger.warning("Warning: %s: left out; name the nets to use with --models to change that", words)
        if not found:
            self._demand_around()
            raise MissingModelError(
                f"no trained net in {self.folder}; expected <net>/deploy.prototxt and "
                f"<net>/trainedmodel/*{MODEL_SUFFIX}"
            )
        return standard or others

    def classes(self, nets: Sequence[str]) -> dict[str, int]:
        """Return how many classes each of some nets tells apart, background among them.

        Raises
        ------
        MissingModelError, MissingFileError, FormatError
            A net has no model or no deploy.prototxt, or that cannot be read.
        """
        return {net: classes_of(read_net(self.model(net).deploy)) or FEWEST_CLASSES for net in nets}

    def _demand_folder(self) -> None:
        if not self.folder.is_dir():
            what = "is a file" if self.folder.exists() else "is not there: no such folder"
            raise MissingModelError(f"{self.folder} {what}; expected the folder of a training or of a released model")

    def _demand_around(self) -> None:
        """Raise MissingModelError where the folder is that of one net, or of its snapshots."""
        if (self.folder / "trainedmodel").is_dir() or weights_in(self.folder):
            raise MissingModelError(
                f"{self.folder} lies inside a training; expected the folder that holds 1fm, 3fm or 5fm. Name that one"
            )

    def models(self, net: str) -> Path:
        """Return the folder that holds the snapshots of `net`."""
        return self.folder / net / "trainedmodel"

    def model(self, net: str) -> TrainedModel:
        """Return the trained model of `net`: see `chosen_weights`.

        Raises
        ------
        MissingModelError
            There is no such model; the message names those that were found.
        MissingFileError
            The model has no deploy.prototxt beside its folder.
        """
        self._demand_folder()
        chosen = chosen_weights(self.models(net))
        if chosen is None:
            self._demand_around()
            raise MissingModelError(
                f"no trained {net} in {self.folder}; found {', '.join(self.nets()) or 'none'}. "
                "Train it, or choose others with --models"
            )
        return with_deploy(chosen, net)

    def snapshot(self, net: str) -> Path | None:
        """Return the solver state of `net` with the highest iteration, or None before the first snapshot."""
        found = snapshots(self.models(net), STATE_SUFFIX)
        return found[-1] if found else None

    def highest_iteration(self, net: str) -> int:
        """Return the iteration of `snapshot(net)`, 0 when there is none."""
        found = self.snapshot(net)
        return (iteration_of(found) or 0) if found else 0


def nets_named(text: str) -> tuple[str, ...]:
    """Return the nets that a user lists.

    Examples
    --------
    >>> nets_named("1fm, 3fm")
    ('1fm', '3fm')
    """
    return tuple(net.strip() for net in text.split(","))


def model_at(path: Path) -> TrainedModel:
    """Return the model at `path`: a .caffemodel, or a folder of them of which the highest iteration counts.

    Its deploy.prototxt is in the parent of the folder that holds the .caffemodel, whose name is the net's.

    Raises
    ------
    MissingModelError
        There is no .caffemodel.
    MissingFileError
        There is no deploy.prototxt.
    """
    chosen = path if path.is_file() else chosen_weights(path)
    if chosen is None or chosen.suffix != MODEL_SUFFIX:
        raise MissingModelError(f"no {MODEL_SUFFIX} file at {path}; expected a trained model, or a folder of them")
    return with_deploy(chosen, chosen.absolute().parent.parent.name)


def with_deploy(weights: Path, net: str) -> TrainedModel:
    """Return the model of `weights`, with the deploy.prototxt in the parent of its folder.

    Raises
    ------
    MissingFileError
        There is no deploy.prototxt.
    """
    if weights.exists():
        demand_file(weights)
    deploy = weights.absolute().parent.parent / "deploy.prototxt"
    if not deploy.is_file():
        raise MissingFileError(
            f"{deploy} is not there; {weights.name} cannot predict without the net it was trained for"
        )
    return TrainedModel(net=net, deploy=deploy, weights=weights)
