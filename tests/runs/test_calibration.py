"""The calibration of maps: a scale and an offset of the logit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cdeep3m.errors import InputError
from cdeep3m.runs.calibration import STEPS, Calibration, calibrations_in, written

SHARP = Calibration(weights="1fm_iter_2.caffemodel", scale=2.5, offset=-0.75, planes="planes 3 to 4 of 4, held out")


def test_the_threshold_becomes_one_half_and_nothing_changes_its_order():
    assert_allclose(SHARP.apply(np.array([SHARP.threshold])), [0.5])
    values = SHARP.apply(np.linspace(0, 1, 1001))
    assert (np.diff(values) >= 0).all()
    assert values[0] == 0
    assert values[-1] == 1


def test_a_scale_of_one_without_offset_changes_nothing():
    steps = np.arange(STEPS + 1, dtype=np.uint16)
    assert_array_equal(Calibration(weights="", scale=1.0, offset=0.0, planes="").apply(steps), steps)


def test_sixteen_bits_are_calibrated_as_probabilities_are():
    steps = np.arange(STEPS + 1, dtype=np.uint16)
    assert_allclose(SHARP.apply(steps) / STEPS, SHARP.apply(steps / STEPS), atol=0.5001 / STEPS)
    assert SHARP.apply(np.zeros((2, 3), np.uint16)).shape == (2, 3)


@pytest.mark.parametrize("numbers", [(0, 1), (-1, 1), (np.inf, 0), (1, np.nan)])
def test_numbers_that_would_turn_maps_over_are_refused(numbers):
    with pytest.raises(InputError, match="expected a scale above 0"):
        Calibration(weights="", scale=numbers[0], offset=numbers[1], planes="")


def test_a_line_of_settings_reads_again_and_another_is_refused():
    both = {"1fm": SHARP, "3fm": Calibration(weights="b", scale=0.125, offset=3.0, planes="")}
    read = calibrations_in(written(both))
    assert [(one.weights, one.scale, one.offset) for one in read.values()] == [
        (one.weights, one.scale, one.offset) for one in both.values()
    ]
    with pytest.raises(InputError, match="expected a net"):
        calibrations_in("1fm, 3fm")
