"""Scores on held-out planes, and the calibration that follows from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cdeep3m.engines.base import TrainedModel
from cdeep3m.engines.identity import IdentityEngine
from cdeep3m.errors import InputError
from cdeep3m.evaluation.calibrating import fitted
from cdeep3m.evaluation.held_out import MOST_PLANES, Judge
from cdeep3m.training.holding_out import HeldOut
from cdeep3m.volumes.labels import IGNORED

STEPS = 1001
MODEL = TrainedModel(
    net="1fm", deploy=Path("1fm/deploy.prototxt"), weights=Path("1fm/trainedmodel/1fm_iter_7.caffemodel")
)


def counts(scale=1.0, offset=0.0, foreground=0.3):
    """Count voxels whose true probability is sigmoid(scale * logit(p) + offset), as many of each p."""
    p = np.linspace(0, 1, STEPS)[1:-1]
    true = 1 / (1 + np.exp(-(scale * np.log(p / (1 - p)) + offset)))
    weight = np.exp(-(((true - foreground) / 0.3) ** 2)) * 1e6
    return np.stack([np.pad(weight * (1 - true), 1), np.pad(weight * true, 1)]).round().astype(int)


def f1_at(counted, step):
    background, foreground = counted
    found = foreground[step:].sum()
    return 2 * found / (found + background[step:].sum() + foreground.sum())


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("offset", [-2.0, 0.0, 1.0])
def test_the_best_threshold_becomes_one_half(scale, offset):
    counted = counts(scale, offset)
    fitted_scale, fitted_offset = fitted(counted)
    threshold = 1 / (1 + np.exp(fitted_offset / fitted_scale))
    best = max(f1_at(counted, step) for step in range(1, STEPS))
    assert f1_at(counted, round(threshold * (STEPS - 1))) >= best - 0.002


def test_an_overconfident_net_gets_a_higher_temperature_than_a_timid_one():
    scales = [fitted(counts(scale))[0] for scale in (0.25, 0.5, 1.0, 2.0, 4.0)]
    assert (np.diff(scales) > 0).all()
    assert scales[0] < 0.5
    assert scales[-1] > 2


def test_a_perfect_net_is_left_with_its_threshold_in_the_middle():
    counted = np.zeros((2, STEPS), int)
    counted[0, 0] = counted[1, -1] = 100
    scale, offset = fitted(counted)
    assert_allclose(offset, 0, atol=1e-9)
    assert np.isfinite(scale)


def part(planes=4, first=1):
    """Planes whose gray values are the identity's probabilities: foreground 60 to 99, background 0 to 59 and 200."""
    z, y, x = np.indices((planes, 20, 30))
    data = ((z + 7 * y + 3 * x) % 100).astype(np.uint8)
    label = (data >= 60).astype(np.uint8)
    data[:, 0, 0] = 200
    label[:, 0, 0] = 0
    return HeldOut(data=data, label=label, first=first, words="planes 2 to 4 of 4, held out")


def test_snapshots_are_scored_at_their_best_threshold_and_at_one_half():
    held = part()
    scored = Judge(IdentityEngine(), [held]).score(MODEL)
    assert (scored.iteration, scored.weights) == (7, "1fm_iter_7.caffemodel")
    assert 59 <= round(scored.threshold * 255) <= 61
    foreground = int(held.label[1:].sum())
    assert_allclose(scored.f1, 2 * foreground / (2 * foreground + 3))
    assert scored.f1_at_half == 0


def test_planes_of_the_gap_are_not_scored():
    held = part()
    held.label[0] = 1 - held.label[0]
    assert Judge(IdentityEngine(), [held]).score(MODEL) == Judge(IdentityEngine(), [part()]).score(MODEL)


def test_voxels_that_do_not_count_are_not_scored():
    held = part()
    held.label[:, 0, 0] = IGNORED
    assert Judge(IdentityEngine(), [held]).score(MODEL).f1 == 1


def test_a_calibrated_map_is_best_cut_at_one_half():
    judge = Judge(IdentityEngine(), [part()])
    calibration = judge.calibrate(MODEL)
    assert (calibration.weights, calibration.planes) == ("1fm_iter_7.caffemodel", "planes 2 to 4 of 4, held out")
    assert_allclose(calibration.threshold * 255, 59.5, atol=1)
    assert (calibration.apply(np.array([59, 60]) / 255) >= 0.5).tolist() == [False, True]


def test_a_few_planes_stand_for_many_and_all_volumes_are_scored():
    loaded = []

    class Engine(IdentityEngine):
        def load(self, model, **options):
            loaded.append(super().load(model, **options))
            return loaded[-1]

    Judge(Engine(), [part(planes=40), part(planes=3)]).score(MODEL)
    assert sum(net.windows for net in loaded) == MOST_PLANES + 2


def test_maps_that_tell_nothing_apart_are_not_calibrated():
    held = part()
    held.data[:] = 77
    assert Judge(IdentityEngine(), [held]).calibrate(MODEL) is None


def test_nothing_is_calibrated_on_background_alone():
    held = part()
    held.label[:] = 0
    with pytest.raises(InputError, match="background or foreground alone"):
        Judge(IdentityEngine(), [held]).calibrate(MODEL)


class Classes(IdentityEngine):
    """Three classes beyond background: the probability of each is the voxel's value as far as it is of that class."""

    def load(self, model, **options):
        net = super().load(model, **options)
        share = {1: 1.0, 2: 0.5, 3: 0.25}[model.label]
        foreground = net.foreground
        net.foreground = lambda windows: (share * values for values in foreground(windows))
        return net


def several():
    """Voxels of 60 to 99 are of class 1 and of class 2, alternately; class 3 is nowhere."""
    held = part()
    held.label[(held.label == 1) & (np.indices(held.label.shape)[2] % 2 == 1)] = 2
    return held


def test_snapshots_of_several_classes_get_the_mean_of_those_that_are_there():
    held = several()
    found = Judge(Classes(), [held], classes=4).score(MODEL)
    alone = []
    for label in (1, 2):
        truth = HeldOut(data=held.data, label=(held.label == label).astype(np.uint8), first=held.first)
        alone.append(Judge(Classes(), [truth]).score(replace(MODEL, label=1)))
    assert_allclose(found.classes[0], alone[0].f1)
    assert found.classes[2] is None
    assert_allclose(found.f1, np.mean(found.classes[:2]))
    assert 0 < found.classes[1] < 1
    assert "class 3 not there" in found.words


def test_every_class_that_is_there_is_calibrated_by_its_own_maps():
    judge = Judge(Classes(), [several()], classes=4)
    assert judge.labels == (1, 2, 3)
    one, two, three = (judge.calibrate(replace(MODEL, label=label)) for label in judge.labels)
    assert (one.label, two.label, three) == (1, 2, None)
    assert_allclose(one.threshold * 255, 59.5, atol=1)
    assert_allclose(two.threshold * 255, 59.5 / 2, atol=1)
