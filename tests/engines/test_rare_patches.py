"""Patches that are drawn around rare classes, and batches that several threads make."""

from __future__ import annotations

import time

import numpy as np
import pytest

from cdeep3m.engines.base import LabelledVolume
from cdeep3m.engines.embedded.net.prefetch import Prefetch
from cdeep3m.engines.patches import LabelSelection, PatchSampler
from cdeep3m.errors import InputError

SIDES = (12, 10, 6)


def volume(*foreground, weight=1.0, value=1):
    """Return a volume whose voxels are their own addresses, with some voxels of foreground."""
    label = np.zeros(SIDES, np.uint8)
    for place in foreground:
        label[place] = value
    return LabelledVolume(np.arange(label.size, dtype=np.float32).reshape(SIDES), label, weight=weight)


def sampler(*volumes, rare=1.0, **options):
    return PatchSampler(volumes, data_shape=(4, 4, 1), label_shape=(4, 4, 1), rare=rare, **options)


def centres(sampler, count=200, seed=0):
    """Return the centres of some patches, which their data tell: voxels are their own addresses."""
    rng = np.random.default_rng(seed)
    patches = [sampler.draw(rng)[0][0] for _ in range(count)]
    return [tuple(int(i) for i in np.unravel_index(int(patch[2, 2, 0]), SIDES)) for patch in patches]


def test_all_rare_patches_are_centred_on_foreground_and_on_each_of_its_voxels():
    places = [(2, 3, 0), (9, 7, 5), (5, 5, 2)]
    drawn = centres(sampler(volume(*places)))
    assert set(drawn) == set(places)
    assert all(40 < drawn.count(place) < 95 for place in places)


def test_foreground_too_near_to_an_edge_is_not_drawn_around():
    assert set(centres(sampler(volume((0, 3, 1), (11, 9, 1), (4, 4, 4))))) == {(4, 4, 4)}


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_the_share_of_rare_patches_is_kept(share):
    drawn = centres(sampler(volume((5, 5, 2)), rare=share), count=800)
    assert abs(drawn.count((5, 5, 2)) / 800 - share) < 0.06


def test_rare_classes_are_drawn_as_often_as_common_ones():
    both = volume(*((x, y, 1) for x in range(2, 6) for y in range(2, 8)))
    both.label[9, 6, 4] = 2
    drawn = centres(sampler(both), count=400)
    assert abs(drawn.count((9, 6, 4)) / 400 - 0.5) < 0.08


def test_an_ignored_label_and_one_that_the_selection_leaves_out_are_not_drawn_around():
    sparse = volume((5, 5, 2))
    sparse.label[7, 7, 3] = 2
    assert set(centres(sampler(sparse, ignored=2))) == {(5, 5, 2)}
    assert set(centres(sampler(sparse, selection=LabelSelection(acceptance={0: 1, 1: 1}, rest=0)))) == {(5, 5, 2)}


def test_volumes_without_foreground_are_passed_over():
    assert set(centres(sampler(volume(), volume((5, 5, 2))))) == {(5, 5, 2)}


def test_without_any_foreground_rare_sampling_is_refused():
    with pytest.raises(InputError, match="expected one at least"):
        sampler(volume(), volume((0, 0, 0)))


def test_without_rare_sampling_patches_are_those_of_before():
    plain = PatchSampler([volume((5, 5, 2))], data_shape=(4, 4, 1), label_shape=(4, 4, 1))
    assert centres(plain, 50) == centres(sampler(volume((5, 5, 2)), rare=0.0), 50)


def test_several_threads_hand_out_the_same_batches_in_order():
    def make(number):
        time.sleep(0.002 * (number % 3))
        return number**2

    batches = Prefetch(make, workers=4)
    batches.seek(5)
    assert [batches.next() for _ in range(20)] == [number**2 for number in range(5, 25)]
    batches.close()


def test_several_threads_work_at_a_time():
    def make(number):
        time.sleep(0.05)
        return number

    batches = Prefetch(make, workers=4)
    begin = time.monotonic()
    assert [batches.next() for _ in range(12)] == list(range(12))
    assert time.monotonic() - begin < 12 * 0.05 * 0.75
    batches.close()
