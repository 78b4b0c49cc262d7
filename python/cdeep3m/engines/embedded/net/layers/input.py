"""Input: blobs that the caller gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdeep3m.engines.embedded.net.layers.base import Layer, Shape

if TYPE_CHECKING:
    import torch


class Input(Layer):
    """Caffe's Input: names blobs and their shapes; their values come with `Net.forward`."""

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the shapes that the message names."""
        del shapes
        named: list[Shape] = [tuple(shape.dim) for shape in self.message.input_param.shape]
        if len(named) not in (1, len(self.tops)):
            raise self.error(f"{len(named)} shapes for {len(self.tops)} tops, expected one, or one each")
        return tuple(named * (len(self.tops) if len(named) == 1 else 1))

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Refuse: values were not given."""
        del bottoms
        raise self.error(f"no values were given for {', '.join(self.tops)}")
