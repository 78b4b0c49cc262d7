"""Contrast and brightness that change a little with every patch."""

from __future__ import annotations

import numpy as np
import pytest

from cdeep3m.augmentation.patches import BRIGHTER, change_gray_values
from cdeep3m.augmentation.settings import Augmentation, augmentation_of
from cdeep3m.errors import InputError

PATCH = np.linspace(60, 190, 2 * 4 * 3, dtype=np.float32).reshape(1, 2, 4, 3)


@pytest.mark.parametrize("white", [255.0, 65535.0])
def test_contrast_and_brightness_change_by_no_more_than_was_asked_for(white):
    rng, jitter = np.random.default_rng(0), 0.2
    patch = PATCH * np.float32(white / 255)
    factors, shifts = [], []
    for _ in range(200):
        changed = change_gray_values(patch, Augmentation(jitter=jitter), white, rng)
        factor, offset = np.polyfit(patch.ravel() - white / 2, changed.ravel(), 1)
        factors.append(factor - 1)
        shifts.append((offset - white / 2) / (white / BRIGHTER))
        assert changed.dtype == np.float32
    for drawn in (factors, shifts):
        assert np.abs(drawn).max() <= jitter + 1e-3
        assert min(drawn) < -0.18
        assert max(drawn) > 0.18


def test_gray_values_stay_between_black_and_white():
    rng = np.random.default_rng(1)
    patch = np.float32([[[[0, 255]]]])
    for _ in range(50):
        changed = change_gray_values(patch, Augmentation(jitter=1.0), 255.0, rng)
        assert changed.min() >= 0
        assert changed.max() <= 255


def test_without_jitter_nothing_more_is_drawn():
    first, second = np.random.default_rng(2), np.random.default_rng(2)
    change_gray_values(PATCH, augmentation_of("3"), 255.0, first)
    change_gray_values(PATCH, augmentation_of("3"), 255.0, second)
    assert first.random() == second.random()
    assert not Augmentation()
    assert Augmentation(jitter=0.1)
    assert not Augmentation(jitter=0.1).changes_shape
    assert Augmentation(jitter=0.1).words == "jitter 0.1"


@pytest.mark.parametrize("jitter", [-0.1, 1.1])
def test_jitter_out_of_range_is_refused(jitter):
    with pytest.raises(InputError, match="expected a number from 0 to 1"):
        Augmentation(jitter=jitter)
