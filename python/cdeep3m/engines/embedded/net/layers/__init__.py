"""One layer type of Caffe, one module."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from cdeep3m.errors import NetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.engines.embedded.net.layers.base import Context, Layer, Shape
    from cdeep3m.proto import caffe_pb2

MODULES = {
    "Accuracy": "accuracy",
    "BatchNorm": "batch_norm",
    "Concat": "concat",
    "Convolution": "convolution",
    "Crop": "crop",
    "Deconvolution": "deconvolution",
    "Dropout": "dropout",
    "DummyData": "dummy_data",
    "Eltwise": "eltwise",
    "Flatten": "flatten",
    "HDF5Data": "hdf5_data",
    "InnerProduct": "inner_product",
    "Input": "input",
    "PatchData": "patch_data",
    "Pooling": "pooling",
    "Power": "power",
    "ReLU": "relu",
    "Reshape": "reshape",
    "Scale": "scale",
    "Sigmoid": "sigmoid",
    "Silence": "silence",
    "Slice": "slice",
    "Softmax": "softmax",
    "SoftmaxWithLoss": "softmax_with_loss",
    "Split": "split",
    "TanH": "tanh",
}
"""Module of every known layer type; the class in it has the type's name."""


def make_layer(message: caffe_pb2.LayerParameter, shapes: Sequence[Shape], context: Context) -> Layer:
    """Build the layer that `message` describes.

    Parameters
    ----------
    message : LayerParameter
        The layer.
    shapes : sequence of tuple of int
        Shapes of its bottoms.
    context : Context
        The net's settings.

    Raises
    ------
    NetError
        When its type is unknown, or its settings do not fit the bottoms.
    """
    if message.type not in MODULES:
        raise NetError(f"layer {message.name}: unknown type {message.type!r}; known are {', '.join(MODULES)}")
    module = import_module(f"{__name__}.{MODULES[message.type]}")
    return cast("Layer", getattr(module, message.type)(message, shapes, context))
