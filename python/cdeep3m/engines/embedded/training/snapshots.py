"""Snapshots of a training: a .caffemodel with the weights, a .solverstate with the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from cdeep3m.engines.embedded.training.solver import current_step
from cdeep3m.errors import FormatError, MissingFileError
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
    from cdeep3m.engines.embedded.net.executor import Net
    from cdeep3m.engines.embedded.training.solver import Solver


OWN_WEIGHTS = "unaveraged"
"""Suffix of the weights that a training goes on from, where its .caffemodel holds averages."""


def snapshot_name(prefix: str, iteration: int, suffix: str) -> str:
    """Return the file name of a snapshot.

    Examples
    --------
    >>> snapshot_name("trainedmodel/1fm_classifer", 2000, "caffemodel")
    'trainedmodel/1fm_classifer_iter_2000.caffemodel'
    """
    return f"{prefix}_iter_{iteration}.{suffix}"


def write_weights(folder: Path, net: Net, solver: Solver) -> str:
    """Write the .caffemodel of the current iteration, whole or not at all.

    Where averages are kept, it holds these, and a file beside it the weights that the training goes on from.

    Parameters
    ----------
    folder : Path
        What the solver's snapshot_prefix is relative to.
    net : Net
        The net that is trained.
    solver : Solver
        Its solver.

    Returns
    -------
    str
        Name of the file that the training goes on from, as the solver state records it.
    """
    prefix, iteration = solver.settings.snapshot_prefix, solver.iteration
    model = snapshot_name(prefix, iteration, "caffemodel")
    if not solver.averages:
        write_model(folder / model, net.to_message())
        return model
    own = snapshot_name(prefix, iteration, OWN_WEIGHTS)
    write_model(folder / own, net.to_message())
    with solver.averaged():
        averaged = net.to_message()
    write_model(folder / model, averaged)
    return own


def write_solver_state(folder: Path, solver: Solver, learned_net: str) -> str:
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


def restore(path: Path, folder: Path, net: Net, solver: Solver) -> None:
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
    own = learned_net(path, folder=folder)
    if own.suffix != Path(state.learned_net).suffix == f".{OWN_WEIGHTS}":
        raise MissingFileError(
            f"{path.with_suffix(f'.{OWN_WEIGHTS}')} is not there; {path.name} goes on from it, not from the averages"
        )
    if solver.averages:
        net.load_weights(read_model(_averaged(own)))
        solver.keep_averages()
    net.load_weights(read_model(own))
    with torch.no_grad():
        for step, values in zip(solver.history, history, strict=True):
            step.copy_(values)
    solver.iteration = state.iter


def _averaged(own: Path) -> Path:
    """Return the file of the averages of a snapshot; they start from its weights where none were kept."""
    return own.with_suffix(".caffemodel") if own.suffix == f".{OWN_WEIGHTS}" else own


def _fitting_history(path: Path, state: SolverState, solver: Solver) -> list[torch.Tensor]:
    expected = [tuple(step.shape) for step in solver.history]
    found = [_without_leading_ones(blob_shape(blob)) for blob in state.history]
    if found != [_without_leading_ones(shape) for shape in expected]:
        raise FormatError(
            f"{path} holds the history of {len(found)} blobs of another net or another type of solver; expected "
            f"{len(expected)} blobs that fit this one. Use the state of a training of the same net with the same type, "
            "or start from its weights with --weights"
        )
    arrays = [torch.from_numpy(blob_to_array(blob)) for blob in state.history]
    squares = arrays[-len(solver.learnable) :] if solver.kind.divides else []
    if any((square < 0).any() for square in squares):
        raise FormatError(
            f"{path} was written by another type of solver: expected sums of squares, found negative numbers. Use the "
            "state of a training with the same type, or start from its weights with --weights"
        )
    return [array.reshape(shape) for array, shape in zip(arrays, expected, strict=True)]


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return `shape` as old files and new ones have it in common (they write a vector as 1 x 1 x 1 x n)."""
    sides = list(shape)
    while sides and sides[0] == 1:
        sides.pop(0)
    return tuple(sides)
