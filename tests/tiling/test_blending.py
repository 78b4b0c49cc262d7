"""Tiles that overlap and are averaged: weights add up to 1, an identity gives the input back, seams go."""

from __future__ import annotations

import numpy as np
import pytest
from cdeep3m.matlab_ports.break_large_img import CANVAS, HALO
from numpy.testing import assert_allclose, assert_array_equal

from address_volumes import ArrayVolume, addresses, maps_of
from cdeep3m.engines.averages import averaged
from cdeep3m.engines.identity import IdentityNet
from cdeep3m.errors import InputError
from cdeep3m.geometry import Roi
from cdeep3m.prediction.core import NetInUse, predict_boxes
from cdeep3m.rules import ORIGINAL
from cdeep3m.tiling import grid
from cdeep3m.tiling.blending import MOST, blend_for, blended_ranges
from cdeep3m.tiling.grid import Tiling
from cdeep3m.tiling.variants import VARIANTS

SIDES = [14, 1000, 1024, 1025, 1026, 1900, 2048, 2100, 5000]


class EdgeNet(IdentityNet):
    """A net that is wrong near the edges of what it sees: the more, the nearer."""

    def averaged(self, windows, variants, **options):
        def predict(shown):
            for window in shown:
                height, width = window.shape[1:]
                far = (np.minimum(np.arange(side), np.arange(side)[::-1]) for side in (height, width))
                distance = np.minimum.outer(*far)
                yield (0.5 * np.clip(distance / 64, 0, 1)).astype(np.float32)

        return averaged(predict, windows, variants, **options)


class SlopeNet(IdentityNet):
    """A net that says where in its window a voxel is, from left to right."""

    def averaged(self, windows, variants, **options):
        def predict(shown):
            for window in shown:
                height, width = window.shape[1:]
                yield np.tile(np.arange(width, dtype=np.float32) / width, (height, 1))

        return averaged(predict, windows, variants, **options)


def predicted(volume: np.ndarray, tiling: Tiling, net: IdentityNet, **options) -> np.ndarray:
    made = np.zeros(volume.shape, np.float32 if options else np.uint8)
    plan = [(box, ("net",)) for box in tiling.boxes()]
    nets = {"net": NetInUse(net, VARIANTS[:1])}
    for box, maps in predict_boxes(ArrayVolume(volume), plan, nets, tiling=tiling, **options):
        made[box.slices] = maps["net"]
    return made


@pytest.mark.parametrize("blend", [8, 40, 104, MOST])
@pytest.mark.parametrize("side", SIDES)
def test_weights_add_up_to_one_and_leave_out_the_outermost_voxels(side: int, blend: int) -> None:
    shape = (1, 14, side)
    tiling = Tiling(shape=shape, rows=((0, 14),), columns=blended_ranges(side, blend), z_cuts=(0, 1), blend=blend)
    total, most = np.zeros(side), np.zeros(side, int)
    for package in tiling.packages:
        _, columns = tiling.weights(package)
        begin, end = package.write.begin[2], package.write.end[2]
        total[begin:end] += columns
        most[begin:end] += 1
        assert package.read.shape[2] <= CANVAS
        assert begin == 0 or begin - package.read.begin[2] == HALO
        assert end == side or package.read.end[2] - end == HALO
    assert_allclose(total, 1, rtol=0, atol=1e-12)
    assert most.max() <= 2


@pytest.mark.parametrize("reach", [0, 41, 76])
def test_tiles_begin_in_one_raster(reach: int) -> None:
    for tiling in (Tiling.of((1, 14, 5000), reach=reach), huge((1, 40, 5000), reach)):
        starts = {(p.write.begin[2] - p.canvas_begin[1]) % 16 for p in tiling.packages}
        assert len(tiling.columns) > 1
        assert len(starts) == 1


