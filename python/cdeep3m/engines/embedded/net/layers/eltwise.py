"""Eltwise: products, weighted sums or maxima of blobs of one shape."""

from __future__ import annotations

from functools import reduce

import torch

from cdeep3m.engines.embedded.net.layers.base import Layer, Shape
from cdeep3m.proto import caffe_pb2


class Eltwise(Layer):
    """Caffe's Eltwise: PROD, SUM (each bottom times its `coeff`) or MAX."""

    def setup(self, shapes: tuple[Shape, ...]) -> None:
        """Read the operation and the coefficients."""
        param = self.message.eltwise_param
        self.operation = param.operation
        self.coefficients = tuple(param.coeff) or (1.0,) * len(shapes)
        if len(self.coefficients) != len(shapes):
            raise self.error(f"{len(self.coefficients)} coeff for {len(shapes)} bottoms")
        if param.coeff and self.operation != caffe_pb2.EltwiseParameter.SUM:
            raise self.error("coeff goes with SUM only")

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the bottoms' common shape."""
        self.check_same(shapes)
        return (shapes[0],)

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Combine the bottoms, first to last."""
        if self.operation == caffe_pb2.EltwiseParameter.PROD:
            return (reduce(torch.mul, bottoms),)
        if self.operation == caffe_pb2.EltwiseParameter.MAX:
            return (reduce(torch.maximum, bottoms),)
        first = bottoms[0] if self.coefficients[0] == 1 else bottoms[0] * self.coefficients[0]
        rest = zip(bottoms[1:], self.coefficients[1:], strict=True)
        return (reduce(lambda total, term: torch.add(total, term[0], alpha=term[1]), rest, first),)
