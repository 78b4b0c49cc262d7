"""One layer on its own: built from protobuf text, run on arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from google.protobuf import text_format
from numpy.testing import assert_array_equal

from cdeep3m.engines.embedded.net.layers import make_layer
from cdeep3m.engines.embedded.net.layers.base import Context, Layer
from cdeep3m.proto.caffe_pb2 import TEST, LayerParameter

if TYPE_CHECKING:
    from collections.abc import Sequence


def make(text: str, *shapes: tuple[int, ...], phase: int = TEST, tops: int = 1, seed: int = 0) -> Layer:
    """Build the layer that `text` says, named "it", with bottoms "b0", "b1", ... and tops "t0", "t1", ..."""
    message = text_format.Parse(text, LayerParameter(name="it"))
    message.bottom.extend(f"b{i}" for i in range(len(shapes)))
    message.top.extend(f"t{i}" for i in range(tops))
    return make_layer(message, shapes, Context(phase=phase, generator=torch.Generator().manual_seed(seed)))


def give(layer: Layer, *values: np.ndarray) -> None:
    """Set a layer's blobs, which must have the shapes of `values`."""
    assert [tuple(blob.shape) for blob in layer.blobs] == [np.shape(value) for value in values]
    with torch.no_grad():
        for blob, value in zip(layer.blobs, values, strict=True):
            blob.copy_(torch.from_numpy(np.array(value, dtype=np.float32)))


def forward(layer: Layer, *bottoms: np.ndarray) -> list[np.ndarray]:
    """Return the tops, once they have the shapes that the layer announced and the bottoms are as they were."""
    tensors = [torch.from_numpy(np.array(bottom, dtype=np.float32)) for bottom in bottoms]
    before = [tensor.clone().numpy() for tensor in tensors]
    tops = [top.detach().numpy() for top in layer.forward(*tensors)]
    assert [top.shape for top in tops] == list(layer.top_shapes(*(tuple(tensor.shape) for tensor in tensors)))
    for tensor, values in zip(tensors, before, strict=True):
        assert_array_equal(tensor.numpy(), values)
    return tops


def run(
    text: str, *bottoms: np.ndarray, blobs: Sequence[np.ndarray] = (), phase: int = TEST, tops: int = 1
) -> list[np.ndarray]:
    """Build a layer, give it `blobs` where there are any, and return its tops."""
    layer = make(text, *(np.shape(bottom) for bottom in bottoms), phase=phase, tops=tops)
    if blobs:
        give(layer, *blobs)
    return forward(layer, *bottoms)


def addresses(*shape: int) -> np.ndarray:
    """Small numbers, all different and in no regular order."""
    count = int(np.prod(shape))
    return ((np.arange(count) * 37 + 11) % (count + (37 if count % 37 == 0 else 0)) - count / 2).reshape(shape) / 8
