"""Silence: take blobs and give none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdeep3m.engines.embedded.net.layers.base import Layer, Shape

if TYPE_CHECKING:
    import torch


class Silence(Layer):
    """Caffe's Silence: keeps unused blobs out of the net's outputs."""

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return no tops, whatever the bottoms."""
        del shapes
        return ()

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return no tops, whatever the bottoms."""
        del bottoms
        return ()