def huge(shape: tuple[int, int, int], reach: int) -> Tiling:
    """A volume whose planes are predicted tile by tile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "LARGEST_PLANE", 2**14)
        return Tiling.of(shape, reach=reach)


@pytest.mark.parametrize("shape", [(2, 16, 1025), (1, 1030, 40), (1, 1400, 1100)])
@pytest.mark.parametrize("reach", [0, 76])
def test_an_identity_still_returns_the_input(shape: tuple[int, int, int], reach: int) -> None:
    volume = addresses(shape)
    assert_array_equal(predicted(volume, Tiling.of(shape, reach=reach), IdentityNet(1)), maps_of(volume))
    unrounded = predicted(volume, Tiling.of(shape, reach=reach), IdentityNet(1), unrounded=True)
    assert_allclose(unrounded, volume / 255, atol=1e-6)


def test_boxes_of_a_blended_plane_hold_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (1, 40, 2100)
    volume, tiling = addresses(shape), Tiling.of(shape, reach=76)
    whole = predicted(volume, tiling, EdgeNet(1))
    parts, covered = np.zeros(shape, np.uint8), np.zeros(shape, int)
    boxes = tiling.boxes(largest_plane=2**14)
    assert len(boxes) == 3
    nets = {"net": NetInUse(EdgeNet(1), VARIANTS[:1])}
    for box, maps in predict_boxes(ArrayVolume(volume), [(box, ("net",)) for box in boxes], nets, tiling=tiling):
        parts[box.slices] = maps["net"]
        covered[box.slices] += 1
    assert_array_equal(covered, 1)
    assert_array_equal(parts, whole)


def test_where_two_tiles_disagree_the_map_goes_smoothly_from_one_to_the_other() -> None:
    shape = (1, 20, 1500)
    volume = addresses(shape)
    tiled, blended = Tiling.of(shape), Tiling.of(shape, reach=76)
    hard, smooth = (predicted(volume, tiling, SlopeNet(1), unrounded=True)[0] for tiling in (tiled, blended))
    assert tiled.seams == ([], [1000])
    steps = abs(np.diff(hard[10]))
    assert steps.argmax() == 999
    assert steps.max() > 0.9
    assert abs(np.diff(smooth, axis=1)).max() < 2 / blended.blend


@pytest.mark.parametrize("reach", [0, 41, 76, 300])
def test_tiles_of_huge_planes_read_as_much_more_as_the_net_looks_at(reach: int) -> None:
    shape = (1, 40, 5000)
    tiling = huge(shape, reach)
    covered = np.zeros(shape[2], int)
    for package in tiling.packages:
        begin, end = package.write.begin[2], package.write.end[2]
        covered[begin:end] += 1
        assert package.read.shape[2] <= CANVAS
        for beyond, at_face in (
            (begin - package.read.begin[2], begin == 0),
            (package.read.end[2] - end, end >= shape[2] - min(reach, 252)),
        ):
            assert at_face or beyond >= min(reach, 252)
    assert_array_equal(covered, 1)
    volume = addresses(shape)
    assert_array_equal(predicted(volume, tiling, IdentityNet(1)), maps_of(volume))


def test_without_blending_tiles_are_what_they_were() -> None:
    for shape in ((3, 1025, 500), (2, 3001, 2048)):
        plain = Tiling.of(shape)
        assert (plain.blend, plain.halo) == (0, HALO)
        assert_array_equal(plain.seams[0], [begin + HALO for begin, _ in plain.rows[1:]])


def test_overlaps_are_bounded_by_the_canvas() -> None:
    assert [blend_for(reach) + 2 * HALO for reach in (1, 8, 9, 104, 105, 10**6)] == [32, 32, 64, 128, 160, 512]


def test_the_original_is_not_blended() -> None:
    with pytest.raises(InputError, match="use either --exact or --blend"):
        Tiling.of((3, 2000, 30), rules=ORIGINAL, reach=40)


def test_a_box_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any box, wherever it is cut, holds the same bytes."""
    shape = (1, 20, 1500)
    volume, tiling = addresses(shape), Tiling.of(shape, reach=76)
    whole = predicted(volume, tiling, EdgeNet(1))
    box = Roi((0, 3, 890), (1, 17, 1003))
    nets = {"net": NetInUse(EdgeNet(1), VARIANTS[:1])}
    ((_, maps),) = predict_boxes(ArrayVolume(volume), [(box, ("net",))], nets, tiling=tiling)
    assert_array_equal(maps["net"], whole[box.slices])
