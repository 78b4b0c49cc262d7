"""Run directories: what lies where in a trained run, and which snapshot counts."""

from __future__ import annotations

import re
from pathlib import Path

from cdeep3m.engines.base import TrainedModel
from cdeep3m.errors import MissingFileError, MissingModelError
from cdeep3m.proto.caffemodel import read_state

MODEL_SUFFIX = ".caffemodel"
STATE_SUFFIX = ".solverstate"

_ITERATION = re.compile(r"_iter_(\d+)$")


def iteration_of(path: Path) -> int | None:
    """Return the iteration in a snapshot's name, or None when there is none.

    Examples
    --------
    >>> iteration_of(Path("1fm_classifer_iter_2000.caffemodel"))
    2000
    """
    match = _ITERATION.search(path.stem)
    return int(match[1]) if match else None


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

    def models(self, net: str) -> Path:
        """Return the folder that holds the snapshots of `net`."""
        return self.folder / net / "trainedmodel"

    def model(self, net: str) -> TrainedModel:
        """Return the trained model of `net` with the highest iteration.

        Raises
        ------
        MissingModelError
            There is no such model; the message names those that were found.
        MissingFileError
            The model has no deploy.prototxt beside its folder.
        """
        found = weights_in(self.models(net))
        if not found:
            raise MissingModelError(
                f"no trained {net} in {self.folder}; found {', '.join(self.nets()) or 'none'}. "
                "Train it, or choose others with --models."
            )
        return with_deploy(found[-1], net)

    def snapshot(self, net: str) -> Path | None:
        """Return the solver state of `net` with the highest iteration, or None before the first snapshot."""
        found = snapshots(self.models(net), STATE_SUFFIX)
        return found[-1] if found else None

    def highest_iteration(self, net: str) -> int:
        """Return the iteration of `snapshot(net)`, 0 when there is none."""
        found = self.snapshot(net)
        return (iteration_of(found) or 0) if found else 0


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
    found = [path] if path.is_file() else weights_in(path)
    if not found or found[-1].suffix != MODEL_SUFFIX:
        raise MissingModelError(
            f"no {MODEL_SUFFIX} file at {path}; a trained model, or a folder of them, was expected."
        )
    return with_deploy(found[-1], found[-1].absolute().parent.parent.name)


def with_deploy(weights: Path, net: str) -> TrainedModel:
    """Return the model of `weights`, with the deploy.prototxt in the parent of its folder.

    Raises
    ------
    MissingFileError
        There is no deploy.prototxt.
    """
    deploy = weights.absolute().parent.parent / "deploy.prototxt"
    if not deploy.is_file():
        raise MissingFileError(
            f"{deploy} is not there; {weights.name} cannot predict without the net it was trained for."
        )
    return TrainedModel(net=net, deploy=deploy, weights=weights)


def learned_net(state: Path) -> Path:
    """Return the model that belongs to a solver state: the file it names, or the same name beside the state.

    States carry the path of the machine that trained; a state that was copied elsewhere lies beside its model.

    Raises
    ------
    MissingFileError
        Neither is there.
    """
    named = Path(read_state(state).learned_net)
    candidates = [state.parent / named.name, named, state.with_suffix(MODEL_SUFFIX)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise MissingFileError(f"{candidates[0]} is not there; {state.name} goes on from it. Copy it beside the state.")
