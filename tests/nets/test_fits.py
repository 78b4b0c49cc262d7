"""Which net some weights belong to."""

from __future__ import annotations

import pytest

from cdeep3m.nets.fits import Fit, expected_shapes, fit_of_history, fit_of_layers
from cdeep3m.nets.prototxts import NETS
from cdeep3m.proto.caffemodel import blob_shape, read_model, read_state


@pytest.mark.parametrize("width", [1, 2, 3, 8, 16, 31])
@pytest.mark.parametrize("net", NETS)
def test_a_net_fits_itself_and_no_other(net, width):
    shapes = expected_shapes(net, width)
    assert fit_of_layers(shapes) == Fit(net, width)
    assert fit_of_history([shape for blobs in shapes.values() for shape in blobs]) == Fit(net, width)


def test_of_divisors_that_make_the_same_net_the_smallest_is_named():
    assert expected_shapes("1fm", 231) == expected_shapes("1fm", 256)
    assert fit_of_layers(expected_shapes("1fm", 256)).width == 231


@pytest.mark.parametrize(("folder", "width"), [("training_steps", 32), ("prediction", 8)])
@pytest.mark.parametrize("net", NETS)
def test_models_that_caffe_wrote_are_recognised(reference, net, folder, width):
    for path in (reference / "caffe" / folder / net).glob("*.caffemodel"):
        shapes = {layer.name: [blob_shape(blob) for blob in layer.blobs] for layer in read_model(path).layer}
        assert fit_of_layers({name: blobs for name, blobs in shapes.items() if blobs}) == Fit(net, width)


@pytest.mark.parametrize("net", NETS)
def test_states_that_caffe_wrote_are_recognised(reference, net):
    for path in (reference / "caffe" / "training_steps" / net).glob("*.solverstate"):
        assert fit_of_history([blob_shape(blob) for blob in read_state(path).history]) == Fit(net, 32)


def test_vectors_of_old_files_have_four_axes():
    old = {
        name: [(1,) * (4 - len(shape)) + shape for shape in blobs] for name, blobs in expected_shapes("5fm", 8).items()
    }
    assert fit_of_layers(old) == Fit("5fm", 8)
    assert fit_of_history([shape for blobs in old.values() for shape in blobs]) == Fit("5fm", 8)


def test_what_does_not_fit_is_named():
    shapes = dict(expected_shapes("3fm", 8))
    shapes["conv1_1"] = [(4, 1, 3, 3, 4), (4,)]
    del shapes["conv2_1b"]
    fit = fit_of_layers(shapes)
    assert not fit
    assert (fit.net, fit.width) == ("3fm", 8)
    assert fit.problems == (
        "layer conv1_1 has blobs 4x1x3x3x4, 4, expected 4x1x3x3x3, 4",
        "layer conv2_1b is missing",
    )


def test_more_layers_than_the_net_has_do_no_harm():
    assert fit_of_layers({**expected_shapes("1fm", 8), "another": [(3, 3)]}) == Fit("1fm", 8)


def test_weights_of_other_nets_fit_none():
    assert fit_of_layers({"fc6": [(4096, 9216), (4096,)]}) is None
    assert fit_of_layers({}) is None
    assert fit_of_history([(4096, 9216), (4096,)]) is None
    assert fit_of_history([]) is None


def test_a_wider_net_of_the_same_layers_is_compared_with_the_full_one():
    shapes = {
        name: [tuple(2 * side for side in shape) for shape in blobs]
        for name, blobs in expected_shapes("1fm", 1).items()
    }
    fit = fit_of_layers(shapes)
    assert not fit
    assert fit.width == 1


def test_nets_of_several_classes_are_told_with_their_number():
    assert fit_of_layers(expected_shapes("3fm", 8, 5)) == Fit("3fm", 8, classes=5)


def test_states_of_solvers_that_keep_two_blobs_for_each_are_told():
    shapes = [shape for blobs in expected_shapes("1fm", 16).values() for shape in blobs]
    assert fit_of_history([*shapes, *shapes]) == Fit("1fm", 16)
    assert fit_of_history([*shapes, *shapes, *shapes]) is None


def test_nets_that_keep_channels_or_bin_are_known():
    for make in ({"least": 16}, {"binning": 2}, {"least": 16, "binning": 2}):
        shapes = expected_shapes("1fm", 8, **make)
        assert fit_of_layers(shapes) == Fit("1fm", 8, **make)
        assert fit_of_layers(shapes).shapes == shapes
        assert fit_of_history([shape for blobs in shapes.values() for shape in blobs]) == Fit("1fm", 8, **make)
