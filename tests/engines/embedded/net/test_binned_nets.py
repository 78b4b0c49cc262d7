"""Nets that look at binned pixels, computed: the same net between layers that are never learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from cdeep3m.engines.base import LabelledVolume, TrainedModel
from cdeep3m.engines.embedded.engine import EmbeddedEngine
from cdeep3m.engines.embedded.net.executor import Net
from cdeep3m.errors import NetError
from cdeep3m.models.verify import verify_net
from cdeep3m.nets.binning import BIN, BIN_SMOOTHLY, ENLARGE, ENLARGE_EVENLY
from cdeep3m.nets.prototxts import DEPLOY, FRAMES, NETS, NetMake, deploy
from cdeep3m.proto import caffe_pb2
from cdeep3m.proto.caffemodel import blob_to_array, read_model
from cdeep3m.training.folder import create_run
from cdeep3m.training.run import NetTraining, SolverSettings, train_net

SIDES = (64, 96)


def loaded(net, **make):
    message, device = deploy(net, width=32, **make), torch.device("cpu")
    filled = Net(message, phase=caffe_pb2.TRAIN, device=device, generator=torch.Generator().manual_seed(1))
    made = Net(message, phase=caffe_pb2.TEST, device=device)
    made.share_weights(filled)
    draws = torch.Generator().manual_seed(2)
    for layer in made.layers:
        if layer.message.type in ("BatchNorm", "Scale"):  # that nothing is cut off at 0
            for blob in layer.blobs:
                blob.data.copy_(0.5 + torch.rand(blob.shape, generator=draws))
    return made


@pytest.mark.parametrize("net", NETS)
def test_scores_are_those_of_the_same_net_on_smoothly_binned_images_enlarged(net):
    whole = loaded(net, binning=2, sides=SIDES)
    small = loaded(net, sides=(SIDES[0] // 2, SIDES[1] // 2))
    weights = {layer.name: layer.blobs for layer in whole.layers}
    for layer in small.layers:
        for blob, known in zip(layer.blobs, weights[layer.name], strict=True):
            blob.data.copy_(known)
    image = torch.randint(0, 256, (1, 1, *SIDES, FRAMES[net]), generator=torch.Generator().manual_seed(3)).float()
    binned = functional.avg_pool3d(image, (4, 4, 1), (2, 2, 1), (1, 1, 0), count_include_pad=False)
    expected = small.forward({"data": binned}, keep=("deconv_all_sum",))["deconv_all_sum"]
    enlarged = functional.interpolate(expected, scale_factor=2, mode="bilinear", align_corners=False)
    found = whole.forward({"data": image}, keep=(ENLARGE_EVENLY,))[ENLARGE_EVENLY]
    assert found.shape == (1, 2, *SIDES)
    assert enlarged.std() > 0
    torch.testing.assert_close(found, enlarged)


def test_each_class_is_enlarged_by_itself():
    scores = loaded("1fm", binning=2, classes=3, sides=SIDES)
    layer = next(layer for layer in scores.layers if layer.name == ENLARGE)
    given = torch.zeros(1, 3, 4, 4)
    given[0, 1] = 7.0
    (found,) = layer.forward(given)
    assert torch.count_nonzero(found[:, [0, 2]]) == 0
    torch.testing.assert_close(found[0, 1, 2:-2, 2:-2], torch.full((4, 4), 7.0))


def test_a_training_learns_everything_but_the_two_layers(tmp_path):
    create_run(tmp_path, make=NetMake(width=32, binning=2, patch_side=32, batch=2))
    draws = np.random.default_rng(0)
    label = draws.integers(0, 2, (64, 64, 3)).astype(np.uint8)
    volume = LabelledVolume((label * 200).astype(np.uint8), label)
    settings = SolverSettings(numiterations=2, iter_size=1, snapshot_interval=2, seed=1, weight_decay=0.1)
    train_net(
        NetTraining(folder=tmp_path / "1fm", settings=settings),
        EmbeddedEngine(),
        training=[volume],
        validation=[volume],
    )
    (weights,) = (tmp_path / "1fm" / "trainedmodel").glob("*.caffemodel")
    blobs = {layer.name: [blob_to_array(blob) for blob in layer.blobs] for layer in read_model(weights).layer}
    assert np.array_equal(blobs[BIN][0], np.full((1, 1, 2, 2, 1), 0.25, np.float32))
    kernel = np.outer(*2 * [[0.25, 0.75, 0.75, 0.25]]).astype(np.float32)
    assert np.array_equal(blobs[ENLARGE][0], np.broadcast_to(kernel, (2, 1, 4, 4)))
    assert blobs["conv1_2"][1].any()
    assert BIN_SMOOTHLY not in blobs
    model = TrainedModel(net="1fm", deploy=tmp_path / "1fm" / DEPLOY, weights=weights)
    (map_made,) = EmbeddedEngine().load(model).foreground([np.full((1, 32, 64), 90, np.uint8)])
    assert map_made.shape == (32, 64)
    assert np.isfinite(map_made).all()
    assert verify_net(tmp_path / "1fm", EmbeddedEngine()).problems == ()


def test_a_layer_that_learns_or_is_filled_at_random_is_not_made_up():
    message = deploy("1fm", width=32, binning=2, sides=SIDES)
    trained = loaded("1fm", binning=2, sides=SIDES).to_message()
    net = Net(message, phase=caffe_pb2.TEST, device=torch.device("cpu"))
    without = caffe_pb2.NetParameter(layer=[layer for layer in trained.layer if layer.name != BIN_SMOOTHLY])
    without.layer.add(name=BIN)  # as the net that trains calls it
    net.load_weights(without)
    values = next(layer.blobs[0] for layer in net.layers if layer.name == BIN_SMOOTHLY)
    assert torch.equal(values, torch.full((1, 1, 4, 4, 1), 1 / 16))
    for learned in ("conv1_1", "bn_conv1_1"):
        lacking = caffe_pb2.NetParameter(layer=[layer for layer in without.layer if layer.name != learned])
        with pytest.raises(NetError, match=f"layer {learned} .*: the model holds no weights for it"):
            net.load_weights(lacking)
    changed = caffe_pb2.NetParameter()
    changed.CopyFrom(message)
    fixed = next(layer for layer in changed.layer if layer.name == BIN_SMOOTHLY)
    for change in (lambda: fixed.param[0].ClearField("lr_mult"), lambda: _drawn(fixed)):
        change()
        net = Net(changed, phase=caffe_pb2.TEST, device=torch.device("cpu"))
        with pytest.raises(NetError, match=f"layer {BIN_SMOOTHLY} .*: the model holds no weights for it"):
            net.load_weights(without)


def _drawn(layer):
    layer.param[0].lr_mult = 0
    layer.convolution_param.weight_filler.type = "xavier"


@pytest.mark.parametrize(("net", "weights", "learned_from"), [(1, 2, "binned"), (2, 1, "whole")])
def test_weights_of_a_net_that_bins_and_one_that_does_not_are_never_mixed(net, weights, learned_from):
    target = loaded("1fm", binning=net, sides=SIDES)
    before = [blob.detach().clone() for layer in target.layers for blob in layer.blobs]
    with pytest.raises(NetError, match=f"^the weights learned from {learned_from} pixels, .*the same --binning"):
        target.load_weights(Net(deploy("1fm", width=32, binning=weights), phase=caffe_pb2.TRAIN).to_message())
    after = [blob for layer in target.layers for blob in layer.blobs]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
