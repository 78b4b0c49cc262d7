"""Diagnoses: each finds what it is for, and is silent about maps, images and trainings that are well."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cdeep3m.evaluation.diagnosis import (
    blank,
    checkered,
    cut,
    findings_of_maps,
    findings_of_training,
    gray_distance,
    imbalance,
    loss_does_not_fall,
    other_voxel_size,
    overfits,
    saturated,
    seams,
    unlike_training,
)
from cdeep3m.evaluation.map_statistics import MapStatistics
from cdeep3m.volumes.samples import gray_histogram
from cdeep3m.volumes.synthetic import synthesize

RNG = np.random.default_rng(3)


def statistics_of(planes):
    statistics = MapStatistics()
    for plane in planes:
        statistics.add(plane)
    return statistics


@pytest.fixture(scope="module")
def volume():
    return synthesize((3, 320, 300), seed=4)


@pytest.fixture(scope="module")
def good_maps(volume):
    smooth = ndimage.gaussian_filter(volume.label.astype(float), (0, 2, 2)) * 240
    return np.clip(smooth + RNG.normal(6, 4, smooth.shape), 0, 255).astype(np.uint8)


def test_good_maps_raise_no_alarm(good_maps):
    assert findings_of_maps(statistics_of(good_maps)) == []


@pytest.mark.parametrize("level", [0, 30, 127, 200])
def test_maps_without_contrast_are_blank(level):
    noise = np.clip(RNG.normal(level, 4, (2, 200, 200)), 0, 255).astype(np.uint8)
    assert [finding.code for finding in findings_of_maps(statistics_of(noise))] == ["blank"]


def test_a_single_small_object_is_not_blank(good_maps):
    sparse = np.zeros((1, 400, 400), np.uint8)
    sparse[0, 100:110, 100:110] = 230
    assert blank(statistics_of(sparse).values) is None


def test_maps_full_of_foreground_are_saturated():
    full = np.full((1, 100, 100), 254, np.uint8)
    full[0, :5] = 10
    assert [finding.code for finding in findings_of_maps(statistics_of(full))] == ["saturated"]
    assert saturated(statistics_of(255 - full).values) is None


@pytest.mark.parametrize("period", [2, 4, 8, 16])
def test_patterns_that_repeat_are_found(good_maps, period):
    pattern = np.zeros(good_maps.shape[1:], int)
    pattern[:, ::period] = 25
    marred = np.clip(good_maps.astype(int) + pattern, 0, 255).astype(np.uint8)
    found = checkered(statistics_of(marred))
    assert found is not None
    assert found.code == "checkered"
    assert f"every {period} pixels" in found.found


def test_a_chessboard_is_a_pattern_and_noise_is_none(good_maps):
    y, x = np.indices(good_maps.shape[1:])
    chessboard = np.clip(good_maps + (y + x) % 2 * 12, 0, 255).astype(np.uint8)
    assert "every 2 pixels" in checkered(statistics_of(chessboard)).found
    assert checkered(statistics_of(RNG.integers(0, 256, (1, 200, 200)).astype(np.uint8))) is None


def test_a_missing_tile_is_found_and_told_where(good_maps):
    broken = np.maximum(good_maps, 40)
    broken[:, 128:] = 0
    found = cut(statistics_of(broken))
    assert found is not None
    assert "row 128" in found.found
    assert cut(statistics_of(good_maps)) is None


def test_black_bands_are_found_and_empty_background_is_none(good_maps):
    broken = np.maximum(good_maps, 1)
    broken[:, :, :13] = 0
    assert "the first 13 columns are black" in cut(statistics_of(broken)).found
    clean = np.where(good_maps > 40, good_maps, 0).astype(np.uint8)
    assert cut(statistics_of(clean)) is None


@pytest.mark.parametrize("seed", range(5))
def test_small_maps_with_large_objects_are_not_cut(seed):
    disk = np.hypot(*(np.indices((60, 60)) - 20 - 3 * seed)) < 12 + 3 * seed
    maps = np.clip(ndimage.gaussian_filter(disk * 255.0, 2), 0, 255).astype(np.uint8)
    assert cut(statistics_of([maps])) is None


def test_seams_are_measured_where_tiles_meet(good_maps):
    statistics = statistics_of(good_maps)
    assert seams(statistics, [100, 200], [150]).ratio == pytest.approx(1, abs=0.35)
    assert not seams(statistics, [100, 200], [150]).show
    shifted = good_maps.astype(int)
    shifted[:, 100:] += 30
    marred = statistics_of(np.clip(shifted, 0, 255).astype(np.uint8))
    assert seams(marred, [100], []).ratio > 3
    assert seams(marred, [100], []).show
    assert seams(statistics, [], []) is None


def test_gray_values_unlike_the_training_are_found(volume):
    same = synthesize((2, 300, 300), seed=9).image
    assert unlike_training(gray_histogram(volume.image), gray_histogram(same)) is None
    found = unlike_training(gray_histogram(volume.image // 2), gray_histogram(same))
    assert found is not None
    assert "Histmatch" in found.remedy
    assert unlike_training(np.zeros(256, int), gray_histogram(same)) is None


def test_gray_distance_is_the_mean_move():
    image = RNG.integers(0, 200, (40, 40)).astype(np.uint8)
    assert gray_distance(gray_histogram(image), gray_histogram(image + np.uint8(51))) == pytest.approx(0.2)


def test_histogram_covers_the_range_of_any_type():
    values = np.array([0, 255], np.uint8)
    for same in (values, values.astype(np.uint16) * 257, values.astype(np.float32) / 255):
        assert gray_histogram(same)[[0, 255]].tolist() == [1, 1]


def test_voxel_sizes_that_differ_are_told():
    assert other_voxel_size((30, 8, 8), (25, 8, 8)) is None
    found = other_voxel_size((30, 16, 16), (30, 8, 8))
    assert found is not None
    assert "30 x 16 x 16" in found.found


def test_a_loss_that_stays_is_found_and_one_that_falls_is_not():
    falling = 0.7 * np.exp(-np.arange(60) / 20) + RNG.normal(0, 0.02, 60)
    assert loss_does_not_fall(falling) is None
    assert loss_does_not_fall(0.69 + RNG.normal(0, 0.02, 60)).code == "loss"
    assert "row 3 of 4" in loss_does_not_fall([0.7, 0.6, float("nan"), float("nan")]).found
    assert loss_does_not_fall([0.7, 0.7]) is None


def test_a_score_that_falls_while_the_loss_falls_is_overfitting():
    losses = np.linspace(0.7, 0.05, 40)
    up_and_down = np.r_[np.linspace(0.5, 0.9, 15), np.linspace(0.9, 0.7, 25)]
    found = overfits(losses, up_and_down)
    assert found is not None
    assert "snapshot of about 4" in found.remedy or "snapshot of about 3" in found.remedy
    assert overfits(losses, np.linspace(0.5, 0.9, 40)) is None
    assert overfits(losses[::-1], up_and_down) is None


@pytest.mark.parametrize(("foreground", "said"), [(0, "empty"), (0.0004, "only"), (0.97, "other way round")])
def test_classes_out_of_balance_are_told(foreground, said):
    assert said in str(imbalance(foreground))


def test_a_training_that_is_well_has_no_findings():
    assert findings_of_training(np.linspace(1, 0.1, 50), np.linspace(0.5, 0.9, 20), foreground=0.1) == []
