"""`predict_box`: any box of a volume, by any nets, is what the whole volume holds there."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from address_volumes import addresses
from cdeep3m.engines.identity import IdentityNet
from cdeep3m.geometry import Roi
from cdeep3m.prediction.core import NetInUse, predict_box
from cdeep3m.rules import CORRECTED
from cdeep3m.tiling.grid import Tiling
from cdeep3m.tiling.stitching import ensemble
from cdeep3m.tiling.variants import variants_for
from cdeep3m.volumes.arrays import ArrayVolume

VOLUME = addresses((7, 40, 1030))


class Negative(IdentityNet):
    """Predicts 1 less what it sees."""

    def foreground(self, windows):
        return (1 - plane for plane in super().foreground(windows))


NETS = {
    "1fm": NetInUse(IdentityNet(1), variants_for("1fm", 10)),
    "3fm": NetInUse(Negative(3), variants_for("3fm", 10)),
}


@pytest.mark.parametrize("begin", [(0, 0, 0), (2, 5, 990)])
@pytest.mark.parametrize("names", [("1fm",), ("1fm", "3fm")])
def test_a_box_is_a_part_of_the_whole(begin, names):
    tiling = Tiling.of(VOLUME.shape, rules=CORRECTED)
    nets = {name: NETS[name] for name in names}
    whole = predict_box(ArrayVolume(VOLUME), Roi((0, 0, 0), VOLUME.shape), nets, tiling=tiling)
    box = Roi(begin, (5, 31, 1025))
    assert_array_equal(predict_box(ArrayVolume(VOLUME), box, nets, tiling=tiling), whole[box.slices])
    assert whole.dtype == np.uint8


def test_several_nets_are_averaged():
    tiling = Tiling.of(VOLUME.shape, rules=CORRECTED)
    box = Roi((1, 0, 0), (4, 40, 1030))
    alone = [predict_box(ArrayVolume(VOLUME), box, {name: NETS[name]}, tiling=tiling) for name in NETS]
    assert not np.array_equal(*alone)
    found = predict_box(ArrayVolume(VOLUME), box, NETS, tiling=tiling)
    for z, plane in enumerate(found):
        assert_array_equal(plane, ensemble([one[z] for one in alone]))
