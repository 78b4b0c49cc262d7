"""`predict_box`: any box of a volume, by any nets, is what the whole volume holds there."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from address_volumes import addresses
from cdeep3m.engines.identity import IdentityNet
from cdeep3m.errors import StoppedError
from cdeep3m.geometry import Roi
from cdeep3m.prediction.core import NetInUse, predict_box, predict_boxes
from cdeep3m.rules import CORRECTED, ORIGINAL
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


class Faint(IdentityNet):
    """Is never surer than 0.3."""

    def foreground(self, windows):
        return (np.float32(0.3) * (plane > 0) for plane in super().foreground(windows))


@pytest.mark.parametrize(("rules", "brightest"), [(CORRECTED, 77), (ORIGINAL, 255)])
def test_faint_planes_are_stretched_in_exact_mode_only(rules, brightest):
    volume = VOLUME[:3, :16, :20]
    tiling = Tiling.of(volume.shape, rules=rules)
    nets = {"1fm": NetInUse(Faint(1), variants_for("1fm", 10))}
    box = Roi((0, 0, 0), volume.shape)
    found = predict_box(ArrayVolume(volume), box, nets, tiling=tiling, rules=rules)
    assert [int(plane.max()) for plane in found] == [brightest] * 3


def test_who_asks_to_stop_is_heard_before_every_variant():
    net = IdentityNet(3)
    nets = {"3fm": NetInUse(net, variants_for("3fm", 1))}

    def stop():
        if net.windows == 2:
            raise StoppedError("enough")

    tiling = Tiling.of(VOLUME.shape, rules=CORRECTED)
    plan = [(Roi((0, 0, 0), (1, *VOLUME.shape[1:])), ("3fm",))]
    with pytest.raises(StoppedError):
        list(predict_boxes(ArrayVolume(VOLUME), plan, nets, tiling=tiling, before_pass=stop))
    assert net.windows == 2


def test_several_nets_are_averaged():
    tiling = Tiling.of(VOLUME.shape, rules=CORRECTED)
    box = Roi((1, 0, 0), (4, 40, 1030))
    alone = [predict_box(ArrayVolume(VOLUME), box, {name: NETS[name]}, tiling=tiling) for name in NETS]
    assert not np.array_equal(*alone)
    found = predict_box(ArrayVolume(VOLUME), box, NETS, tiling=tiling)
    for z, plane in enumerate(found):
        assert_array_equal(plane, ensemble([one[z] for one in alone]))
