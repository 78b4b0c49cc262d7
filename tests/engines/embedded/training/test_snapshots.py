"""Snapshots hold all that a training needs to go on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from cdeep3m.engines.embedded.training.snapshots import restore, write_solver_state
from cdeep3m.engines.embedded.training.solver import Solver
from cdeep3m.errors import FormatError
from cdeep3m.proto.caffe_pb2 import BlobProto, BlobShape, NetParameter, SolverParameter, SolverState
from cdeep3m.proto.caffemodel import read_state, write_model, write_state

MODEL = NetParameter(layer=[{"name": "a", "blobs": [BlobProto(shape=BlobShape(dim=[1]), data=[1.0])]}])


def solver(*shapes, **settings) -> Solver:
    blobs = [SimpleNamespace(blob=torch.zeros(shape), lr_mult=1.0, decay_mult=1.0) for shape in shapes]
    return Solver(SolverParameter(snapshot_prefix="a/x", lr_policy="step", stepsize=3, **settings), blobs)


def test_a_state_holds_iteration_step_history_and_the_name_of_the_weights(tmp_path):
    (tmp_path / "a").mkdir()
    sgd = solver((2, 3), (1,))
    sgd.iteration = 7
    sgd.history[0][1, 2] = 5
    assert write_solver_state(tmp_path, sgd, "a/x_iter_7.caffemodel") == "a/x_iter_7.solverstate"
    state = read_state(tmp_path / "a" / "x_iter_7.solverstate")
    assert (state.iter, state.learned_net, state.current_step) == (7, "a/x_iter_7.caffemodel", 2)
    assert [list(blob.shape.dim) for blob in state.history] == [[2, 3], [1]]
    assert list(state.history[0].data) == [0, 0, 0, 0, 0, 5]


def test_a_history_with_the_shapes_of_old_files_is_read(tmp_path):
    old = BlobProto(num=1, channels=1, height=1, width=2, data=[3.0, 4.0])
    loaded, sgd = [], solver((2,))
    write_model(tmp_path / "x.caffemodel", MODEL)
    write_state(tmp_path / "x.solverstate", SolverState(iter=9, learned_net="x.caffemodel", history=[old]))
    restore(tmp_path / "x.solverstate", tmp_path, SimpleNamespace(load_weights=loaded.append), sgd)
    assert sgd.iteration == 9
    assert sgd.history[0].tolist() == [3.0, 4.0]
    assert loaded == [MODEL]


@pytest.mark.parametrize("shapes", [[(3,)], [(2,), (2,)], []])
def test_the_history_of_another_net_is_refused(tmp_path, shapes):
    history = [BlobProto(shape=BlobShape(dim=[2]), data=[3.0, 4.0])]
    write_state(tmp_path / "x.solverstate", SolverState(iter=9, learned_net="x.caffemodel", history=history))
    sgd = solver(*shapes)
    words = f"the history of 1 blobs of another net or another type of solver; expected {len(shapes)} blobs"
    with pytest.raises(FormatError, match=words):
        restore(tmp_path / "x.solverstate", tmp_path, SimpleNamespace(), sgd)
    assert sgd.iteration == 0
