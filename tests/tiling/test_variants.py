"""The 16 variants and the speeds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cdeep3m.rules import SPEEDS
from cdeep3m.tiling.variants import VARIANTS, Variant, nearest_speed, variant, variants_for

VOLUME = np.arange(3 * 4 * 5).reshape(3, 4, 5)


@pytest.mark.parametrize("chosen", VARIANTS, ids=str)
def test_undo_restores_a_volume_without_symmetry(chosen):
    assert_array_equal(chosen.undo(chosen.apply(VOLUME)), VOLUME)


@pytest.mark.parametrize("chosen", VARIANTS, ids=str)
def test_views_are_not_copies(chosen):
    assert np.shares_memory(chosen.apply(VOLUME), VOLUME)
    assert np.shares_memory(chosen.undo(VOLUME), VOLUME)


def test_no_two_variants_are_the_same():
    shown = {chosen.apply(VOLUME).tobytes() for chosen in VARIANTS}
    assert len(shown) == 16


@pytest.mark.parametrize("chosen", VARIANTS[8:], ids=str)
def test_variants_from_9_on_are_the_first_eight_on_reversed_planes(chosen):
    assert_array_equal(chosen.apply(VOLUME), variant(chosen.index - 8).apply(VOLUME[::-1]))


@pytest.mark.parametrize("chosen", VARIANTS, ids=str)
def test_a_single_plane_is_turned_like_a_stack(chosen):
    assert_array_equal(chosen.undo(chosen.apply(VOLUME)[:1])[0], VOLUME[2 if chosen.reverses_planes else 0])


@pytest.mark.parametrize("index", [0, 17, -1])
def test_there_are_no_other_variants(index):
    with pytest.raises(ValueError, match="1 to 16"):
        Variant(index)


@pytest.mark.parametrize(
    ("net", "speed", "expected"),
    [
        ("1fm", 1, [1, 2, 3, 4, 5, 6, 7, 8]),
        ("1fm", 2, [1, 6, 11, 15]),
        ("1fm", 4, [2, 3, 6, 7]),
        ("3fm", 1, list(range(1, 17))),
        ("3fm", 2, [1, 2, 3, 4, 13, 14, 15, 16]),
        ("3fm", 4, [7, 8, 10, 12]),
        ("5fm", 2, [5, 6, 7, 8, 9, 10, 11, 12]),
        ("5fm", 4, [1, 6, 11, 15]),
        ("1fm", 10, [1]),
        ("3fm", 10, [1]),
        ("5fm", 10, [1]),
        ("my_net", 4, [7, 8, 10, 12]),
    ],
)
def test_variants_of_a_speed_are_the_original_s_in_ascending_order(net, speed, expected):
    assert [chosen.index for chosen in variants_for(net, speed)] == expected


@pytest.mark.parametrize(("asked", "used"), [(-5, 1), (0, 1), (3, 2), (5, 4), (6, 4), (7, 4), (8, 10), (100, 10)])
def test_other_speeds_go_to_the_nearest_ties_to_the_lower(asked, used):
    assert nearest_speed(asked) == used
    assert variants_for("3fm", asked) == variants_for("3fm", used)


@pytest.mark.parametrize("speed", SPEEDS)
def test_offered_speeds_are_taken_as_they_are(speed):
    assert nearest_speed(speed) == speed
