"""Patches as augmentation shows them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cdeep3m.augmentation.patches import Look, change_gray_values, draw_look, look_at
from cdeep3m.augmentation.settings import Augmentation, augmentation_of
from cdeep3m.edition2.settings import Strengths
from cdeep3m.engines.base import LabelledVolume
from cdeep3m.engines.patches import PatchSampler, white_of
from cdeep3m.errors import InputError, MissingFileError
from cdeep3m.volumes.labels import IGNORED

ALL = Augmentation(strengths=Strengths.all_of(8), resize=5)
SIDES = (24, 20, 3)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def volume(dtype=np.uint8, sides=(60, 50, 7)) -> LabelledVolume:
    """Smooth blobs; what is bright is foreground."""
    x, y, z = np.indices(sides)
    data = (128 + 100 * np.sin(x / 5) * np.cos(y / 4 + z / 3)).astype(dtype)
    return LabelledVolume(data, (data > 128).astype(np.uint8))


def sampler(augmentation: Augmentation | None, *volumes: LabelledVolume, sides=SIDES) -> PatchSampler:
    label_sides = (*sides[:2], 1)
    return PatchSampler(volumes or [volume()], data_shape=sides, label_shape=label_sides, augmentation=augmentation)


def test_the_identity_shows_the_patch_as_it_is():
    x, y = (axis.astype(np.float32) - side // 2 for axis, side in zip(np.indices((24, 20)), (24, 20), strict=True))
    source = volume()
    data, label, inside = look_at(
        source.data[None], source.label[None], (30, 25, 3), Look(x, y, 1.0), depth=3, label_depth=1
    )
    np.testing.assert_allclose(data[0], source.data[18:42, 15:35, 2:5], atol=1e-3)
    np.testing.assert_array_equal(label[0], source.label[18:42, 15:35, 3:4])
    assert inside.all()


@pytest.mark.parametrize("seed", range(12))
def test_labels_move_with_their_images(seed):
    look = draw_look((24, 20), replace(ALL, shape_share=0.5, resize_share=0.5), rng(seed))
    source = volume(np.float32, (200, 200, 3))
    data, label, inside = look_at(source.data[None], source.label[None], (100, 100, 1), look, depth=1, label_depth=1)
    assert inside.all()
    clear = np.abs(data[0] - 128) > 25
    assert ((data[0] > 128) == (label[0] == 1))[clear].mean() > 0.98


@pytest.mark.correction2(20, "corrected")
def test_what_lies_outside_is_0_and_left_out_of_the_loss():
    centre = rng().integers(8, 12)
    x, y = (2 * (axis.astype(np.float32) - 8) for axis in np.indices((16, 16)))
    source = volume(sides=(20, 20, 3))
    data, label, inside = look_at(
        source.data[None], source.label[None], (int(centre), 10, 1), Look(x, y, 0.5), depth=1, label_depth=1
    )
    np.testing.assert_array_equal(label[0, ..., 0] == IGNORED, ~inside)
    assert 0 < (~inside).sum() < inside.size
    del data
    patches = [sampler(ALL, volume(sides=(30, 30, 3)), sides=(24, 24, 3)).draw(rng(seed)) for seed in range(30)]
    outside = [(patch[0][label[0, ..., 0] == IGNORED] == 0).all() for patch, label in patches]
    assert all(outside)
    assert any((label == IGNORED).any() for _, label in patches)


def test_skew_moves_along_the_axis_that_it_says():
    only_skew = Augmentation(strengths=replace(Strengths.all_of(0), skew=10), shape_share=1)
    look = draw_look((200, 20), only_skew, rng(4))
    x, y = (axis.astype(np.float32) - side // 2 for axis, side in zip(np.indices((200, 20)), (200, 20), strict=True))
    assert (look.x != x).any() != (look.y != y).any()


def test_changed_patches_are_nearly_as_noisy_as_what_is_predicted():
    noise = LabelledVolume(rng().normal(100, 20, (300, 300, 1)).astype(np.float32), np.ones((300, 300, 1), np.uint8))
    skewed = Augmentation(strengths=replace(Strengths.all_of(0), skew=9), shape_share=1)
    found = [sampler(skewed, noise, sides=(64, 64, 1)).draw(rng(seed)) for seed in range(20)]
    whole = [data for data, label in found if not (label == IGNORED).any()]
    assert len(whole) > 10
    assert np.mean([data.std() for data in whole]) > 0.84 * 20  # interpolated linearly, it would be two thirds


def test_noise_is_drawn_anew_for_each_patch_up_to_its_part_of_white():
    flat = np.full((1, 60, 60, 3), 5.0, np.float32)
    found = [change_gray_values(flat, Augmentation(noise=0.1), 255, rng(seed)) for seed in range(60)]
    deviations = [float(patch.std()) for patch in found]
    assert 0 < min(deviations) < 4
    assert 20 < max(deviations) < 26
    assert np.mean(found) == pytest.approx(5, abs=0.2)  # not cut off at black
    assert Augmentation(noise=0.1).changes_gray_values
    assert not Augmentation(noise=0.1).changes_shape
    assert Augmentation(noise=0.1).words == "noise 0.1"
    with pytest.raises(InputError, match="--noise 2: expected a number from 0 to 1"):
        Augmentation(noise=2)


def test_splines_stay_within_the_values_around():
    steps = np.zeros((80, 80, 1), np.uint8)
    steps[40:] = 255
    for seed in range(10):
        data, _ = sampler(ALL, LabelledVolume(steps, np.ones_like(steps)), sides=(24, 24, 1)).draw(rng(seed))
        assert 0 <= data.min() <= data.max() <= 255


def test_without_augmentation_patches_are_those_of_before():
    plain, none = sampler(None), sampler(Augmentation())
    for seed in range(5):
        for one, other in zip(plain.draw(rng(seed)), none.draw(rng(seed)), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_same_seed_gives_the_same_patches():
    one, two = sampler(ALL), sampler(ALL)
    different = 0
    for seed in range(20):
        (data, label), (again, label_again) = one.draw(rng(seed)), two.draw(rng(seed))
        np.testing.assert_array_equal(data, again)
        np.testing.assert_array_equal(label, label_again)
        different += (data != sampler(None).draw(rng(seed))[0]).any()
    assert different > 10


def test_values_stay_in_range_and_labels_two_valued():
    for seed in range(40):
        data, label = sampler(ALL).draw(rng(seed))
        assert data.dtype == label.dtype == np.float32
        assert data.min() >= 0
        assert data.max() <= 255
        assert set(np.unique(label)) <= {0, 1, IGNORED}


@pytest.mark.correction2(21, "corrected")
def test_planes_beyond_the_volume_stay_0_whatever_is_done_to_the_others():
    source = volume(sides=(40, 40, 2))
    for seed in range(30):
        data, _ = sampler(Augmentation(strengths=Strengths.all_of(10)), source, sides=(24, 20, 5)).draw(rng(seed))
        assert (data == 0).all(axis=(0, 1, 2)).sum() >= 3


def test_each_operation_is_drawn_as_often_as_its_share():
    patch = volume(np.float32, (12, 12, 1)).data[np.newaxis]
    drawn = [change_gray_values(patch, ALL, 255, rng(seed)) for seed in range(200)]
    changed = np.mean([(found != patch).any() for found in drawn])
    assert changed == pytest.approx(7 / 8, abs=0.08)
    looks = [draw_look((8, 8), Augmentation(strengths=Strengths.all_of(5)), rng(seed)) for seed in range(300)]
    assert np.mean([look is not None for look in looks]) == pytest.approx(1 / 2, abs=0.09)


def test_a_strength_of_0_leaves_an_operation_out():
    only_skew = Augmentation(strengths=replace(Strengths.all_of(0), skew=5))
    patch = volume(np.float32, (12, 12, 1)).data[np.newaxis]
    for seed in range(50):
        np.testing.assert_array_equal(change_gray_values(patch, only_skew, 255, rng(seed)), patch)
    assert only_skew.changes_shape
    assert not only_skew.changes_gray_values
    assert not Augmentation(strengths=Strengths.all_of(0))


def test_resizing_stays_within_the_range_of_its_strength():
    looks = [draw_look((8, 8), Augmentation(resize=3), rng(seed)) for seed in range(300)]
    factors = [look.factor for look in looks if look]
    smallest, largest = Augmentation(resize=3).resize_range
    assert smallest <= min(factors) < 0.9
    assert 1.1 < max(factors) <= largest
    assert np.mean([look is None for look in looks]) == pytest.approx(0.5, abs=0.09)


def test_volumes_are_drawn_by_their_weights():
    dark, bright = (LabelledVolume(np.full((9, 9, 3), v, np.uint8), np.ones((9, 9, 3), np.uint8)) for v in (1, 2))
    drawn = sampler(None, replace(dark, weight=3.0), bright, sides=(4, 4, 1))
    values = [float(drawn.draw(rng(seed))[0].max()) for seed in range(400)]
    assert np.mean(np.array(values) == 1) == pytest.approx(0.75, abs=0.07)


def test_white_is_that_of_the_stored_images():
    assert white_of(np.uint8([1])) == white_of(np.float32([254])) == 255
    assert white_of(np.uint16([1])) == white_of(np.float32([256])) == 65535


def test_strengths_are_read_and_checked(tmp_path):
    path = tmp_path / "augcfg.ini"
    path.write_text(Strengths(skew=7).text())
    assert augmentation_of(str(path)) == Augmentation(strengths=Strengths(skew=7))
    assert augmentation_of("0") == Augmentation()
    assert augmentation_of("4", 2).words.startswith("highcontrast 4, lowcontrast 4")
    path.write_text(Strengths(skew=11).text())
    with pytest.raises(InputError, match="skew = 11: expected a whole number from 0 to 10"):
        augmentation_of(str(path))
    path.write_text("[Additional Augmentations]\nblur = 3\n")
    with pytest.raises(InputError, match="missing: highcontrast"):
        augmentation_of(str(path))
    with pytest.raises(MissingFileError, match="augconfig.py writes"):
        augmentation_of(str(tmp_path / "no.ini"))
    with pytest.raises(InputError, match="expected a number from 0 to 10"):
        augmentation_of("abc")
    with pytest.raises(InputError, match="resize = 11"):
        augmentation_of("1", 11)


def test_a_preset_says_how_often_things_are_done(tmp_path):
    preset = tmp_path / "often.ini"
    preset.write_text(Strengths().text() + "[Shares]\ngray = 0.143\nshape = 0\n")
    augmentation = augmentation_of(str(preset))
    assert (augmentation.gray_share, augmentation.shape_share) == (pytest.approx(1 / 7), 0)
    assert augmentation.words.endswith("gray share 0.142857, shape share 0")
    assert all(draw_look((24, 20), augmentation, rng(seed)) is None for seed in range(30))
    patch = volume(np.float32).data[None, :24, :20, :3]
    kept = sum((change_gray_values(patch, augmentation, 255, rng(seed)) == patch).all() for seed in range(30))
    plain = augmentation_of("3")
    assert kept < sum((change_gray_values(patch, plain, 255, rng(seed)) == patch).all() for seed in range(30))


@pytest.mark.parametrize(
    ("lines", "said"),
    [("gray = 0.2", "gray from 0 to 1/7"), ("shape = often", "shape from 0 to 1/2"), ("blur = 0.1", "expected gray")],
)
def test_shares_that_make_no_sense_are_an_error(tmp_path, lines, said):
    preset = tmp_path / "often.ini"
    preset.write_text(f"{Strengths().text()}[Shares]\n{lines}\n")
    with pytest.raises(InputError, match=said):
        augmentation_of(str(preset))
