"""Nets that look at binned pixels: the same net between layers that are never learned."""

from __future__ import annotations

import pytest

from cdeep3m.errors import InputError
from cdeep3m.nets.binning import BIN, BIN_SMOOTHLY, ENLARGE
from cdeep3m.nets.fits import fit_of_layers
from cdeep3m.nets.prototxts import DEPLOY, TRAIN_VAL, NetMake, deploy, messages, train_val, with_initialisation
from cdeep3m.nets.shapes import blob_shapes
from cdeep3m.proto.caffe_pb2 import LayerParameter, NetParameter


def test_without_binning_nets_are_those_of_before():
    assert messages("3fm", make=NetMake(binning=1)) == messages("3fm")
    assert BIN not in [layer.name for layer in deploy("3fm").layer]


@pytest.mark.parametrize("file", [DEPLOY, TRAIN_VAL])
def test_no_initialisation_reaches_what_is_not_learned(file):
    net = messages("1fm", make=NetMake(binning=2, patch_side=64, initialisation="msra"))[file]
    fillers = {each.name: each.convolution_param.weight_filler.type for each in net.layer}
    assert (fillers[BIN if file == TRAIN_VAL else BIN_SMOOTHLY], fillers[ENLARGE]) == ("constant", "bilinear")


def test_a_convolution_whose_filler_is_left_unsaid_is_filled_all_the_same():
    net = NetParameter(layer=[LayerParameter(name="mine", type="Convolution")])
    assert with_initialisation(net, "msra").layer[0].convolution_param.weight_filler.type == "msra"


def test_weights_are_known_as_those_of_the_net_that_is_binned():
    shapes = {name: blobs for name, blobs in blob_shapes(train_val("5fm", width=8, binning=2)).items() if blobs}
    assert shapes[BIN] == [(1, 1, 2, 2, 1)]
    assert shapes[ENLARGE] == [(2, 1, 4, 4)]
    fit = fit_of_layers(shapes)
    assert fit
    assert (fit.net, fit.width) == ("5fm", 8)


def test_patches_that_binning_does_not_divide_and_other_binnings_are_refused():
    with pytest.raises(InputError, match="--patch_side 48 with --binning 2: expected a multiple of 32"):
        NetMake(binning=2, patch_side=48)
    with pytest.raises(InputError, match="--binning 3: expected one of 1, 2"):
        NetMake(binning=3)
