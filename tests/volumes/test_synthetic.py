"""The synthetic volume: repeatable, labelled where the mitochondria are, and not to be had by a threshold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cdeep3m.evaluation.scores import best_threshold, count_values, score
from cdeep3m.volumes.synthetic import smooth_noise, synthesize


@pytest.fixture(scope="module")
def volume():
    return synthesize((4, 256, 320), seed=3)


def test_volume_is_8_bit_with_labels_of_0_and_1(volume):
    assert volume.image.shape == volume.label.shape == (4, 256, 320)
    assert volume.image.dtype == volume.label.dtype == np.uint8
    assert set(np.unique(volume.label)) == {0, 1}


def test_same_seed_gives_the_same_volume_and_another_seed_another(volume):
    again = synthesize((4, 256, 320), seed=3)
    np.testing.assert_array_equal(again.image, volume.image)
    np.testing.assert_array_equal(again.label, volume.label)
    assert (synthesize((4, 256, 320), seed=4).label != volume.label).any()


def test_grays_use_the_range_without_clipping(volume):
    assert 110 < volume.image.mean() < 180
    assert 20 < volume.image.std() < 45
    assert np.isin(volume.image, (0, 255)).mean() < 0.001


def test_mitochondria_take_a_plausible_share_and_go_on_from_section_to_section(volume):
    assert 0.03 < volume.label.mean() < 0.25
    labels = volume.label.astype(bool)
    kept = (labels[:-1] & labels[1:]).sum() / labels[:-1].sum()
    assert 0.6 < kept < 0.97


def test_mitochondria_are_larger_than_specks(volume):
    numbered, count = ndimage.label(volume.label)
    sizes = ndimage.sum_labels(volume.label, numbered, range(1, count + 1))
    assert np.median(sizes) > 300


def test_smoothed_grays_alone_do_not_find_them(volume):
    darkness = [255 - ndimage.gaussian_filter(plane, 3) for plane in volume.image]
    counts = count_values(darkness, volume.label)
    assert score(counts, threshold=best_threshold(counts)).f1 < 0.75


def test_any_small_shape_works():
    assert synthesize((1, 20, 31), seed=1).image.shape == (1, 20, 31)


def test_noise_has_unit_variance_and_its_spacing():
    noise = smooth_noise(np.random.default_rng(1), (8, 200, 200), (2, 10, 5))
    assert noise.dtype == np.float32
    assert abs(noise.mean()) < 0.1
    assert abs(noise.std() - 1) < 0.1
    along_y, along_x = (np.diff(noise, axis=axis).std() for axis in (1, 2))
    assert along_x == pytest.approx(2 * along_y, rel=0.2)
