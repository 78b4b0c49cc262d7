"""Accuracy: the share of pixels that are classified right, overall and per class.

Sources: `loss`, a Loss that may name a label to leave out beside the layer's own.
"""

from __future__ import annotations

import math

import torch

from cdeep3m.engines.embedded.net.layers.base import Layer, Shape
from cdeep3m.errors import InputError


class Accuracy(Layer):
    """Bottoms: scores (n, c, ...) and labels (n, [1,] ...). Tops: accuracy (scalar) and, if asked for, recall (c,)."""

    def setup(self, shapes: tuple[Shape, ...]) -> None:
        """Check that there is a label for every pixel."""
        scores, labels = shapes
        settings = self.message.accuracy_param
        self.axis = settings.axis % len(scores)
        self.classes = scores[self.axis]
        loss = self.context.sources.get("loss")
        own = [settings.ignore_label] if settings.HasField("ignore_label") else []
        self.ignored = [*own, *([loss.ignore] if loss and loss.ignore is not None else [])]
        if math.prod(scores) != math.prod(labels) * self.classes:
            raise self.error(f"expected a label for every pixel of the scores, found {self.describe(shapes)}")
        if settings.top_k > self.classes:
            raise self.error(f"top_k {settings.top_k} of {self.classes} classes")

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the shapes of accuracy and recall."""
        del shapes
        return ((), (self.classes,))[: len(self.tops)]

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return accuracy and recall; 0 where there is nothing to count."""
        scores = bottoms[0].detach().movedim(self.axis, -1).reshape(-1, self.classes)
        label = bottoms[1].reshape(-1).long()
        for ignored in self.ignored:
            scores, label = scores[label != ignored], label[label != ignored]
        self._check(label)
        right = among_best(scores, label, self.message.accuracy_param.top_k)
        accuracy = right.sum() / max(len(label), 1)
        if len(self.tops) == 1:
            return (accuracy,)
        of_class = [label == c for c in range(self.classes)]
        return accuracy, torch.stack([right[mine].sum() / mine.sum().clamp_min(1) for mine in of_class])

    def _check(self, label: torch.Tensor) -> None:
        unknown = label[(label < 0) | (label >= self.classes)]
        if len(unknown):
            expected = ", ".join(map(str, range(self.classes)))
            found = ", ".join(map(str, torch.unique(unknown).tolist()[:10]))
            raise InputError(f"layer {self.name} ({self.type}): expected labels {expected}; found {found}")


def among_best(scores: torch.Tensor, label: torch.Tensor, best: int) -> torch.Tensor:
    """Return for every pixel whether its label is among the `best` classes.

    Of equal scores the higher class comes first, as in accuracy_layer.cpp (it sorts pairs of score and class).

    Parameters
    ----------
    scores : torch.Tensor of float32, shape (pixel, class)
    label : torch.Tensor of int64, shape (pixel,)
    best : int

    Returns
    -------
    torch.Tensor of bool, shape (pixel,)
    """
    own = scores.gather(1, label.unsqueeze(1))
    later = torch.arange(scores.shape[1], device=scores.device) > label.unsqueeze(1)
    before = (scores > own) | ((scores == own) & later)
    return before.sum(1) < best
