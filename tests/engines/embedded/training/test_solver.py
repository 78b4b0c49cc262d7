"""The update is Caffe's: decay, momentum with the rate inside, policies."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from cdeep3m.engines.embedded.training.solver import Solver, check_solver, current_step, learning_rate
from cdeep3m.errors import InputError
from cdeep3m.proto.caffe_pb2 import SolverParameter


def solver(**settings) -> SolverParameter:
    return SolverParameter(**({"base_lr": 0.5, "lr_policy": "fixed", "max_iter": 100} | settings))


def learnable(values, *, gradient=None, lr_mult=1.0, decay_mult=1.0):
    blob = torch.tensor(values, requires_grad=gradient is not None)
    if gradient is not None:
        blob.grad = torch.tensor(gradient)
    return SimpleNamespace(blob=blob, lr_mult=lr_mult, decay_mult=decay_mult)


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({"lr_policy": "fixed"}, {0: 0.5, 99: 0.5}),
        ({"lr_policy": "step", "stepsize": 10, "gamma": 0.5}, {9: 0.5, 10: 0.25, 25: 0.125}),
        ({"lr_policy": "exp", "gamma": 0.5}, {0: 0.5, 2: 0.125}),
        ({"lr_policy": "inv", "gamma": 1.0, "power": 2.0}, {0: 0.5, 1: 0.125}),
        ({"lr_policy": "multistep", "stepvalue": [5, 8], "gamma": 0.5}, {4: 0.5, 5: 0.25, 8: 0.125, 50: 0.125}),
        ({"lr_policy": "poly", "power": 2.0}, {0: 0.5, 50: 0.125, 100: 0.0, 101: 0.0}),
        ({"lr_policy": "sigmoid", "gamma": 1.0, "stepsize": 7}, {7: 0.25}),
    ],
)
def test_rates_follow_their_policy(settings, rates):
    assert {i: learning_rate(solver(**settings), i) for i in rates} == pytest.approx(rates)


def test_steps_are_counted_for_the_state():
    assert current_step(solver(lr_policy="step", stepsize=10), 25) == 2
    assert current_step(solver(lr_policy="multistep", stepvalue=[5, 8]), 8) == 2
    assert current_step(solver(lr_policy="poly"), 8) == 0


def test_an_update_is_decay_then_momentum_then_step():
    item = learnable([2.0, -4.0], gradient=[1.0, 3.0], lr_mult=2.0, decay_mult=0.5)
    sgd = Solver(solver(momentum=0.5, weight_decay=0.25, iter_size=2), [item])
    sgd.history[0][:] = torch.tensor([8.0, 0.0])
    sgd.update()
    gradient = [1 / 2 + 0.125 * 2, 3 / 2 - 0.125 * 4]
    assert sgd.history[0].tolist() == [4 + gradient[0], gradient[1]]
    assert item.blob.tolist() == [2 - 4 - gradient[0], -4 - gradient[1]]
    assert sgd.iteration == 1


def test_blobs_without_a_gradient_decay_all_the_same():
    item = learnable([1.0])
    sgd = Solver(solver(weight_decay=0.25), [item])
    sgd.update()
    assert item.blob.tolist() == [1 - 0.5 * 0.25]


def test_a_rate_of_zero_freezes_a_blob():
    item = learnable([1.0], gradient=[1.0], lr_mult=0.0)
    Solver(solver(weight_decay=0.25), [item]).update()
    assert item.blob.tolist() == [1.0]
    assert not item.blob.requires_grad


def test_l1_decay_goes_by_the_sign():
    item = learnable([-3.0, 2.0], gradient=[0.0, 0.0])
    Solver(solver(weight_decay=0.5, regularization_type="L1"), [item]).update()
    assert item.blob.tolist() == [-3 + 0.25, 2 - 0.25]


def test_long_gradients_are_clipped_together():
    items = [learnable([0.0], gradient=[3.0]), learnable([0.0, 0.0], gradient=[0.0, 4.0]), learnable([1.0])]
    sgd = Solver(solver(clip_gradients=1.0), items)
    assert sgd.clip_gradients() == pytest.approx((5.0, 0.2))
    assert items[0].blob.grad.tolist() == pytest.approx([0.6])
    assert sgd.clip_gradients() is None or items[0].blob.grad.tolist() == pytest.approx([0.6])
    assert Solver(solver(), items).clip_gradients() is None


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"type": "Adamax"}, "solver type 'Adamax'"),
        ({"lr_policy": "cosine"}, "lr_policy 'cosine'"),
        ({"regularization_type": "L3"}, "regularization_type 'L3'"),
        ({"snapshot_format": "HDF5"}, "BINARYPROTO"),
        ({"iter_size": 0}, "iter_size"),
        ({"lr_policy": "step"}, "stepsize"),
    ],
)
def test_what_is_not_supported_is_refused(settings, problem):
    with pytest.raises(InputError, match=problem):
        check_solver(solver(**settings))
