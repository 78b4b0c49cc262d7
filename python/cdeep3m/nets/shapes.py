"""Shapes of the learnable blobs of a net, told from its layers alone, without an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cdeep3m.proto.prototxt import input_shapes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.proto.caffe_pb2 import ConvolutionParameter, LayerParameter, NetParameter

Shape = tuple[int, ...]

FIRST_SPATIAL = 2
"""Axis number of image x, after those of patch and channel."""

LIKE_THE_BOTTOM = frozenset(
    {
        *("BatchNorm", "Bias", "Crop", "Dropout", "Eltwise", "LRN", "Pooling", "Power", "PReLU", "ReLU", "Scale"),
        *("Sigmoid", "Softmax", "Split", "TanH"),
    }
)
"""Layers whose tops have the channels and the number of axes that their first bottom has."""

WITHOUT_BLOBS = LIKE_THE_BOTTOM - {"BatchNorm", "Bias", "PReLU", "Scale"} | {
    *("Accuracy", "Concat", "DummyData", "Flatten", "HDF5Data", "Input", "PatchData", "Reshape", "Silence", "Slice"),
    "SoftmaxWithLoss",
}


class Top(NamedTuple):
    """What must be known of a blob to tell the weights of a layer that reads it: its channels and its axes."""

    channels: int
    axes: int


def blob_shapes(net: NetParameter) -> dict[str, list[Shape] | None]:
    """Return the shapes of the learnable blobs of every layer of `net`.

    Parameters
    ----------
    net : NetParameter
        For prediction or for training.

    Returns
    -------
    dict of str to list of tuple of int, or to None
        By layer name, in order; the empty list for a layer without blobs, None where only an engine can tell. Of layers
        of one name, the first one that has blobs counts.

    Examples
    --------
    >>> from cdeep3m.nets.prototxts import deploy
    >>> blob_shapes(deploy("3fm", width=8))["conv1_2"]
    [(8, 4, 3, 3, 2), (8,)]
    """
    tops = {name: Top(shape[1], len(shape)) for name, shape in input_shapes(net).items()}
    shapes: dict[str, list[Shape] | None] = {}
    for layer in net.layer:
        bottoms = [tops.get(name) for name in layer.bottom]
        shapes[layer.name] = shapes.get(layer.name) or _blobs(layer, bottoms)
        _note_tops(tops, layer, bottoms)
    return shapes


def classes_of(net: NetParameter) -> int | None:
    """Return how many classes a net that predicts tells apart, the channels of its last blob; None: not to be told.

    Examples
    --------
    >>> from cdeep3m.nets.prototxts import deploy
    >>> classes_of(deploy("1fm")), classes_of(deploy("3fm", width=8, classes=4))
    (2, 4)
    """
    tops = {name: Top(shape[1], len(shape)) for name, shape in input_shapes(net).items()}
    for layer in net.layer:
        _note_tops(tops, layer, [tops.get(name) for name in layer.bottom])
    last = tops.get(net.layer[-1].top[0]) if net.layer and net.layer[-1].top else None
    return last.channels if last else None


def _blobs(layer: LayerParameter, bottoms: Sequence[Top | None]) -> list[Shape] | None:
    if layer.type in WITHOUT_BLOBS or (layer.type == "Scale" and len(bottoms) > 1):
        return []
    if not bottoms or bottoms[0] is None:
        return None
    channels, axes = bottoms[0]
    if layer.type == "BatchNorm":
        return [(channels,), (channels,), (1,)]
    if layer.type == "Scale" and layer.scale_param.axis == layer.scale_param.num_axes == 1:
        return [(channels,)] * (1 + layer.scale_param.bias_term)
    if layer.type in ("Convolution", "Deconvolution"):
        return _kernel_blobs(layer, channels, axes - FIRST_SPATIAL)
    return None


def _kernel_blobs(layer: LayerParameter, channels: int, spatial_axes: int) -> list[Shape]:
    param = layer.convolution_param
    ends = (param.num_output, channels // param.group)
    if layer.type == "Deconvolution":
        ends = (channels, param.num_output // param.group)
    weights = (*ends, *_kernel_sides(param, spatial_axes))
    return [weights, (param.num_output,)] if param.bias_term else [weights]


def _kernel_sides(param: ConvolutionParameter, axes: int) -> Shape:
    if param.HasField("kernel_h"):
        return (param.kernel_h, param.kernel_w)
    sides = tuple(param.kernel_size)
    return sides * axes if len(sides) == 1 else sides


def _note_tops(tops: dict[str, Top], layer: LayerParameter, bottoms: Sequence[Top | None]) -> None:
    """Write the tops of `layer` to `tops`, and forget those that cannot be told."""
    if layer.type == "Input":
        return
    for i, name in enumerate(layer.top):
        top = _top(layer, bottoms, i)
        if top is None:
            tops.pop(name, None)
        else:
            tops[name] = top


def _top(layer: LayerParameter, bottoms: Sequence[Top | None], index: int) -> Top | None:
    if layer.type == "PatchData":
        sampler = layer.patch_sampler_param
        return Top(1, FIRST_SPATIAL + len((sampler.label_patch_shape if index else sampler.data_patch_shape).dim))
    known = [bottom for bottom in bottoms if bottom is not None]
    if not known or len(known) < len(bottoms):
        return None
    if layer.type in ("Convolution", "Deconvolution"):
        return Top(layer.convolution_param.num_output, known[0].axes)
    if layer.type == "Concat":
        return Top(sum(bottom.channels for bottom in known), known[0].axes) if _joins_channels(layer) else known[0]
    if layer.type == "Reshape":
        return _reshaped(layer, known[0])
    return known[0] if layer.type in LIKE_THE_BOTTOM else None


def _joins_channels(layer: LayerParameter) -> bool:
    param = layer.concat_param
    return (param.concat_dim if param.HasField("concat_dim") else param.axis) == 1


def _reshaped(layer: LayerParameter, bottom: Top) -> Top | None:
    """Return the top of a Reshape that names every axis, and None of one that needs the sides to be known."""
    param, dims = layer.reshape_param, layer.reshape_param.shape.dim
    if param.axis or param.num_axes != -1 or len(dims) < FIRST_SPATIAL or dims[1] < 0:
        return None
    return Top(dims[1] or bottom.channels, len(dims))


def shape_text(shape: Shape) -> str:
    """Return a shape as Caffe's users write it.

    >>> shape_text((1, 2, 96, 80))
    '1x2x96x80'
    """
    return "x".join(map(str, shape)) or "scalar"
