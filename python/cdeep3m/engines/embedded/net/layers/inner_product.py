"""InnerProduct: every output sees every input."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch.nn import functional

from cdeep3m.engines.embedded.net.layers.base import Layer, Shape

if TYPE_CHECKING:
    import torch


class InnerProduct(Layer):
    """Caffe's InnerProduct: the axes from `axis` (1 by default) on are one vector; weights (out, in)."""

    def setup(self, shapes: tuple[Shape, ...]) -> None:
        """Make weights and bias."""
        param = self.message.inner_product_param
        self.axis = param.axis % len(shapes[0])
        self.inputs = math.prod(shapes[0][self.axis :])
        self.add_blob((param.num_output, self.inputs), param.weight_filler)
        if param.bias_term:
            self.add_blob((param.num_output,), param.bias_filler)

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the top's shape; bottoms must hold as many inputs as the weights were made for."""
        if math.prod(shapes[0][self.axis :]) != self.inputs:
            raise self.error(f"expected {self.inputs} inputs, found {self.describe(shapes)}")
        return ((*shapes[0][: self.axis], self.message.inner_product_param.num_output),)

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the bottom, as vectors, times the weights, plus the bias."""
        bias = self.blobs[1] if len(self.blobs) > 1 else None
        return (functional.linear(bottoms[0].flatten(self.axis), self.blobs[0], bias),)
