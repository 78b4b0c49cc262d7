"""The eight orientations, against arrays typed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from cdeep3m.matlab_ports.augment_data import ORIENTATIONS, orient, restore
from numpy.testing import assert_array_equal

PLANE = [[1, 2, 3], [4, 5, 6]]
EXPECTED = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[4, 5, 6], [1, 2, 3]],
    3: [[3, 2, 1], [6, 5, 4]],
    4: [[3, 6], [2, 5], [1, 4]],
    5: [[4, 1], [5, 2], [6, 3]],
    6: [[6, 3], [5, 2], [4, 1]],
    7: [[1, 4], [2, 5], [3, 6]],
    8: [[6, 5, 4], [3, 2, 1]],
}


@pytest.mark.parametrize("orientation", range(1, ORIENTATIONS + 1))
def test_orientation_is_the_original_s(orientation):
    assert_array_equal(orient(np.array([PLANE]), orientation), [EXPECTED[orientation]])


@pytest.mark.parametrize("orientation", range(1, ORIENTATIONS + 1))
def test_restore_undoes_orient_without_copying(orientation):
    stack = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    turned = orient(stack, orientation)
    assert np.shares_memory(turned, stack)
    assert_array_equal(restore(turned, orientation), stack)
