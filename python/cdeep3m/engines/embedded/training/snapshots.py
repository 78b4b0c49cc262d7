"""Snapshots of a training: a .caffemodel with the weights, a .solverstate with the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from cdeep3m.engines.embedded.training.solver import current_step
from cdeep3m.errors import FormatError
from cdeep3m.proto.caffe_pb2 import SolverState
from cdeep3m.proto.caffemodel import (
    array_to_blob,
    blob_shape,
    blob_to_array,
    read_model,
    read_state,
    write_model,
    write_state,
)
from cdeep3m.proto.learned_net import learned_net

if TYPE_CHECKING:
    from pathlib import Path

    from cdeep3m.engines.embedded.net.executor import Net
    from cdeep3m.engines.embedded.training.solver import Sgd


def snapshot_name(prefix: str, iteration: int, suffix: str) -> str:
    """Return the file name of a snapshot.

    Examples
    --------
    >>> snapshot_name("trainedmodel/1fm_classifer", 2000, "caffemodel")
    'trainedmodel/1fm_classifer_iter_2000.caffemodel'
    """
    return f"{prefix}_iter_{iteration}.{suffix}"


def write_weights(folder: Path, net: Net, solver: Sgd) -> str:
    """Write the .caffemodel of the current iteration, whole or not at all.

    Parameters
    ----------
    folder : Path
        What the solver's snapshot_prefix is relative to.
    net : Net
        The net that is trained.
    solver : Sgd
        Its solver.

    Returns
    -------
    str
        Its name, as the solver state records it.
    """
    name = snapshot_name(solver.settings.snapshot_prefix, solver.iteration, "caffemodel")
    write_model(folder / name, net.to_message())
    return name


def write_solver_state(folder: Path, solver: Sgd, learned_net: str) -> str:
    """Write the .solverstate that belongs to the weights in `learned_net`, whole or not at all; return its name."""
    name = snapshot_name(solver.settings.snapshot_prefix, solver.iteration, "solverstate")
    state = SolverState(
        iter=solver.iteration,
        learned_net=learned_net,
        current_step=current_step(solver.settings, solver.iteration),
        history=[array_to_blob(step.cpu().numpy()) for step in solver.history],
    )
    write_state(folder / name, state)
    return name


def restore(path: Path, folder: Path, net: Net, solver: Sgd) -> None:
    """Go on where a snapshot was taken: its weights into `net`, iteration and history into `solver`.

    Parameters
    ----------
    path : Path
        The .solverstate.
    folder : Path
        What a relative name of the weights counts from.

    Raises
    ------
    MissingFileError
        The state or its weights are not there.
    FormatError
        A file is damaged, or the history is that of another net.
    NetError
        The weights do not fit the net.
    """
    state = read_state(path)
    history = _fitting_history(path, state, solver)
    net.load_weights(read_model(learned_net(path, folder=folder)))
    with torch.no_grad():
        for step, values in zip(solver.history, history, strict=True):
            step.copy_(values)
    solver.iteration = state.iter


def _fitting_history(path: Path, state: SolverState, solver: Sgd) -> list[torch.Tensor]:
    expected = [tuple(step.shape) for step in solver.history]
    found = [_without_leading_ones(blob_shape(blob)) for blob in state.history]
    if found != [_without_leading_ones(shape) for shape in expected]:
        raise FormatError(
            f"{path} holds the history of {len(found)} blobs of another net; expected {len(expected)} blobs "
            "that fit this net. Use the state of a training of the same net, or start from its weights with --weights"
        )
    arrays = [torch.from_numpy(blob_to_array(blob)) for blob in state.history]
    return [array.reshape(shape) for array, shape in zip(arrays, expected, strict=True)]


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return `shape` as old files and new ones have it in common (they write a vector as 1 x 1 x 1 x n)."""
    sides = list(shape)
    while sides and sides[0] == 1:
        sides.pop(0)
    return tuple(sides)
