"""The training net of a model of which only the net that predicts is left, as in the models that are published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdeep3m.errors import NetError
from cdeep3m.nets import irregular
from cdeep3m.nets.binning import learning_layers
from cdeep3m.nets.prototxts import NETS, TEST_BATCH, NetMake, append_patches, append_score, made, train_val
from cdeep3m.nets.spec import Blob, drop_last_axis
from cdeep3m.proto.caffe_pb2 import TEST, TRAIN, LayerParameter, NetParameter, NetStateRule
from cdeep3m.proto.prototxt import input_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cdeep3m.proto.caffe_pb2 import ParamSpec

INPUT_AXES = 5


def training_net(net: str, deploy: NetParameter, *, make: NetMake | None = None) -> NetParameter:
    """Return the net that trains on what `deploy` predicts with: patches before it, loss and accuracy behind it.

    Parameters
    ----------
    net : str
        Its name. Layers that DeepEM3D's net of this name has, too, learn at its rates unless `deploy` names some.
    deploy : NetParameter
        A net with one input (n, 1, x, y, z); a Softmax at its end is left away.
    make : NetMake, optional
        Its patches, its batches, its classes and the memory of its BatchNorm layers; the width is that of `deploy`.

    Returns
    -------
    NetParameter

    Raises
    ------
    NetError
        `deploy` is fed otherwise.
    """
    make = make or NetMake()
    layers = [layer for layer in deploy.layer if _predicts(layer)]
    data, frames = _input(deploy, layers)
    layers = learning_layers(layer for layer in layers if layer.type != "Input")
    if layers and layers[-1].type == "Softmax":
        scores = layers.pop().bottom[0]
    elif layers and layers[-1].top:
        scores = layers[-1].top[0]
    else:
        raise NetError("the net that predicts has no layer that scores the classes")
    spec = NetParameter()
    for phase, batch in zip((TRAIN, TEST), (make.batch, TEST_BATCH), strict=True):
        append_patches(spec, phase, (make.patch_side, make.patch_side, frames), batch, data=data, classes=make.classes)
    rates = _rates(net)
    spec.layer.extend(_learning(layer, rates) for layer in layers)
    label = drop_last_axis(Blob(spec, "label"), irregular.RESHAPE)
    append_score(Blob(spec, scores), label, classes=make.classes)
    return made(spec, make)


def _input(deploy: NetParameter, layers: Sequence[LayerParameter]) -> tuple[str, int]:
    """Return the name of the blob that `deploy` is fed with, and its number of planes."""
    shapes = input_shapes(deploy, layers)
    if len(shapes) != 1 or any(len(shape) != INPUT_AXES for shape in shapes.values()):
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
        raise NetError(f"expected one input of five axes (n, 1, x, y, z) in the net that predicts; found {found}")
    name, shape = next(iter(shapes.items()))
    return name, shape[-1]


def _predicts(layer: LayerParameter) -> bool:
    """Return whether the rules of `layer` leave it in a net that predicts."""
    if layer.include:
        return any(map(_allows_test, layer.include))
    return not any(map(_allows_test, layer.exclude))


def _allows_test(rule: NetStateRule) -> bool:
    return not rule.HasField("phase") or rule.phase == TEST


def _learning(layer: LayerParameter, rates: Mapping[str, Sequence[ParamSpec]]) -> LayerParameter:
    """Return `layer` without what is said of prediction alone, and with rates to learn at."""
    learning = LayerParameter()
    learning.CopyFrom(layer)
    for field in ("phase", "include", "exclude", "blobs"):
        learning.ClearField(field)
    if not learning.param:
        learning.param.extend(rates.get(layer.name, ()))
    return learning


def _rates(net: str) -> dict[str, Sequence[ParamSpec]]:
    return {layer.name: layer.param for layer in train_val(net).layer} if net in NETS else {}
