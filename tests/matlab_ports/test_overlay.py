"""Blending and colours, against numbers worked out by hand."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from cdeep3m.matlab_ports.label2rgb import colour_table, label2rgb
from cdeep3m.matlab_ports.overlay import overlay, to_8_bits
from numpy.testing import assert_array_equal


def test_segmentation_counts_45_and_the_image_55_percent():
    segmented, raw = np.uint8([[0, 0, 100, 255]]), np.uint8([[0, 255, 200, 255]])
    assert overlay(segmented, raw).tolist() == [[0, 140, 155, 255]]


def test_colours_are_laid_over_gray():
    picture = overlay(np.uint8([[[255, 0, 100]]]), np.uint8([[40]])[..., None])
    assert picture.tolist() == [[[137, 22, 67]]]


@pytest.mark.parametrize(
    ("plane", "expected"),
    [
        (np.uint8([0, 7, 255]), [0, 7, 255]),
        (np.uint16([0, 128, 129, 32768, 65535]), [0, 0, 1, 128, 255]),
        (np.float64([-1, 0, 0.25, 1, 7]), [0, 0, 64, 255, 255]),
    ],
)
def test_values_are_scaled_to_8_bits(plane, expected):
    scaled = to_8_bits(plane)
    assert scaled.dtype == np.uint8
    assert scaled.tolist() == expected


def test_colours_are_those_of_the_colour_wheel_with_white_for_background():
    table = colour_table(300)
    hues = [colorsys.hsv_to_rgb(label * 0.6180339887498949 % 1, 0.9, 1) for label in range(301)]
    assert table[0].tolist() == [255, 255, 255]
    assert np.abs(table[1:] - 255 * np.array(hues[1:])).max() <= 0.5
    assert len({tuple(colour) for colour in table.tolist()}) > 280


def test_neighbouring_numbers_look_different():
    table = colour_table(1000).astype(int)
    assert np.abs(np.diff(table, axis=0)).sum(axis=1).min() > 150


def test_labels_are_painted_pixel_by_pixel():
    table = np.uint8([[255, 255, 255], [1, 2, 3], [4, 5, 6]])
    assert_array_equal(label2rgb(np.array([[2, 0], [1, 1]]), table), table[[[2, 0], [1, 1]]])
