"""SoftmaxWithLoss, with the class balance of DeepEM3D's Caffe.

Sources: `needs_background`, whether a batch without background stops the training, as it does there; `loss`, a Loss
that goes beyond it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch

from cdeep3m.engines.embedded.net.layers.base import Layer, Shape
from cdeep3m.engines.embedded.net.layers.losses import inverse_shares, is_caffes, total
from cdeep3m.errors import InputError
from cdeep3m.proto.caffe_pb2 import LossParameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.engines.learning import Loss

SMALLEST_PROBABILITY = torch.finfo(torch.float32).tiny
"""FLT_MIN: probabilities count as no less, so that the loss stays below 87.34."""

SMALLEST_SUM = 1e-6
"""Sums of weights count as no less, so that a batch without a voxel that counts has no loss."""

BACKGROUND = 0

logger = logging.getLogger(__name__)


class SoftmaxWithLoss(Layer):
    """Bottoms: scores (n, c, ...) and labels (n, [1,] ...). Tops: loss (scalar) and, if asked for, probabilities.

    The loss that is reported is the plain mean over the pixels; its gradient counts every pixel with the weight of its
    class (`class_weights`), and is divided by the number of pixels all the same (softmax_loss_layer.cu).

    With a loss of ours, in TRAIN, the loss that is reported is the one that is minimised; where it has class weights of
    its own, it is divided by the sum of the pixels' weights.
    """

    def setup(self, shapes: tuple[Shape, ...]) -> None:
        """Check that there is a label for every pixel."""
        scores, labels = shapes
        self.classes = scores[1]
        if _count(scores) != _count(labels) * self.classes:
            raise self.error(f"expected a label for every pixel of the scores, found {self.describe(shapes)}")
        settings = self.message.loss_param
        self.loss: Loss | None = self.context.sources.get("loss")
        own = [settings.ignore_label] if settings.HasField("ignore_label") else []
        self.ignored = [*own, *([self.loss.ignore] if self.loss and self.loss.ignore is not None else [])]
        self.weights = self._given_weights()
        self.balanced = self.message.label_select_param.auto_balance and self.weights is None
        self.warned = False
        self.seen = _Seen(self.classes, self.context.device)

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the shapes of the loss and of the probabilities."""
        return ((), shapes[0])[: len(self.tops)]

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the loss and the probabilities."""
        scores, label = bottoms
        label = label.reshape(scores.shape[0], *scores.shape[2:]).long()
        valid = torch.ones_like(label, dtype=torch.bool)
        for ignored in self.ignored:
            valid &= label != ignored
        counts = torch.stack([((label == c) & valid).sum() for c in range(self.classes)])
        self.seen.note(label, valid, counts)
        if not scores.is_cuda or self.context.sources.get("needs_background"):
            self.settle()
        label = torch.where(valid, label, BACKGROUND).clamp(0, self.classes - 1)
        balanced = self.balanced and self.context.training
        weights = class_weights(counts) if balanced else torch.ones(self.classes, device=scores.device)
        weights = weights if self.weights is None else self.weights
        pixel_weights = torch.where(valid, weights[label], torch.zeros((), device=scores.device))
        divisor = self._divisor(label, counts.sum())
        if self.loss is None or not self.context.training or is_caffes(self.loss):
            outputs = _Loss.apply(scores.float(), label, valid, pixel_weights, divisor)  # type: ignore[no-untyped-call]
            return tuple(outputs[: len(self.tops)])
        if self.weights is not None:
            divisor = pixel_weights.sum().clamp_min(SMALLEST_SUM)
        value = total(scores.float(), label, valid, self.loss, weights=pixel_weights, divisor=divisor)
        return (value, torch.softmax(scores.detach().float(), dim=1))[: len(self.tops)]

    def weigh(self, shares: Sequence[float]) -> None:
        """Weigh the classes by how common they are, where the loss asks for that."""
        if self.weights is not None and self.loss and self.loss.class_weights == "frequency":
            self.weights.copy_(torch.tensor(inverse_shares(shares)))

    def _given_weights(self) -> torch.Tensor | None:
        """Return the weights of the classes in TRAIN where they are not those of each batch; 1 until `weigh`."""
        if self.loss is None or self.loss.class_weights is None or not self.context.training:
            return None
        given = self.loss.class_weights
        weights = given if isinstance(given, tuple) else (1.0,) * self.classes
        if len(weights) != self.classes:
            found = ", ".join(map(str, weights))
            raise InputError(
                f"layer {self.name}: class weights {found}; expected one for each of the net's {self.classes} classes"
            )
        return torch.tensor(weights, dtype=torch.float32, device=self.context.device)

    def settle(self) -> None:
        """Look at the labels since the last time; on a GPU that means to wait for it.

        Raises
        ------
        InputError
            Labels that are no class; or a batch without background, where those stop the training.
        """
        unknown, without_background = self.seen.take()
        if unknown:
            expected = ", ".join(map(str, range(self.classes)))
            raise InputError(f"layer {self.name}: expected labels {expected}; found {', '.join(map(str, unknown))}")
        if without_background and self.balanced and self.context.training:
            self._without_background()

    def _without_background(self) -> None:
        problem = "a training batch without any background voxel"
        if self.context.sources.get("needs_background"):
            raise InputError(f"{problem}: the original stops here. Without exact mode the training goes on")
        if not self.warned:
            logger.warning("layer %s: %s; its background weight is 0", self.name, problem)
        self.warned = True

    def _divisor(self, label: torch.Tensor, valid: torch.Tensor) -> torch.Tensor | float:
        settings = self.message.loss_param
        mode = settings.normalization
        if settings.HasField("normalize") and not settings.HasField("normalization"):
            mode = LossParameter.VALID if settings.normalize else LossParameter.BATCH_SIZE
        if mode == LossParameter.VALID:
            return valid.clamp_min(1)
        divisors = {
            LossParameter.FULL: label.numel(),
            LossParameter.BATCH_SIZE: label.shape[0],
            LossParameter.NONE: 1,
        }
        return float(max(divisors[mode], 1))


class _Seen:
    """What labels there were, noted where they are.

    Parameters
    ----------
    classes : int
        How many there are.
    device : torch.device
        Where the labels are.
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        self._classes = classes
        self._extremes = torch.zeros(2, dtype=torch.long, device=device)
        self._without_background = torch.zeros((), dtype=torch.bool, device=device)

    def note(self, label: torch.Tensor, valid: torch.Tensor, counts: torch.Tensor) -> None:
        """Note a batch's labels (their least and greatest suffice to know of one that is no class)."""
        known = torch.where(valid, label, BACKGROUND)
        self._extremes[0].clamp_(max=known.min())
        self._extremes[1].clamp_(min=known.max())
        self._without_background.logical_or_(counts[BACKGROUND] == 0)

    def take(self) -> tuple[list[int], bool]:
        """Return labels that are no class, and whether a batch was without background; forget both."""
        least, greatest = self._extremes.tolist()
        without = bool(self._without_background)
        self._extremes.zero_()
        self._without_background.zero_()
        return [label for label in (least, greatest) if not 0 <= label < self._classes], without


