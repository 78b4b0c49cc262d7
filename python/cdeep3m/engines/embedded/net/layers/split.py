"""Split: one blob under several names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdeep3m.engines.embedded.net.layers.base import Layer, Shape

if TYPE_CHECKING:
    import torch


class Split(Layer):
    """Caffe's Split; Caffe writes these into the nets that it saves."""

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the bottom's shape for every top."""
        return (shapes[0],) * len(self.tops)

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the bottom for every top."""
        return (bottoms[0],) * len(self.tops)
