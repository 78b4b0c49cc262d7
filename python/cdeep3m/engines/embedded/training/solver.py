"""Caffe's SGD: learning rate policies, and one update of the learnable blobs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from cdeep3m.errors import InputError
from cdeep3m.nets.prototxts import LR_POLICIES
from cdeep3m.proto.caffe_pb2 import SolverParameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.engines.embedded.net.executor import Learnable


def check_solver(solver: SolverParameter) -> None:
    """Refuse what a training here cannot do, before it starts.

    Raises
    ------
    InputError
        Names the setting and what is possible.
    """
    kind = solver.type
    if solver.HasField("solver_type") and not solver.HasField("type"):
        kind = SolverParameter.SolverType.Name(solver.solver_type)
    if kind != "SGD":
        raise InputError(f"solver type {kind} is not supported by this engine; use type: SGD")
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


@dataclass
class Sgd:
    """The state of a training, and its update.

    Attributes
    ----------
    settings : SolverParameter
        What the solver.prototxt says.
    learnable : sequence of Learnable
        The blobs to train, in layer order.
    history : list of torch.Tensor
        For each of them the last step, rate and momentum included.
    iteration : int
        Updates made so far.
    """

    settings: SolverParameter
    learnable: Sequence[Learnable]
    history: list[torch.Tensor] = field(init=False)
    iteration: int = 0

    def __post_init__(self) -> None:
        self.history = [torch.zeros_like(item.blob, requires_grad=False) for item in self.learnable]
        for item in self.learnable:
            if item.lr_mult == 0:
                item.blob.requires_grad_(False)

    @property
    def rate(self) -> float:
        """The learning rate of the next update."""
        return learning_rate(self.settings, self.iteration)

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
        DeepEM3D's Caffe.
        """
        rate, momentum = self.rate, self.settings.momentum
        for lr_mult, decay_mult in {(item.lr_mult, item.decay_mult) for item in self.learnable}:
            pairs = [
                (item.blob, step)
                for item, step in zip(self.learnable, self.history, strict=True)
                if (item.lr_mult, item.decay_mult) == (lr_mult, decay_mult)
            ]
            blobs, steps = [blob for blob, _ in pairs], [step for _, step in pairs]
            torch._foreach_mul_(steps, momentum)
            self._descend(pairs, decay_mult, rate * lr_mult)
            torch._foreach_sub_(blobs, steps)
        self.iteration += 1

    def _descend(self, pairs: list[tuple[torch.Tensor, torch.Tensor]], decay_mult: float, rate: float) -> None:
        """Add gradients and decay, times the rate, to the steps of blobs."""
        decay = self.settings.weight_decay * decay_mult
        moved = [(blob, step) for blob, step in pairs if blob.grad is not None]
        if moved:
            gradients = [blob.grad for blob, _ in moved if blob.grad is not None]
            torch._foreach_mul_(gradients, 1 / self.settings.iter_size)
            if decay:
                torch._foreach_add_(gradients, self._pull([blob for blob, _ in moved]), alpha=decay)
            torch._foreach_add_([step for _, step in moved], gradients, alpha=rate)
        others = [(blob, step) for blob, step in pairs if blob.grad is None]
        if others and decay:
            pulls = torch._foreach_mul(self._pull([blob for blob, _ in others]), decay)
            torch._foreach_add_([step for _, step in others], pulls, alpha=rate)

    def _pull(self, blobs: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return what decay subtracts a part of."""
        return list(torch._foreach_sign(blobs)) if self.settings.regularization_type == "L1" else blobs
