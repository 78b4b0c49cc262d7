"""How far predictions agree, on values typed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cdeep3m.maps.agreement import agreement_of

PLANE = (np.arange(2000, dtype=np.float32) / 2000).reshape(40, 50)


def plane_with(value: float, count: int = 1) -> np.ndarray:
    """PLANE with its first values replaced."""
    plane = PLANE.copy()
    plane.flat[:count] = value
    return plane


def test_a_prediction_agrees_with_itself():
    found = agreement_of([(PLANE, PLANE)] * 3)
    assert (found.planes, found.voxels) == (3, 6000)
    assert (found.largest, found.mean, found.equal_share, found.largest_step) == (0, 0, 1, 0)
    assert found.within_tolerance


def test_differences_of_all_planes_count():
    found = agreement_of([(PLANE, PLANE), (np.zeros((1, 4)), np.array([[0.0, 0.25, 0.5, 1.0]]))])
    assert found.largest == 1
    assert found.mean == pytest.approx(1.75 / 2004)
    assert found.equal_share == pytest.approx(2001 / 2004)
    assert found.largest_step == 255


def test_float_noise_is_within_the_tolerance():
    assert agreement_of([(PLANE, PLANE + np.float32(2e-7))]).within_tolerance


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (plane_with(1.1e-4), "one probability too far off"),
        (PLANE + np.float32(9.5e-5), "too many other 8-bit values"),
        (plane_with(0.5), "one voxel altogether different"),
        (plane_with(np.nan), "one voxel that is no number"),
    ],
)
def test_more_than_noise_is_not(other, what):
    assert not agreement_of([(PLANE, PLANE), (PLANE, other), (PLANE, PLANE)]).within_tolerance, what


def test_planes_of_different_size_or_none_are_our_own_mistake():
    with pytest.raises(ValueError, match=r"\(40, 50\) and \(40, 49\)"):
        agreement_of([(PLANE, PLANE[:, 1:])])
    with pytest.raises(ValueError, match="no planes"):
        agreement_of([])
