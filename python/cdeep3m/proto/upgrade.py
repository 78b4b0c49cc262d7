"""Bring nets of Caffe's format before 2014 (`layers`, with types as numbers) to the one since (`layer`)."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, cast

from cdeep3m.errors import FormatError
from cdeep3m.proto.caffe_pb2 import LayerParameter, NetParameter, ParamSpec, V1LayerParameter

V1 = V1LayerParameter

TYPES = {
    V1.ABSVAL: "AbsVal",
    V1.ACCURACY: "Accuracy",
    V1.ARGMAX: "ArgMax",
    V1.BNLL: "BNLL",
    V1.CONCAT: "Concat",
    V1.CONTRASTIVE_LOSS: "ContrastiveLoss",
    V1.CONVOLUTION: "Convolution",
    V1.DATA: "Data",
    V1.DECONVOLUTION: "Deconvolution",
    V1.DROPOUT: "Dropout",
    V1.DUMMY_DATA: "DummyData",
    V1.ELTWISE: "Eltwise",
    V1.EUCLIDEAN_LOSS: "EuclideanLoss",
    V1.EXP: "Exp",
    V1.FLATTEN: "Flatten",
    V1.HDF5_DATA: "HDF5Data",
    V1.HDF5_OUTPUT: "HDF5Output",
    V1.HINGE_LOSS: "HingeLoss",
    V1.IM2COL: "Im2col",
    V1.IMAGE_DATA: "ImageData",
    V1.INFOGAIN_LOSS: "InfogainLoss",
    V1.INNER_PRODUCT: "InnerProduct",
    V1.LRN: "LRN",
    V1.MEMORY_DATA: "MemoryData",
    V1.MULTINOMIAL_LOGISTIC_LOSS: "MultinomialLogisticLoss",
    V1.MVN: "MVN",
    V1.POOLING: "Pooling",
    V1.POWER: "Power",
    V1.RELU: "ReLU",
    V1.SIGMOID: "Sigmoid",
    V1.SIGMOID_CROSS_ENTROPY_LOSS: "SigmoidCrossEntropyLoss",
    V1.SILENCE: "Silence",
    V1.SLICE: "Slice",
    V1.SOFTMAX: "Softmax",
    V1.SOFTMAX_LOSS: "SoftmaxWithLoss",
    V1.SPLIT: "Split",
    V1.TANH: "TanH",
    V1.THRESHOLD: "Threshold",
    V1.WINDOW_DATA: "WindowData",
}
"""Name since 2014 of every old type; what it cannot run, an engine refuses with the layer's name and this one."""

REPEATED = ("bottom", "top", "blobs", "include", "exclude", "loss_weight")
PARAMETERS = tuple(name for name in V1.DESCRIPTOR.fields_by_name if name.endswith("_param"))
"""Fields that both kinds of layer have, with the same content."""


def upgraded(net: NetParameter) -> NetParameter:
    """Return `net` with a `layer` for each of its `layers`; a net without any is returned as it is.

    Parameters
    ----------
    net : NetParameter
        Of a .prototxt or of a .caffemodel. Blobs keep their layout.

    Returns
    -------
    NetParameter
        Fields of other forks stay in the net, in parameters and in blobs; those of an old layer itself have no place in
        a new one, whose numbers mean other things, and are left out.

    Raises
    ------
    FormatError
        A layer is older still (2013), has no type that Caffe knew, or the net has layers of both formats.

    Examples
    --------
    >>> old = V1LayerParameter(name="conv", type=V1LayerParameter.CONVOLUTION, blobs_lr=[1, 2])
    >>> upgraded(NetParameter(layers=[old])).layer[0].param[1].lr_mult
    2.0
    """
    if not net.layers:
        return net
    if net.layer:
        raise FormatError("the net has both `layers` (Caffe before 2014) and `layer` (since); expected one kind")
    new = NetParameter()
    new.CopyFrom(net)
    del new.layers[:]
    new.layer.extend(upgraded_layer(layer) for layer in net.layers)
    return new


def upgraded_layer(old: V1LayerParameter) -> LayerParameter:
    """Return the layer that `old` describes, as Caffe's upgrade_proto.cpp does.

    Raises
    ------
    FormatError
        The layer is of the format of 2013, or has no type that Caffe knew.
    """
    name = old.name or "(without a name)"
    if old.HasField("layer"):
        raise FormatError(
            f"layer {name} is in Caffe's format of 2013 (a `layer` within `layers`); bring the file to a later one "
            "with Caffe's upgrade_net_proto_text or upgrade_net_proto_binary"
        )
    if old.type not in TYPES:
        raise FormatError(f"layer {name} has no type that Caffe's old format (`layers`) knew")
    new = LayerParameter(type=TYPES[old.type], param=_param_specs(old))
    if old.HasField("name"):
        new.name = old.name
    for field in REPEATED:
        getattr(new, field).extend(getattr(old, field))
    for field in PARAMETERS:
        if old.HasField(cast("Any", field)):
            getattr(new, field).CopyFrom(getattr(old, field))
    return new


def _param_specs(old: V1LayerParameter) -> list[ParamSpec]:
    """Return what the four lists of an old layer say of each blob."""
    blobs = zip_longest(old.param, old.blob_share_mode, old.blobs_lr, old.weight_decay)
    return [
        ParamSpec(name=name, share_mode=cast("Any", mode), lr_mult=rate, decay_mult=decay)
        for name, mode, rate, decay in blobs
    ]
