"""Patches come from where their labels come from, as often as PatchData draws them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from cdeep3m.engines.base import LabelledVolume
from cdeep3m.engines.patches import LabelSelection, PatchSampler, acceptance_rates, centre_range
from cdeep3m.errors import InputError
from cdeep3m.proto.caffe_pb2 import LabelProbMapping, LabelProbMappingParameter


def addresses(*shape: int) -> np.ndarray:
    return np.arange(1, 1 + math.prod(shape), dtype=np.float64).reshape(shape)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(
    sides=st.tuples(st.integers(5, 9), st.integers(5, 9), st.integers(1, 6)),
    frames=st.sampled_from([1, 3, 5]),
    seed=st.integers(0, 1000),
    transposed=st.booleans(),
)
@settings(deadline=None)
def test_data_and_label_have_the_same_place_and_z_is_filled_with_zeros(sides, frames, seed, transposed):
    volume = addresses(*sides[::-1]).transpose(2, 1, 0) if transposed else addresses(*sides)
    sampler = PatchSampler([LabelledVolume(volume, volume)], data_shape=(4, 3, frames), label_shape=(4, 3, 1))
    data, label = sampler.draw(rng(seed))
    assert data.shape == (1, 4, 3, frames)
    assert data.dtype == label.dtype == np.float32
    ((x, y, z),) = np.argwhere(volume == label[0, 0, 0, 0])
    padded = np.pad(volume, ((0, 0), (0, 0), (frames // 2, frames // 2)))
    assert_array_equal(label[0], volume[x : x + 4, y : y + 3, z : z + 1])
    assert_array_equal(data[0], padded[x : x + 4, y : y + 3, z : z + frames])


def test_every_place_is_drawn_but_the_last_one_of_an_even_side():
    volume = addresses(7, 6, 2)
    sampler = PatchSampler([LabelledVolume(volume, volume)], data_shape=(4, 3, 1), label_shape=(4, 3, 1))
    generator = rng()
    drawn = {sampler.draw(generator)[1][0, 0, 0, 0] for _ in range(600)}
    assert drawn == set(volume[:3, :4, :].ravel())


@pytest.mark.parametrize(("sides", "patch"), [((320, 325, 3), (320, 320, 1)), ((325, 325, 2), (320, 320, 3))])
def test_a_volume_that_is_no_larger_than_a_patch_is_refused(sides, patch):
    with pytest.raises(InputError, match=r"patches of 320 x 320 x \d need at least 321 x 321 x \d"):
        centre_range(sides, patch)


def test_an_odd_side_fits_exactly():
    assert centre_range((5, 4, 1), (5, 3, 1)) == ((2, 1, 0), (3, 3, 1))


def test_background_is_kept_one_time_in_four_and_foreground_always():
    message = LabelProbMappingParameter(
        label_prob_mapping_info=[
            LabelProbMapping(label=0, prob=1.0, map2label=0),
            LabelProbMapping(label=1, prob=0.3, map2label=1),
        ]
    )
    selection = LabelSelection.from_message(message)
    assert selection.acceptance == {0: 0.25, 1: 1.0}
    label = np.zeros((8, 8, 4))
    label[:4] = 1
    sampler = PatchSampler(
        [LabelledVolume(label, label)], data_shape=(1, 1, 1), label_shape=(1, 1, 1), selection=selection
    )
    generator = rng()
    share = np.mean([sampler.draw(generator)[1].item() for _ in range(4000)])
    assert share == pytest.approx(1 / 1.25, abs=0.03)


@pytest.mark.parametrize(
    ("probabilities", "rates"),
    [([1.0, 1.0], [1.0, 1.0]), ([0.3, 1.0], [1.0, 0.25]), ([1.0, 0.5], [0.5, 1.0]), ([1.0, 0.0], [1.0, 0.0])],
)
def test_the_rarest_class_is_always_kept(probabilities, rates):
    assert acceptance_rates(probabilities) == rates


def test_volumes_are_chosen_uniformly_whatever_their_labels():
    volumes = [LabelledVolume(np.full((4, 4, 2), value), np.full((4, 4, 2), value % 2)) for value in (10, 21, 30)]
    sampler = PatchSampler(
        volumes,
        data_shape=(2, 2, 1),
        label_shape=(2, 2, 1),
        selection=LabelSelection(acceptance={0: 0.25, 1: 1.0}),
    )
    generator = rng()
    values, counts = np.unique([sampler.draw(generator)[0].max() for _ in range(1500)], return_counts=True)
    assert_array_equal(values, [10, 21, 30])
    assert counts.min() > 420


def test_labels_are_renamed():
    selection = LabelSelection(acceptance={0: 1.0, 5: 1.0}, renamed={5: 1}, rest_renamed=2)
    assert_array_equal(selection.rename(np.array([0.0, 5.0, 7.0, 0.0])), [0, 1, 2, 0])


def test_a_volume_without_a_usable_label_is_an_error():
    volume = np.zeros((4, 4, 2))
    sampler = PatchSampler(
        [LabelledVolume(volume, volume)],
        data_shape=(2, 2, 1),
        label_shape=(2, 2, 1),
        selection=LabelSelection(acceptance={1: 1.0}, rest=0.0),
    )
    with pytest.raises(InputError, match="has no place with a label to train on"):
        sampler.draw(rng())


def test_the_same_seed_draws_the_same_batch():
    volume = LabelledVolume(addresses(9, 9, 4), addresses(9, 9, 4))
    sampler = PatchSampler([volume] * 3, data_shape=(4, 4, 3), label_shape=(4, 4, 1))
    first, again, other = (sampler.batch(3, rng(seed)) for seed in (1, 1, 2))
    assert first[0].shape == (3, 1, 4, 4, 3)
    assert_array_equal(first[0], again[0])
    assert (first[0] != other[0]).any()


def test_channels_stay_together():
    image = np.stack([addresses(5, 5, 2), -addresses(5, 5, 2)])
    sampler = PatchSampler([LabelledVolume(image, np.zeros((5, 5, 2)))], data_shape=(2, 2, 1), label_shape=(2, 2, 1))
    data, _ = sampler.draw(rng())
    assert sampler.channels == 2
    assert_array_equal(data[0], -data[1])


@pytest.mark.parametrize(
    ("data", "label", "problem"),
    [
        ((5, 5, 2), (5, 4, 2), "5 x 5 x 2 voxels, but labels of 5 x 4 x 2"),
        ((5, 5), (5, 5), "a volume of 2 axes"),
        ((2, 5, 5, 2), (2, 5, 5, 2), "2 image and 2 label channels"),
    ],
)
def test_volumes_that_do_not_fit_are_refused(data, label, problem):
    volume = LabelledVolume(np.zeros(data), np.zeros(label))
    with pytest.raises(InputError, match=problem):
        PatchSampler([volume], data_shape=(2, 2, 1), label_shape=(2, 2, 1))
