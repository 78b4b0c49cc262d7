"""Colours of agreement, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from cdeep3m.report.overlay import FOUND, INVENTED, MISSED, compare

IMAGE = np.arange(100, 104, dtype=np.uint8)[None]
LABEL = np.array([[True, False, True, False]])
SEGMENTATION = np.array([[True, True, False, False]])


def test_full_strength_shows_the_colours_themselves():
    picture = compare(IMAGE, LABEL, SEGMENTATION, strength=1, outline=0)
    assert picture.tolist() == [[list(FOUND), list(INVENTED), list(MISSED), [103, 103, 103]]]
    assert picture.dtype == np.uint8


def test_no_strength_leaves_the_image():
    picture = compare(IMAGE, LABEL, SEGMENTATION, strength=0, outline=0)
    np.testing.assert_array_equal(picture, np.stack([IMAGE] * 3, -1))


@pytest.mark.parametrize("width", [1, 2])
def test_outline_is_white_and_inside_the_ground_truth(width):
    label = np.zeros((9, 9), bool)
    label[1:8, 1:8] = True
    white = (compare(np.full((9, 9), 50, np.uint8), label, label, outline=width) == 255).all(-1)
    expected = label.copy()
    expected[1 + width : 8 - width, 1 + width : 8 - width] = False
    np.testing.assert_array_equal(white, expected)
