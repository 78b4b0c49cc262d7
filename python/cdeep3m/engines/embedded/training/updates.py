"""How Caffe's solvers turn gradients into steps: a rule each, as its *_solver.cpp computes it.

A rule takes the gradients of some blobs (decay included), what the solver keeps of the past for them, and the rate, and
returns the steps that are taken off the blobs. Gradients and steps may share memory; nothing waits for a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from cdeep3m.errors import InputError
from cdeep3m.proto.caffe_pb2 import SolverParameter

Blobs = list[torch.Tensor]
Update = Callable[[Blobs, Sequence[Blobs], float, SolverParameter, int], Blobs]
"""Gradients, kept blobs (a list for each kind), rate, settings and iteration (from 0); returns the steps."""


def sgd(gradients: Blobs, kept: Sequence[Blobs], rate: float, settings: SolverParameter, iteration: int) -> Blobs:
    """V = momentum v + rate g; the step is the new v."""
    del iteration
    (steps,) = kept
    torch._foreach_mul_(steps, settings.momentum)
    torch._foreach_add_(steps, gradients, alpha=rate)
    return steps


def nesterov(gradients: Blobs, kept: Sequence[Blobs], rate: float, settings: SolverParameter, iteration: int) -> Blobs:
    """V = momentum v + rate g, as for SGD; the step is (1 + momentum) v - momentum v_before."""
    before = torch._foreach_mul(kept[0], settings.momentum)
    steps = torch._foreach_mul(sgd(gradients, kept, rate, settings, iteration), 1 + settings.momentum)
    torch._foreach_sub_(steps, before)
    return list(steps)


def adagrad(gradients: Blobs, kept: Sequence[Blobs], rate: float, settings: SolverParameter, iteration: int) -> Blobs:
    """H = h + g^2; the step is rate g / (sqrt(h) + delta)."""
    del iteration
    torch._foreach_addcmul_(kept[0], gradients, gradients)
    return _scaled(gradients, kept[0], rate, settings)


def rmsprop(gradients: Blobs, kept: Sequence[Blobs], rate: float, settings: SolverParameter, iteration: int) -> Blobs:
    """H = rms_decay h + (1 - rms_decay) g^2; the step is rate g / (sqrt(h) + delta)."""
    del iteration
    _average_squares(kept[0], gradients, settings.rms_decay)
    return _scaled(gradients, kept[0], rate, settings)


def adadelta(gradients: Blobs, kept: Sequence[Blobs], rate: float, settings: SolverParameter, iteration: int) -> Blobs:
    """Scale gradients by how large steps have been, compared with gradients.

    h = momentum h + (1 - momentum) g^2; s = g sqrt((u + delta) / (h + delta)); u = momentum u + (1 - momentum) s^2;
    the step is rate s.
    """
    del iteration
    squares, steps_squared = kept
    _average_squares(squares, gradients, settings.momentum)
    ratio = list(torch._foreach_add(steps_squared, settings.delta))
    torch._foreach_div_(ratio, torch._foreach_add(squares, settings.delta))
    torch._foreach_sqrt_(ratio)
    torch._foreach_mul_(ratio, gradients)
    _average_squares(steps_squared, ratio, settings.momentum)
    torch._foreach_mul_(ratio, rate)
    return ratio


def adam(gradients: Blobs, kept: Sequence[Blobs], rate: float, settings: SolverParameter, iteration: int) -> Blobs:
    """M and v average g and g^2; the step is rate c m / (sqrt(v) + delta), c correcting for their start at 0.

    c = sqrt(1 - momentum2^t) / (1 - momentum^t), with t = iteration + 1. As delta is added to the uncorrected root, it
    counts for more in the first steps than where v itself is corrected.
    """
    means, squares = kept
    torch._foreach_mul_(means, settings.momentum)
    torch._foreach_add_(means, gradients, alpha=1 - settings.momentum)
    _average_squares(squares, gradients, settings.momentum2)
    t = iteration + 1
    correction = math.sqrt(1 - settings.momentum2**t) / (1 - settings.momentum**t)
    return _scaled(means, squares, rate * correction, settings)


def _average_squares(average: Blobs, values: Blobs, share: float) -> None:
    torch._foreach_mul_(average, share)
    torch._foreach_addcmul_(average, values, values, value=1 - share)


def _scaled(values: Blobs, squares: Blobs, rate: float, settings: SolverParameter) -> Blobs:
    """Return rate * values / (sqrt(squares) + delta)."""
    roots = torch._foreach_sqrt(squares)
    torch._foreach_add_(roots, settings.delta)
    steps = torch._foreach_div(values, roots)
    torch._foreach_mul_(steps, rate)
    return list(steps)


@dataclass(frozen=True)
class Kind:
    """One of Caffe's solvers.

    Attributes
    ----------
    update : callable
        Its rule.
    kept : int
        Blobs that it keeps for each blob of the net. A state holds them kind by kind: those of all blobs, then the
        second ones of all blobs.
    """

    update: Update
    kept: int = 1
    divides: bool = True


KINDS = {
    "SGD": Kind(sgd, divides=False),
    "Nesterov": Kind(nesterov, divides=False),
    "AdaGrad": Kind(adagrad),
    "RMSProp": Kind(rmsprop),
    "AdaDelta": Kind(adadelta, kept=2),
    "Adam": Kind(adam, kept=2),
}
"""By the names that a solver's `type` has."""

OLD_NAMES = {name.upper(): name for name in KINDS}
"""By the names that `solver_type` had before."""

WITHOUT_MOMENTUM = ("AdaGrad", "RMSProp")


def kind_of(solver: SolverParameter) -> str:
    """Return the name of a solver's kind, whichever of its two fields says it.

    Raises
    ------
    InputError
        It is none of Caffe's, or both fields say it.

    Examples
    --------
    >>> kind_of(SolverParameter()), kind_of(SolverParameter(solver_type=SolverParameter.ADADELTA))
    ('SGD', 'AdaDelta')
    """
    if solver.HasField("solver_type") and solver.HasField("type"):
        raise InputError("the solver has both solver_type and type; expected one of them, type since 2015")
    if solver.HasField("solver_type"):
        return OLD_NAMES[SolverParameter.SolverType.Name(solver.solver_type)]
    if solver.type not in KINDS:
        raise InputError(f"solver type {solver.type!r} is not known; choose one of {', '.join(KINDS)}")
    return solver.type


def check_kind(solver: SolverParameter) -> None:
    """Refuse settings that a solver's rule cannot work with; beyond what Caffe refuses, those that end in no number.

    Raises
    ------
    InputError
        Names the setting and what was expected.
    """
    kind = kind_of(solver)
    if kind in WITHOUT_MOMENTUM and solver.momentum:
        raise InputError(f"momentum {solver.momentum:g} cannot be used with {kind}: set it to 0, or leave it out")
    if kind == "RMSProp" and not 0 <= solver.rms_decay < 1:
        raise InputError(f"rms_decay {solver.rms_decay:g}: expected a number in [0, 1)")
    if kind in ("AdaDelta", "Adam") and not 0 <= solver.momentum < 1:
        raise InputError(f"momentum {solver.momentum:g}: {kind} expects a number in [0, 1)")
    if kind == "Adam" and not 0 <= solver.momentum2 < 1:
        raise InputError(f"momentum2 {solver.momentum2:g}: expected a number in [0, 1)")
    if KINDS[kind].divides and solver.delta <= 0:
        raise InputError(
            f"delta {solver.delta:g}: {kind} divides by it where a gradient is 0; expected a number above 0"
        )
