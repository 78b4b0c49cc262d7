"""What nets see of a volume, plane by plane."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cdeep3m.prediction.reading import PackageReader
from cdeep3m.rules import CORRECTED, ORIGINAL
from cdeep3m.tiling.grid import Tiling
from cdeep3m.volumes.arrays import ArrayVolume

VOLUME = np.arange(9 * 20 * 24, dtype=np.uint16).reshape(9, 20, 24)


@pytest.mark.parametrize("rules", [CORRECTED, ORIGINAL], ids=str)
@pytest.mark.parametrize("frames", [1, 3, 5])
@pytest.mark.parametrize("z", [2, 4, 6])
def test_a_window_holds_the_planes_around_its_own_in_their_order(rules, frames, z):
    tiling = Tiling.of(VOLUME.shape, rules=rules)
    (package,) = tiling.packages
    window = PackageReader(ArrayVolume(VOLUME), tiling, frames=frames).window(package, z, frames)
    half = frames // 2
    assert_array_equal(window[(slice(None), *package.canvas_write)], VOLUME[z - half : z + half + 1])
