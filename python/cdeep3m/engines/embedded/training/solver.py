"""Caffe's solvers: learning rate policies, and one update of the learnable blobs; and what we add to them."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from cdeep3m.engines.embedded.training.updates import KINDS, check_kind, kind_of
from cdeep3m.engines.learning import Learning, Schedule
from cdeep3m.errors import InputError
from cdeep3m.nets.prototxts import LR_POLICIES
from cdeep3m.proto.caffe_pb2 import SolverParameter
from cdeep3m.system.interrupts import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cdeep3m.engines.embedded.net.executor import Learnable


WARM_UP_OF_AVERAGES = 10
"""After so many iterations an average keeps half of itself at most."""


def check_solver(solver: SolverParameter) -> None:
    """Refuse what a training here cannot do, before it starts.

    Raises
    ------
    InputError
        Names the setting and what is possible.
    """
    check_kind(solver)
    if solver.lr_policy not in LR_POLICIES:
        raise InputError(f"lr_policy {solver.lr_policy!r} is not known; choose one of {', '.join(LR_POLICIES)}")
    if solver.regularization_type not in ("L1", "L2"):
        raise InputError(f"regularization_type {solver.regularization_type!r} is not known; choose L2 or L1")
    if solver.snapshot_format != SolverParameter.BINARYPROTO:
        raise InputError("snapshot_format HDF5 is not supported by this engine; use BINARYPROTO")
    if solver.iter_size < 1 or solver.average_loss < 1 or not solver.HasField("max_iter"):
        raise InputError("expected a solver with max_iter, and with iter_size and average_loss of at least 1")
    if solver.lr_policy in ("step", "multistep") and solver.stepsize < 1 and not solver.stepvalue:
        raise InputError(f"lr_policy {solver.lr_policy} needs a stepsize (step) or stepvalue (multistep)")


def current_step(solver: SolverParameter, iteration: int) -> int:
    """Return how many steps down the rate has gone at `iteration`, for the policies step and multistep."""
    if solver.lr_policy == "step":
        return iteration // solver.stepsize
    return sum(iteration >= value for value in solver.stepvalue) if solver.lr_policy == "multistep" else 0


def learning_rate(solver: SolverParameter, iteration: int) -> float:
    """Return the learning rate of an iteration.

    Parameters
    ----------
    solver : SolverParameter
        With lr_policy, base_lr and what the policy needs.
    iteration : int
        Counted from 0.

    Examples
    --------
    >>> poly = SolverParameter(lr_policy="poly", base_lr=0.01, power=0.8, max_iter=6)
    >>> [f"{learning_rate(poly, i):.6g}" for i in range(3)]
    ['0.01', '0.00864281', '0.00722981']
    """
    if solver.lr_policy in ("step", "multistep"):
        return solver.base_lr * solver.gamma ** current_step(solver, iteration)
    if solver.lr_policy == "exp":
        return solver.base_lr * solver.gamma**iteration
    if solver.lr_policy == "inv":
        return solver.base_lr * (1 + solver.gamma * iteration) ** -solver.power
    if solver.lr_policy == "poly":
        return solver.base_lr * max(0.0, 1 - iteration / solver.max_iter) ** solver.power
    if solver.lr_policy == "sigmoid":
        return solver.base_lr / (1 + math.exp(-solver.gamma * (iteration - solver.stepsize)))
    return solver.base_lr


def scheduled_rate(solver: SolverParameter, iteration: int, schedule: Schedule) -> float:
    """Return the learning rate of an iteration where a schedule of ours may shape it.

    Parameters
    ----------
    solver : SolverParameter
        With base_lr, max_iter, and what its policy needs where `schedule` leaves the shape to Caffe.
    iteration : int
        Counted from 0.
    schedule : Schedule
        The shape, and over how many iterations the rate rises.

    Examples
    --------
    >>> solver = SolverParameter(lr_policy="fixed", base_lr=0.5, max_iter=4)
    >>> [scheduled_rate(solver, i, Schedule(shape="cosine")) for i in (0, 2, 4)]
    [0.5, 0.25, 0.0]
    >>> [scheduled_rate(solver, i, Schedule(warm_up=3)) for i in range(5)]
    [0.125, 0.25, 0.375, 0.5, 0.5]
    >>> [scheduled_rate(solver, i, Schedule(warm_up=0.25)) for i in range(3)]
    [0.25, 0.5, 0.5]
    """
    rising = schedule.warm_up if schedule.warm_up >= 1 else math.floor(schedule.warm_up * solver.max_iter)
    rise = min(1.0, (iteration + 1) / (rising + 1))
    if schedule.shape == "caffe":
        return learning_rate(solver, iteration) * rise
    done = min(1.0, iteration / solver.max_iter)
    share = (1 + math.cos(math.pi * done)) / 2 if schedule.shape == "cosine" else 1 - done
    return solver.base_lr * (schedule.floor + (1 - schedule.floor) * share) * rise


@dataclass
class Solver:
    """The state of a training, and its update.

    Attributes
    ----------
    settings : SolverParameter
        What the solver.prototxt says.
    learnable : sequence of Learnable
        The blobs to train, in layer order.
    learning : Learning
        What goes beyond it.
    history : list of torch.Tensor
        What the solver's kind keeps: a blob for each of them (SGD's last step, rate and momentum included), then, for
        AdaDelta and Adam, a second one for each.
    averages : list of torch.Tensor
        Running averages of `learnable`; empty where none are kept.
    iteration : int
        Updates made so far.
    """

    settings: SolverParameter
    learnable: Sequence[Learnable]
    learning: Learning = field(default_factory=Learning)
    history: list[torch.Tensor] = field(init=False)
    averages: list[torch.Tensor] = field(init=False)
    iteration: int = 0

    def __post_init__(self) -> None:
        self.kind = KINDS[kind_of(self.settings)]
        blobs = [item.blob for item in self.learnable]
        self.history = [torch.zeros_like(blob, requires_grad=False) for _ in range(self.kind.kept) for blob in blobs]
        self.averages = [blob.detach().clone() for blob in blobs] if self.learning.average else []
        for item in self.learnable:
            if item.lr_mult == 0:
                item.blob.requires_grad_(False)

    @property
    def rate(self) -> float:
        """The learning rate of the next update."""
        return scheduled_rate(self.settings, self.iteration, self.learning.schedule)

    def clear_gradients(self, *, keep_memory: bool = False) -> None:
        """Forget the gradients of the last update, or make them zeros in the memory that they have."""
        there = [item.blob.grad for item in self.learnable if item.blob.grad is not None]
        if keep_memory and there:
            torch._foreach_zero_(there)
        elif not keep_memory:
            for item in self.learnable:
                item.blob.grad = None

    @torch.no_grad()
    def clip_gradients(self) -> tuple[float, float] | None:
        """Scale the summed gradients down to a norm of clip_gradients.

        Returns
        -------
        tuple of float, optional
            Their norm and the factor, where they were longer.
        """
        limit = self.settings.clip_gradients
        gradients = [item.blob.grad for item in self.learnable if item.blob.grad is not None]
        if limit < 0 or not gradients:
            return None
        norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
        if norm <= limit:
            return None
        for gradient in gradients:
            gradient.mul_(limit / norm)
        return norm, limit / norm

    @torch.no_grad()
    def update(self) -> None:
        """Change every blob by the gradients summed over iter_size batches, and count the iteration.

        Blobs without a gradient (BatchNorm's) count as having a zero one: decay and momentum shrink them, as in
        DeepEM3D's Caffe. The decay of ours leaves them alone.
        """
        rate = self.rate
        for lr_mult, decay_mult in {(item.lr_mult, item.decay_mult) for item in self.learnable}:
            places = [
                i for i, item in enumerate(self.learnable) if (item.lr_mult, item.decay_mult) == (lr_mult, decay_mult)
            ]
            blobs = [self.learnable[i].blob for i in places]
            kept = [
                [self.history[first + i] for i in places] for first in range(0, len(self.history), len(self.learnable))
            ]
            gradients = self._gradients(blobs, decay_mult)
            steps = self.kind.update(gradients, kept, rate * lr_mult, self.settings, self.iteration)
            self._decay_apart(blobs, rate * lr_mult * decay_mult)
            torch._foreach_sub_(blobs, steps)
        self.iteration += 1
        self._average()

    def keep_averages(self) -> None:
        """Let the averages, where they are kept, start from what the net's blobs are now."""
        for average, item in zip(self.averages, self.learnable, strict=bool(self.averages)):
            average.copy_(item.blob.detach())

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the net have the averages of its blobs, where they are kept, and give it its own blobs back."""
        own = [item.blob.detach().clone() for item in self.learnable] if self.averages else []
        try:
            self._put(self.averages)
            yield
        finally:
            with uninterrupted():
                self._put(own)

    def _put(self, values: Sequence[torch.Tensor]) -> None:
        for item, value in zip(self.learnable, values, strict=bool(values)):
            item.blob.detach().copy_(value)

    def _average(self) -> None:
        """Move the averages towards the blobs: by more in the first iterations, which start from random weights."""
        if self.averages:
            share = min(self.learning.average, self.iteration / (self.iteration + WARM_UP_OF_AVERAGES))
            torch._foreach_lerp_(self.averages, [item.blob.detach() for item in self.learnable], 1 - share)

    def _decay_apart(self, blobs: list[torch.Tensor], rate: float) -> None:
        trained = [blob for blob in blobs if blob.requires_grad]
        if self.learning.decay and trained:
            torch._foreach_mul_(trained, 1 - rate * self.learning.decay)

    def _gradients(self, blobs: list[torch.Tensor], decay_mult: float) -> list[torch.Tensor]:
        """Return the mean gradients of blobs, decay included; those that there are change where they lie."""
        decay = self.settings.weight_decay * decay_mult
        moved = [blob for blob in blobs if blob.grad is not None]
        found = [blob.grad for blob in moved if blob.grad is not None]
        if found:
            torch._foreach_mul_(found, 1 / self.settings.iter_size)
        if found and decay:
            torch._foreach_add_(found, self._pull(moved), alpha=decay)
        others = [blob for blob in blobs if blob.grad is None]
        pulls = iter(torch._foreach_mul(self._pull(others), decay) if others else ())
        return [next(pulls) if blob.grad is None else blob.grad for blob in blobs]

    def _pull(self, blobs: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return what decay subtracts a part of."""
        return list(torch._foreach_sign(blobs)) if self.settings.regularization_type == "L1" else blobs
