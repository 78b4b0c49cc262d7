"""Dropout: switch off random values in TRAIN."""

from __future__ import annotations

import torch

from cdeep3m.engines.embedded.net.layers.base import SameShape


class Dropout(SameShape):
    """Caffe's Dropout: in TRAIN, zero with probability `dropout_ratio` and scale what remains; nothing in TEST."""

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the bottom; in TRAIN with random values set to 0 and the others scaled."""
        if not self.context.training:
            return (bottoms[0],)
        keep = 1 - self.message.dropout_param.dropout_ratio
        mask = torch.empty(bottoms[0].shape).bernoulli_(keep, generator=self.context.generator)
        return (bottoms[0] * mask.to(bottoms[0].device).div_(keep or 1),)
