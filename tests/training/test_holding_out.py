"""Planes that are held out of a training."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cdeep3m.errors import InputError
from cdeep3m.nets.prototxts import FRAMES, NETS
from cdeep3m.training.holding_out import FEWEST_TRAINED, Split, gap_of
from cdeep3m.volumes.labels import IGNORED


def volume(planes):
    """Return a volume whose voxels tell their plane, and labels of both classes in each."""
    data = np.broadcast_to(np.arange(planes)[:, None, None], (planes, 3, 4))
    return data, np.broadcast_to([0, 0, 1, 1], data.shape)


@pytest.mark.parametrize("nets", [("1fm",), ("3fm",), ("5fm",), NETS])
@pytest.mark.parametrize("planes", [12, 25])
def test_no_plane_is_seen_both_in_training_and_in_scoring(nets, planes):
    data, label = volume(planes)
    trained, _, held = Split(share=0.2, gap=gap_of(nets)).of(data, label)
    reach = max(FRAMES[net] // 2 for net in nets)
    seen = {int(z) for z in held.data[max(0, held.first - reach) :, 0, 0]}
    assert seen.isdisjoint(trained[:, 0, 0].tolist())
    assert len(trained) + len(held.data) == planes
    assert len(held.data) - held.first == round(0.2 * planes)


def test_images_and_labels_are_split_alike():
    data, _ = volume(10)
    label = data % 2
    trained, labels, held = Split(share=0.3, gap=1).of(data, label)
    assert_array_equal(labels, trained % 2)
    assert_array_equal(held.label, held.data % 2)
    assert held.words == "planes 8 to 10 of 10, held out"


def test_too_few_planes_are_refused_with_what_would_do():
    data, label = volume(FEWEST_TRAINED + 2)
    with pytest.raises(
        InputError, match="images has 5 planes: 1 held out and a gap of 2 leave 2 to train on.*--holdout 0"
    ):
        Split(share=0.1, gap=2).of(data, label, name="images")
    assert Split(share=0.1, gap=1).of(data, label)[0].shape[0] == FEWEST_TRAINED


@pytest.mark.parametrize(("value", "found"), [(0, "background alone"), (1, "foreground alone")])
def test_held_out_planes_with_nothing_to_tell_apart_are_refused(value, found):
    data, label = volume(10)
    label = label.copy()
    label[8:] = value
    with pytest.raises(InputError, match=found):
        Split(share=0.2, gap=1).of(data, label)


def test_voxels_that_do_not_count_are_not_something_to_tell_apart():
    data, label = volume(10)
    label = label.copy()
    label[8:] = np.array([0, 0, IGNORED, IGNORED])
    with pytest.raises(InputError, match="background alone"):
        Split(share=0.2, gap=1).of(data, label)


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5])
def test_parts_out_of_range_are_refused(share):
    with pytest.raises(InputError, match="expected a part of the planes"):
        Split(share=share, gap=1)
