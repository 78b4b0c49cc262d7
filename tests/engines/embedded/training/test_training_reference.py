"""Training steps that Caffe recorded come out of this engine, through solver, list files and snapshots."""

from __future__ import annotations

import pytest

from cdeep3m.proto.caffemodel import blob_shape
from recorded_caffe import (
    BATCH_NORM_TOLERANCE,
    HISTORY_TOLERANCE,
    LOSS_TOLERANCE,
    NETS,
    STEPS,
    batch_norm_error,
    history_error,
    make_steps,
    outputs,
    snapshot,
    train_from,
)


@pytest.fixture(scope="module", params=NETS)
def net(request):
    return request.param


@pytest.fixture(scope="module")
def steps(reference, net):
    return reference / STEPS / net


@pytest.fixture(scope="module")
def folder(steps, tmp_path_factory):
    """A working folder whose net reads the recorded batches, in their order."""
    folder = tmp_path_factory.mktemp("steps")
    make_steps(steps, folder)
    return folder


@pytest.fixture(scope="module")
def log(folder, steps, net):
    """What our training logs that goes on from Caffe's snapshot of step 1."""
    return train_from(folder, steps / f"{net}_classifer_iter_1.solverstate")


def test_the_first_step_gives_caffes_history(folder, steps, net, log):
    assert history_error(folder, steps, net) <= HISTORY_TOLERANCE


def test_the_first_step_gives_caffes_batch_statistics(folder, steps, net, log):
    assert batch_norm_error(folder, steps, net) <= BATCH_NORM_TOLERANCE


def test_losses_follow_caffes_log(steps, log):
    """Float noise grows many times in each step (one ReLU that flips is enough): close at first, alike later."""
    expected = outputs(steps / "out.log")
    for iteration, tolerance in ((1, LOSS_TOLERANCE), (2, 2e-3), (3, 0.05), (4, 0.15), (5, 0.15)):
        assert log[iteration, "Train", 0] == pytest.approx(expected[iteration, "Train", 0], abs=tolerance)


def test_the_last_pass_and_test_give_caffes_outputs(folder, steps, net):
    """The final display pass moves the running statistics before the test, in Caffe and here."""
    found = train_from(folder, steps / f"{net}_classifer_iter_6.solverstate")
    expected = {key: value for key, value in outputs(steps / "out.log").items() if key[0] == 6}
    assert found.keys() == expected.keys()
    assert len(found) == 5
    assert found == pytest.approx(expected, abs=LOSS_TOLERANCE, rel=1e-4)


def test_snapshots_have_the_structure_of_caffes(folder, steps, net, log):
    (ours, our_state), (theirs, their_state) = snapshot(folder / "snap", net, 2), snapshot(steps, net, 2)
    assert ours.name == theirs.name
    shapes = [
        [(layer.name, layer.type, [blob_shape(blob) for blob in layer.blobs]) for layer in model.layer if layer.blobs]
        for model in (ours, theirs)
    ]
    assert shapes[0] == shapes[1]
    made_by_caffe = {layer.name for layer in theirs.layer if layer.type == "Split"}
    assert [layer.name for layer in ours.layer] == [
        layer.name for layer in theirs.layer if layer.name not in made_by_caffe
    ]
    assert [blob_shape(blob) for blob in our_state.history] == [blob_shape(blob) for blob in their_state.history]
    assert (our_state.iter, our_state.current_step) == (their_state.iter, their_state.current_step)
    assert our_state.learned_net == f"snap/{net}_classifer_iter_2.caffemodel"
