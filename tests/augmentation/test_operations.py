"""Operations on gray values: what their names say, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from cdeep3m.augmentation import operations
from cdeep3m.augmentation.patches import _blurring, _sharpening
from cdeep3m.edition2 import secondary
from cdeep3m.edition2.settings import Strengths
from octave_cases import synth


def plane() -> np.ndarray:
    y, x = np.mgrid[:40, :50]
    return (0.5 + 0.3 * np.sin(y / 4) * np.cos(x / 6) + 0.05 * (synth(1, 40, 50, 3, "float32")[0] - 0.5)).astype(
        np.float32
    )


def in_8_bits(values: np.ndarray) -> np.ndarray:
    return (values * 255).astype(np.uint8)


def test_contrast_moves_gray_values_from_their_mean():
    found = operations.contrast(plane(), 1.5)
    assert found.std() == pytest.approx(1.5 * plane().std(), rel=0.01)
    assert operations.contrast(plane(), 0.5).std() == pytest.approx(0.5 * plane().std(), rel=0.01)


@pytest.mark.correction2(15, "exact", "corrected")
def test_sharpening_never_blurs():
    detail = np.abs(np.diff(plane())).mean()
    assert np.abs(np.diff(operations.sharpen(plane(), 1.0))).mean() == pytest.approx(detail)
    assert np.abs(np.diff(operations.sharpen(plane(), 3.0))).mean() > detail
    for seed in range(8):
        sharpening = _sharpening(Strengths.all_of(1), np.random.default_rng(seed))
        assert np.abs(np.diff(sharpening(plane()))).mean() >= detail
    blurred = secondary.sharpness(in_8_bits(plane()), 0)
    assert np.abs(np.diff(blurred.astype(float))).mean() < np.abs(np.diff(in_8_bits(plane()).astype(float))).mean()


@pytest.mark.correction2(17, "exact", "corrected")
def test_nothing_is_darkened():
    image = plane()
    rng = np.random.default_rng(0)
    for found in (operations.blur(image, 1), operations.add_noise(image, 0.05, rng)):
        assert found.mean() == pytest.approx(image.mean(), abs=0.1 / 255)
    assert operations.smooth_by_variation(image, 0.5).mean() == pytest.approx(image.mean(), abs=0.01 / 255)
    darker = secondary.blur(in_8_bits(image), 1).mean() - in_8_bits(image).mean()
    assert darker == pytest.approx(-1, abs=0.3)


@pytest.mark.correction2(18, "exact", "corrected")
def test_constant_planes_stay():
    constant = np.full((8, 9), 0.5, np.float32)
    np.testing.assert_array_equal(operations.equalise(constant, 200), constant)
    np.testing.assert_array_equal(operations.smooth_by_variation(constant, 1), constant)
    np.testing.assert_array_equal(operations.contrast(constant, 2), constant)
    assert secondary.equalise(np.full((8, 9), 90, np.uint8), 236).min() > 200


def test_equalisation_uses_all_gray_values_alike():
    found = operations.equalise(plane(), 256)
    counts, _ = np.histogram(found, 8, (float(plane().min()), float(plane().max())))
    assert counts.min() > 0.8 * counts.mean()


@pytest.mark.correction2(14, "exact", "corrected")
def test_the_key_blur_blurs():
    strengths = Strengths.all_of(0)
    strong_blur = Strengths(**{**vars(strengths), "blur": 10})
    rng = np.random.default_rng(1)
    assert _sharpening(strong_blur, rng) is None
    blurring = _blurring(strong_blur, rng)
    assert np.abs(np.diff(blurring(plane()))).mean() < np.abs(np.diff(plane())).mean()
    images, labels = in_8_bits(plane())[np.newaxis], np.zeros((1, 40, 50), np.uint8)
    exact, _ = secondary.augment(images, labels, 5, strong_blur, secondary.Draws())
    weak, _ = secondary.augment(images, labels, 5, strengths, secondary.Draws())
    np.testing.assert_array_equal(exact, weak)
