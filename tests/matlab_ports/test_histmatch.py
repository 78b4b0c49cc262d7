"""Histogram matching, against ranks written out and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from cdeep3m.matlab_ports.histmatch import histmatch, histogram, mean_plane
from numpy.testing import assert_array_equal
from skimage.exposure import match_histograms

from octave_cases import synth

TYPES = pytest.mark.parametrize("dtype", ["uint8", "uint16"])


@TYPES
def test_a_plane_matched_to_itself_stays(dtype):
    plane = synth(1, 30, 40, 3, dtype)[0]
    assert_array_equal(histmatch(plane, histogram(plane)), plane)


@TYPES
@pytest.mark.parametrize("other", ["uint8", "uint16"])
def test_result_has_type_and_histogram_of_the_reference(dtype, other):
    plane, reference = synth(1, 60, 50, 1, dtype)[0] // 3, synth(1, 50, 60, 2, other)[0] // 2
    matched = histmatch(plane, histogram(reference))
    assert matched.dtype == reference.dtype
    assert np.abs(np.percentile(matched, range(0, 101, 10)) - np.percentile(reference, range(0, 101, 10))).max() <= (
        reference.max() * 0.02
    )


@TYPES
def test_order_of_gray_values_is_kept(dtype):
    plane = synth(1, 20, 20, 1, dtype)[0]
    matched = histmatch(plane, histogram(synth(1, 9, 9, 2, dtype)[0]))
    order = np.argsort(plane.ravel(), kind="stable")
    assert (np.diff(matched.ravel()[order].astype(int)) >= 0).all()


@TYPES
def test_it_is_what_scikit_image_gives_but_for_the_rounding(dtype):
    plane, reference = synth(1, 30, 40, 1, dtype)[0] // 2, synth(1, 35, 25, 2, dtype)[0] // 5 + 7
    theirs = match_histograms(plane.astype(np.float64), reference.astype(np.float64))
    assert_array_equal(histmatch(plane, histogram(reference)), np.floor(theirs + 0.5))


def test_equal_ranks_get_equal_values():
    reference = histogram(np.uint8([[10, 10, 10, 200]]))
    assert histmatch(np.uint8([[0, 1, 2, 3]]), reference).tolist() == [[10, 10, 10, 200]]
    assert histmatch(np.uint8([[7, 7, 7, 7]]), reference).tolist() == [[200] * 4]


def test_the_mean_plane_rounds_halves_up_and_keeps_the_type():
    planes = iter([np.uint16([[0, 65535, 3]]), np.uint16([[1, 65535, 3]])])
    mean = mean_plane(planes)
    assert mean.dtype == np.uint16
    assert mean.tolist() == [[1, 65535, 3]]
