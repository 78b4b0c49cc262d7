"""Every solver of Caffe makes the steps of its own formulas."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cdeep3m.engines.embedded.training.solver import Solver, check_solver
from cdeep3m.engines.embedded.training.updates import KINDS, kind_of
from cdeep3m.engines.learning import Learning, Schedule
from cdeep3m.errors import InputError
from cdeep3m.proto.caffe_pb2 import SolverParameter

STEPS = 5
GRADIENTS = np.random.default_rng(0).normal(size=(STEPS, 2, 4))
START = np.array([[1.0, -2.0, 0.5, 3.0], [0.1, 0.2, -0.3, 4.0]])
LR_MULT = (1.0, 2.0)


def settings(kind: str, **others) -> SolverParameter:
    values = {"base_lr": 0.25, "lr_policy": "exp", "gamma": 0.5, "max_iter": 100, "type": kind, "delta": 0.125}
    return SolverParameter(**(values | others))


def trained(solver: SolverParameter, learning: Learning | None = None) -> Solver:
    """Return a solver after steps along `GRADIENTS`, in double, on two blobs."""
    blobs = [torch.tensor(start, requires_grad=True) for start in START]
    pairs = zip(blobs, LR_MULT, strict=True)
    items = [SimpleNamespace(blob=blob, lr_mult=rate, decay_mult=rate - 1) for blob, rate in pairs]
    made = Solver(solver, items, learning or Learning())
    for gradients in GRADIENTS:
        for blob, gradient in zip(blobs, gradients, strict=True):
            blob.grad = torch.tensor(gradient)
        made.update()
    return made


def weights(solver: Solver) -> np.ndarray:
    return np.stack([item.blob.detach().numpy() for item in solver.learnable])


def by_hand(kind: str, *, momentum=0.0, momentum2=0.999, rms_decay=0.0, delta=0.125, decay=0.0) -> list[np.ndarray]:
    """Return the weights and what is kept, voxel by voxel as the *_solver.cpp files compute them."""
    w, first, second = START.copy(), np.zeros_like(START), np.zeros_like(START)
    for t, gradients in enumerate(GRADIENTS):
        for i, j in np.ndindex(START.shape):
            rate = 0.25 * 0.5**t * LR_MULT[i]
            g = gradients[i, j] + decay * (LR_MULT[i] - 1) * w[i, j]
            h = first[i, j]
            if kind in ("SGD", "Nesterov"):
                first[i, j] = momentum * h + rate * g
                step = first[i, j]
                if kind == "Nesterov":
                    step = (1 + momentum) * first[i, j] - momentum * h
            elif kind == "AdaGrad":
                first[i, j] = h + g * g
                step = rate * g / (np.sqrt(first[i, j]) + delta)
            elif kind == "RMSProp":
                first[i, j] = rms_decay * h + (1 - rms_decay) * g * g
                step = rate * g / (np.sqrt(first[i, j]) + delta)
            elif kind == "AdaDelta":
                first[i, j] = momentum * h + (1 - momentum) * g * g
                scaled = g * np.sqrt((second[i, j] + delta) / (first[i, j] + delta))
                second[i, j] = momentum * second[i, j] + (1 - momentum) * scaled**2
                step = rate * scaled
            else:
                first[i, j] = momentum * h + (1 - momentum) * g
                second[i, j] = momentum2 * second[i, j] + (1 - momentum2) * g * g
                correction = np.sqrt(1 - momentum2 ** (t + 1)) / (1 - momentum ** (t + 1))
                step = rate * correction * first[i, j] / (np.sqrt(second[i, j]) + delta)
            w[i, j] -= step
    return [w, first, second]


CASES = {
    "SGD": {"momentum": 0.75},
    "Nesterov": {"momentum": 0.75},
    "AdaGrad": {},
    "RMSProp": {"rms_decay": 0.75},
    "AdaDelta": {"momentum": 0.75},
    "Adam": {"momentum": 0.75, "momentum2": 0.875},
}


@pytest.mark.parametrize("decay", [0.0, 0.5])
@pytest.mark.parametrize("kind", CASES)
def test_steps_and_what_is_kept_are_those_of_caffe(kind, decay):
    solver = trained(settings(kind, weight_decay=decay, **CASES[kind]))
    expected, *kept = by_hand(kind, decay=decay, **CASES[kind])
    assert weights(solver) == pytest.approx(expected, rel=1e-12)
    history = np.stack([each.numpy() for each in solver.history])
    assert history == pytest.approx(np.concatenate(kept[: KINDS[kind].kept]), rel=1e-12)


@pytest.mark.parametrize(
    ("kind", "ours", "theirs"),
    [
        ("SGD", {"momentum": 0.75}, lambda p: torch.optim.SGD(p, lr=0.25, momentum=0.75)),
        ("Nesterov", {"momentum": 0.75}, lambda p: torch.optim.SGD(p, lr=0.25, momentum=0.75, nesterov=True)),
        ("AdaGrad", {}, lambda p: torch.optim.Adagrad(p, lr=0.25, eps=0.125)),
        ("RMSProp", {"rms_decay": 0.75}, lambda p: torch.optim.RMSprop(p, lr=0.25, alpha=0.75, eps=0.125)),
        ("AdaDelta", {"momentum": 0.75}, lambda p: torch.optim.Adadelta(p, lr=0.25, rho=0.75, eps=0.125)),
        (
            "Adam",
            {"momentum": 0.75, "momentum2": 0.875, "delta": 1e-30},
            lambda p: torch.optim.Adam(p, lr=0.25, betas=(0.75, 0.875), eps=1e-30),
        ),
    ],
)
def test_where_the_formulas_agree_pytorch_makes_the_same_steps(kind, ours, theirs):
    blob = torch.tensor(START[0], requires_grad=True)
    solver = trained(settings(kind, lr_policy="fixed", **ours))
    optimiser = theirs([blob])
    for gradients in GRADIENTS:
        blob.grad = torch.tensor(gradients[0])
        optimiser.step()
    assert weights(solver)[0] == pytest.approx(blob.detach().numpy(), rel=1e-12)


def test_decay_apart_from_the_gradient_is_that_of_adamw():
    blob = torch.tensor(START[0], requires_grad=True)
    solver = settings("Adam", lr_policy="fixed", momentum=0.75, momentum2=0.875, delta=1e-30)
    items = [SimpleNamespace(blob=torch.tensor(START[0], requires_grad=True), lr_mult=1.0, decay_mult=1.0)]
    ours = Solver(solver, items, Learning(decay=0.5))
    theirs = torch.optim.AdamW([blob], lr=0.25, betas=(0.75, 0.875), eps=1e-30, weight_decay=0.5)
    for gradients in GRADIENTS:
        blob.grad, items[0].blob.grad = torch.tensor(gradients[0]), torch.tensor(gradients[0])
        theirs.step()
        ours.update()
    assert weights(ours)[0] == pytest.approx(blob.detach().numpy(), rel=1e-12)


def test_decay_apart_leaves_statistics_alone():
    items = [SimpleNamespace(blob=torch.tensor([2.0]), lr_mult=1.0, decay_mult=1.0)]
    solver = Solver(settings("Adam", momentum=0.5), items, Learning(decay=0.5))
    solver.update()
    assert items[0].blob.tolist() == [2.0]


def test_averages_follow_the_weights_and_can_be_had_for_a_while():
    items = [SimpleNamespace(blob=torch.tensor([8.0], requires_grad=True), lr_mult=1.0, decay_mult=1.0)]
    solver = Solver(settings("SGD", lr_policy="fixed", base_lr=1), items, Learning(average=0.5))
    expected, weight = 8.0, 8.0
    for iteration in range(1, 21):
        items[0].blob.grad = torch.tensor([1.0])
        solver.update()
        weight -= 1
        share = min(0.5, iteration / (iteration + 10))
        expected = share * expected + (1 - share) * weight
    assert solver.averages[0].item() == pytest.approx(expected)
    with solver.averaged():
        assert items[0].blob.item() == pytest.approx(expected)
    assert items[0].blob.item() == weight


@pytest.mark.parametrize("kind", KINDS)
def test_a_blob_without_a_gradient_and_without_decay_stays(kind):
    items = [SimpleNamespace(blob=torch.tensor([2.0]), lr_mult=1.0, decay_mult=1.0)]
    solver = Solver(settings(kind), items)
    solver.update()
    assert items[0].blob.tolist() == [2.0]


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (Schedule(shape="cosine"), {0: 0.25, 50: 0.125, 100: 0.0, 101: 0.0}),
        (Schedule(shape="cosine", floor=0.5), {0: 0.25, 50: 0.1875, 100: 0.125}),
        (Schedule(shape="linear"), {0: 0.25, 25: 0.1875, 100: 0.0}),
        (Schedule(shape="linear", warm_up=4, floor=1), {0: 0.05, 3: 0.2, 4: 0.25, 99: 0.25}),
        (Schedule(warm_up=1), {0: 0.125, 1: 0.125, 2: 0.0625}),
    ],
)
def test_rates_follow_a_schedule_of_ours(schedule, rates):
    solver = Solver(settings("SGD"), [], Learning(schedule=schedule))
    found = {}
    for solver.iteration in rates:
        found[solver.iteration] = solver.rate
    assert found == pytest.approx(rates)


@pytest.mark.parametrize(
    ("number", "name"), list(enumerate(["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"]))
)
def test_old_and_new_ways_to_name_a_solver_are_read(number, name):
    assert kind_of(SolverParameter(solver_type=number)) == name
    assert kind_of(SolverParameter(type=name)) == name


@pytest.mark.parametrize(
    ("kind", "others", "problem"),
    [
        ("AdaGrad", {"momentum": 0.9}, "momentum 0.9 cannot be used with AdaGrad"),
        ("RMSProp", {"momentum": 0.9}, "momentum 0.9 cannot be used with RMSProp"),
        ("RMSProp", {"rms_decay": 1.0}, "rms_decay 1: "),
        ("RMSProp", {"rms_decay": -0.5}, "rms_decay -0.5: "),
        ("AdaDelta", {"momentum": 1.0}, "momentum 1: AdaDelta"),
        ("Adam", {"momentum": 1.0}, "momentum 1: Adam"),
        ("Adam", {"momentum2": 1.0}, "momentum2 1: "),
        ("Adam", {"delta": 0.0}, "delta 0: Adam"),
        ("AdaGrad", {"delta": -1.0}, "delta -1: AdaGrad"),
        ("Adamax", {}, "solver type 'Adamax' is not known; choose one of SGD, Nesterov"),
        ("Adam", {"solver_type": "ADAM"}, "both solver_type and type"),
    ],
)
def test_settings_that_a_rule_cannot_work_with_are_refused(kind, others, problem):
    with pytest.raises(InputError, match=problem):
        check_solver(settings(kind, **others))
