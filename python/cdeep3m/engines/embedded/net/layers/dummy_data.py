"""DummyData: blobs filled by fillers, for trying nets out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdeep3m.engines.embedded.net.layers.base import Layer, Shape
from cdeep3m.engines.embedded.net.layers.fillers import fill
from cdeep3m.proto import caffe_pb2

if TYPE_CHECKING:
    import torch


class DummyData(Layer):
    """Caffe's DummyData: a shape and a filler for each top, or one for all."""

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the shapes that the message names."""
        del shapes
        param = self.message.dummy_data_param
        old = zip(param.num, param.channels, param.height, param.width, strict=False)
        named: list[Shape] = [tuple(shape.dim) for shape in param.shape] or list(old)
        if len(named) not in (1, len(self.tops)):
            raise self.error(f"{len(named)} shapes for {len(self.tops)} tops, expected one, or one each")
        return tuple(named * (len(self.tops) if len(named) == 1 else 1))

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Fill every top anew."""
        del bottoms
        fillers = list(self.message.dummy_data_param.data_filler) or [caffe_pb2.FillerParameter()]
        if len(fillers) not in (1, len(self.tops)):
            raise self.error(f"{len(fillers)} fillers for {len(self.tops)} tops, expected one, or one each")
        fillers = fillers * (len(self.tops) if len(fillers) == 1 else 1)
        blobs = (fill(*pair, self.context.generator) for pair in zip(self.top_shapes(), fillers, strict=True))
        return tuple(blob.to(self.context.device) for blob in blobs)