def class_weights(counts: torch.Tensor) -> torch.Tensor:
    """Return the weight of each class in the gradient of a mini-batch: the rarest class's count over its own.

    Classes that the batch lacks do not count, and have no weight.

    Parameters
    ----------
    counts : torch.Tensor of int64, shape (classes,)

    Returns
    -------
    torch.Tensor of float32, shape (classes,)

    Examples
    --------
    >>> [class_weights(torch.tensor(counts)).tolist() for counts in ([30, 15], [40, 0], [0, 40])]
    [[0.5, 1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    there = counts.double()
    rarest = torch.where(counts > 0, there, torch.inf).min()
    return torch.where(counts > 0, rarest / there, 0.0).float()


class _Loss(torch.autograd.Function):
    """Mean negative log probability forward; weighted softmax gradient backward."""

    @staticmethod
    def forward(
        ctx: Any,
        scores: torch.Tensor,
        label: torch.Tensor,
        valid: torch.Tensor,
        weights: torch.Tensor,
        divisor: torch.Tensor | float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        probability = torch.softmax(scores, dim=1)
        ctx.save_for_backward(probability, label, weights)
        ctx.divisor = divisor
        ctx.mark_non_differentiable(probability)
        chosen = probability.gather(1, label.unsqueeze(1)).squeeze(1).clamp_min(SMALLEST_PROBABILITY)
        return -(chosen.log() * valid).sum() / divisor, probability

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        probability, label, weights = ctx.saved_tensors
        classes = torch.arange(probability.shape[1], device=label.device).view(-1, *[1] * (label.dim() - 1))
        gradient = probability - (label.unsqueeze(1) == classes).to(probability.dtype)
        return gradient * (weights.unsqueeze(1) * (gradients[0] / ctx.divisor)), None, None, None, None


def _count(shape: Shape) -> int:
    count = 1
    for side in shape:
        count *= side
    return count
