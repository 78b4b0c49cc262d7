"""Look into every file of a training folder: whether it can be read, and whether the weights fit the nets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.engines.base import CPU, InProcessEngine
from cdeep3m.engines.select import select_engine
from cdeep3m.errors import CDeep3MError, MissingModelError, NetError, describe
from cdeep3m.nets.fits import Fit, fit_of_layers, without_leading_ones
from cdeep3m.nets.prototxts import DEPLOY, LABEL_CLASS_SELECTION, SOLVER, TRAIN_VAL
from cdeep3m.nets.shapes import blob_shapes
from cdeep3m.proto import prototxt
from cdeep3m.proto.caffemodel import blob_shape, blob_to_array, read_model, read_state
from cdeep3m.proto.learned_net import learned_net
from cdeep3m.runs.trained import (
    MODEL_SUFFIX,
    STATE_SUFFIX,
    is_visible,
    iteration_of,
    predicting_weights,
    snapshots,
    weights_in,
    with_deploy,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cdeep3m.nets.shapes import Shape
    from cdeep3m.proto.caffe_pb2 import NetParameter

READERS: dict[str, Callable[[Path], object]] = {
    DEPLOY: prototxt.read_net,
    TRAIN_VAL: prototxt.read_net,
    SOLVER: prototxt.read_solver,
    LABEL_CLASS_SELECTION: prototxt.read_label_mapping,
}
"""What reads each .prototxt of a net's folder."""


@dataclass(frozen=True, kw_only=True)
class NetReport:
    """What one net of a training folder holds.

    Attributes
    ----------
    net : str
        Its name, that of its folder.
    weights : Path or None
        The weights that predict: those of the highest iteration; None where the net has not been trained.
    files : int
        Files that were read.
    parameters : int
        Numbers in the weights.
    fit : Fit or None
        Which of DeepEM3D's nets the weights fit.
    problems : tuple of str
        What is wrong, a sentence each; empty for a net that is whole.
    """

    net: str
    weights: Path | None
    files: int = 0
    parameters: int = 0
    fit: Fit | None = None
    problems: tuple[str, ...] = ()

    @property
    def iteration(self) -> int | None:
        """The iteration in the name of the weights."""
        return iteration_of(self.weights) if self.weights else None


def verify(folder: Path, *, report: Callable[[str], None] | None = None) -> list[NetReport]:
    """Check every net of a training folder.

    Parameters
    ----------
    folder : Path
        With one folder a net, each with deploy.prototxt and trainedmodel/.
    report : callable, optional
        Told the name of every net before it is checked.

    Returns
    -------
    list of NetReport
        By the nets' names.

    Raises
    ------
    MissingModelError
        There is no trained net.
    EngineError
        The embedded engine, which builds the nets, cannot run here.
    """
    nets = net_folders(folder)
    if not any(weights_in(net / "trainedmodel") for net in nets):
        raise MissingModelError(
            f"no trained model in {folder}: expected <net>/{DEPLOY} and <net>/trainedmodel/*{MODEL_SUFFIX}"
        )
    engine = checking_engine()
    reports = []
    for net in nets:
        if report:
            report(net.name)
        reports.append(verify_net(net, engine))
    return reports


def net_folders(folder: Path) -> list[Path]:
    """Return the folders in `folder` that hold a net, by name."""
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and ((path / "trainedmodel").is_dir() or (path / DEPLOY).is_file())
    )


def checking_engine() -> InProcessEngine:
    """Return the engine that builds nets to check them; raise EngineError where it cannot run."""
    engine, _ = select_engine("embedded", gpu=str(CPU))
    assert isinstance(engine, InProcessEngine)
    return engine


def verify_net(folder: Path, engine: InProcessEngine) -> NetReport:
    """Check the folder of one net; problems are in the report, none is raised."""
    prototxts = [folder / name for name in READERS if (folder / name).is_file()]
    models = sorted(path for path in (folder / "trainedmodel").glob(f"*{MODEL_SUFFIX}") if is_visible(path))
    states = snapshots(folder / "trainedmodel", STATE_SUFFIX)
    best = predicting_weights(folder / "trainedmodel")
    shapes = _shapes_in(best) if best else {}
    checks: list[Callable[[], object]] = [partial(READERS[path.name], path) for path in prototxts]
    if best:
        checks.append(partial(_check_prediction, best, folder.name, engine))
        checks += [partial(_check_shapes, path, shapes) for path in models if path != best and shapes]
        checks += [partial(_check_training_net, folder / TRAIN_VAL, shapes)] if shapes else []
    checks += [partial(_check_state, path) for path in states]
    return NetReport(
        net=folder.name,
        weights=best,
        files=len(prototxts) + len(models) + len(states),
        parameters=parameters_in(shapes),
        fit=fit_of_layers(shapes),
        problems=tuple(dict.fromkeys(_complaints(checks))),
    )


def shapes_of(model: NetParameter) -> dict[str, list[Shape]]:
    """Return the shapes of the blobs of every layer of `model` that has any."""
    return {layer.name: [blob_shape(blob) for blob in layer.blobs] for layer in model.layer if layer.blobs}


def parameters_in(shapes: Mapping[str, Sequence[Shape]]) -> int:
    """Return how many numbers blobs of `shapes` hold.

    >>> parameters_in({"conv": [(2, 1, 3, 3), (2,)]})
    20
    """
    return sum(prod(shape) for blobs in shapes.values() for shape in blobs)


def _shapes_in(path: Path) -> dict[str, list[Shape]]:
    """Return the shapes of the blobs in a .caffemodel; none where it cannot be read, which another check reports."""
    try:
        return shapes_of(read_model(path))
    except CDeep3MError:
        return {}


def _complaints(checks: Iterable[Callable[[], object]]) -> Iterator[str]:
    for check in checks:
        try:
            check()
        except (CDeep3MError, OSError) as error:
            yield describe(error)


def _check_prediction(weights: Path, net: str, engine: InProcessEngine) -> None:
    """Build the net that predicts with its weights, as a prediction does; first see that these are numbers."""
    _check_values(weights)
    try:
        engine.load(with_deploy(weights, net))
    except NetError as error:
        named = str(weights) in str(error) or str(weights.parent.parent) in str(error)
        raise NetError(str(error) if named else f"{weights}: {error}") from None


def _check_values(weights: Path) -> None:
    for layer in read_model(weights).layer:
        if not all(np.isfinite(blob_to_array(blob)).all() for blob in layer.blobs):
            raise NetError(f"{weights}: layer {layer.name} holds values that are no numbers: its training diverged")


def _check_shapes(path: Path, shapes: Mapping[str, list[Shape]]) -> None:
    if shapes_of(read_model(path)) != shapes:
        raise NetError(f"{path}: its blobs have other shapes than those of the highest iteration, of another net")


def _check_state(path: Path) -> None:
    read_state(path)
    learned_net(path)


def _check_training_net(path: Path, shapes: Mapping[str, list[Shape]]) -> None:
    """Compare the net that trains with the weights, as far as its shapes can be told without its data."""
    expected = blob_shapes(prototxt.read_net(path)) if path.is_file() else {}
    for name, blobs in expected.items():
        if blobs and list(map(without_leading_ones, blobs)) != list(map(without_leading_ones, shapes.get(name, ()))):
            raise NetError(f"{path}: its layer {name} does not fit the trained weights; it belongs to another net")
