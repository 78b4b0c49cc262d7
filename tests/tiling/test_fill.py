"""What nets see beyond the images: zeros, or the images mirrored on."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from address_volumes import ArrayVolume, addresses, maps_of, predict_planes
from cdeep3m.engines.identity import IdentityNet
from cdeep3m.errors import InputError
from cdeep3m.rules import ORIGINAL
from cdeep3m.tiling.grid import Tiling
from cdeep3m.tiling.variants import VARIANTS


@pytest.mark.parametrize("fit", [False, True])
@pytest.mark.parametrize("shape", [(1, 14, 20), (1, 40, 600), (1, 1020, 1024), (1, 30, 1025)])
def test_the_canvas_holds_the_image_and_its_mirror_images(shape: tuple[int, int, int], fit: bool) -> None:
    volume = addresses(shape)
    black, mirrored = (Tiling.of(shape, fit=fit, fill=fill).packages for fill in ("zeros", "reflect"))
    for one, other in zip(black, mirrored, strict=True):
        planes = volume[one.read.slices]
        zeros, reflected = one.canvas(planes), other.canvas(planes)
        assert reflected.shape == zeros.shape
        assert reflected.dtype == np.uint8
        height, width = (min(whole, side + 24) for whole, side in zip(zeros.shape[1:], one.read.shape[1:], strict=True))
        inside = slice(0, min(height, one.read.shape[1])), slice(0, min(width, one.read.shape[2]))
        assert_array_equal(reflected[0][inside], zeros[0][inside])
        rows = np.flatnonzero(zeros[0].any(1))
        last = rows[-1]
        for k in range(1, min(5, zeros.shape[1] - 1 - last, last) + 1):
            assert_array_equal(reflected[0, last + k, inside[1]], reflected[0, last - k, inside[1]])


def test_small_images_are_mirrored_as_often_as_it_takes() -> None:
    (package,) = Tiling.of((1, 14, 14), fill="reflect").packages
    filled = package.canvas(addresses((1, 14, 14)))[0]
    period = 2 * (14 + 24 - 1)
    assert_array_equal(filled[:-period], filled[period:])
    assert_array_equal(filled[:, :-period], filled[:, period:])


@pytest.mark.parametrize("shape", [(2, 20, 30), (1, 1013, 40), (2, 16, 1030)])
def test_an_identity_still_returns_the_input(shape: tuple[int, int, int]) -> None:
    volume, tiling = addresses(shape), Tiling.of(shape, fill="reflect")
    for z, plane in predict_planes(ArrayVolume(volume), tiling, IdentityNet(1), VARIANTS[:2], range(shape[0])):
        assert_array_equal(plane, maps_of(volume[z]))


def test_the_original_fills_with_zeros() -> None:
    with pytest.raises(InputError, match="use either --exact or --fill"):
        Tiling.of((3, 20, 30), rules=ORIGINAL, fill="reflect")
