"""Nets with random weights that keep blobs at sizes of about 1, as a training does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from cdeep3m.engines.base import TrainedModel
from cdeep3m.engines.embedded.net.executor import Net
from cdeep3m.engines.embedded.net.layers.batch_norm import BatchNorm
from cdeep3m.engines.embedded.net.layers.scale import Scale
from cdeep3m.nets.prototxts import deploy
from cdeep3m.proto import caffemodel, prototxt
from cdeep3m.proto.caffe_pb2 import TEST, NetParameter

if TYPE_CHECKING:
    from pathlib import Path


def random_net(message: NetParameter, seed: int = 0) -> Net:
    """Build `message` for TEST; its BatchNorm and Scale layers get random statistics, factors and biases."""
    generator = torch.Generator().manual_seed(seed)
    net = Net(message, phase=TEST, generator=generator)
    for layer in net.layers:
        if isinstance(layer, BatchNorm):
            mean, variance, factor = layer.blobs
            mean.copy_(torch.empty(mean.shape).normal_(generator=generator))
            variance.copy_(torch.empty(variance.shape).uniform_(0.5, 20, generator=generator))
            factor.fill_(2.5)
        elif isinstance(layer, Scale):
            for blob in layer.blobs:
                blob.copy_(torch.empty(blob.shape).uniform_(-1, 2, generator=generator))
        elif layer.blobs:
            layer.blobs[-1].add_(torch.empty(layer.blobs[-1].shape).normal_(0, 0.05, generator=generator))
    return net


def write_model(net: Net, folder: Path, name: str) -> TrainedModel:
    """Write deploy.prototxt and a .caffemodel to `folder`."""
    model = TrainedModel(
        net=name, deploy=folder / "deploy.prototxt", weights=folder / f"{name}_classifer_iter_1.caffemodel"
    )
    prototxt.write(model.deploy, net.message)
    caffemodel.write_model(model.weights, net.to_message())
    return model


def publish_random(folder: Path) -> None:
    """Write the folder of a training with a 3fm whose random weights are so large that planes differ in its maps."""
    net = random_net(deploy("3fm", width=32, sides=(48, 64)))
    for layer in net.layers:
        if layer.name.startswith("conv") and layer.blobs:
            layer.blobs[0].mul_(4)
    (folder / "3fm" / "trainedmodel").mkdir(parents=True)
    prototxt.write(folder / "3fm" / "deploy.prototxt", net.message)
    caffemodel.write_model(folder / "3fm" / "trainedmodel" / "3fm_classifer_iter_1.caffemodel", net.to_message())
