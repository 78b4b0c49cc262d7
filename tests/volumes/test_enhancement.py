"""Enhanced planes: as CDeep3M2's where it works, and unharmed where it fails."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from cdeep3m.edition2 import enhancement as second_edition
from cdeep3m.edition2.total_variation import denoise_lines
from cdeep3m.errors import InputError
from cdeep3m.geometry import Roi
from cdeep3m.volumes.arrays import ArrayVolume
from cdeep3m.volumes.base import read_all
from cdeep3m.volumes.enhanced import PLANES_FOR_LEVELS, enhanced, open_enhanced
from cdeep3m.volumes.enhancement import (
    Enhancement,
    denoise_plane,
    enhance,
    enhancement_of_text,
    percentiles,
)
from edition2.recordings import Recording, ids, recordings
from octave_cases import png_folder, synth


class InMemory(ArrayVolume):
    """A volume that is an array and notes which planes are read."""

    def __init__(self, array: np.ndarray) -> None:
        super().__init__(array)
        self.read_planes: list[int] = []

    def read(self, roi: Roi) -> np.ndarray:
        self.read_planes += range(roi.begin[0], roi.end[0])
        return super().read(roi)


def cells(planes: int = 3, side: int = 48, noise: int = 9) -> np.ndarray:
    """Blobs with noise on top."""
    y, x = np.mgrid[:side, :side]
    blobs = 110 + 70 * np.sin(y / 7 + np.arange(planes)[:, None, None]) * np.cos(x / 5)
    return np.clip(blobs + synth(planes, side, side, 5).astype(float) % noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("recorded", [r for r in recordings("enhance") if r.case.get("status", 0) == 0], ids=ids)
def test_planes_are_those_of_the_second_edition_but_for_rounding(recorded: Recording):
    plane = recorded.array(f"{recorded.name}/in")
    for cut in recorded.case["low_high"]:
        found = enhance(plane, cut=int(cut)).astype(int)
        difference = np.abs(found - recorded.array(f"{recorded.name}/cut{cut}"))
        assert difference.max() <= 2
        if plane.size >= 4000:
            allowed = 0.15 if recorded.case["sigma"] > 0.2 else 0.06
            assert (difference > 0).mean() <= allowed


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (63, 5), (64, 6), (65, 7), (130, 3)])
def test_bands_of_rows_make_no_difference(shape, monkeypatch):
    plane = synth(1, *shape, 3, "float32")[0]
    whole = denoise_plane(plane, 0.1)
    for band in (1, 2, 64):
        monkeypatch.setattr("cdeep3m.volumes.enhancement.BAND", band)
        np.testing.assert_array_equal(denoise_plane(plane, 0.1), whole)


def test_one_row_is_what_the_exact_solver_makes_of_it(monkeypatch):
    monkeypatch.setattr("cdeep3m.volumes.enhancement.STILL", 1e-9)
    line = synth(1, 1, 60, 8, "float32")[0]
    np.testing.assert_allclose(denoise_plane(line, 0.2), denoise_lines(line.astype(float), 0.2), atol=2e-3)


def test_the_exact_solver_meets_the_conditions_of_the_minimum():
    lines = synth(1, 5, 40, 4, "float32")[0].astype(float)
    u = denoise_lines(lines, 0.3)
    dual = np.cumsum(lines - u, axis=1)
    assert np.abs(dual).max() <= 0.3 + 1e-12
    np.testing.assert_allclose(dual[:, -1], 0, atol=1e-12)
    rises, falls = np.diff(u) > 1e-9, np.diff(u) < -1e-9
    np.testing.assert_allclose(dual[:, :-1][rises], -0.3, atol=1e-12)
    np.testing.assert_allclose(dual[:, :-1][falls], 0.3, atol=1e-12)


@pytest.mark.correction2(6, "exact", "corrected", "same")
@pytest.mark.parametrize("value", [0, 77, 255])
def test_a_plane_without_contrast_passes_unchanged(value):
    plane = np.full((20, 30), value, np.uint8)
    plane[3, 4] = 99
    with pytest.raises(ValueError, match="without contrast"):
        second_edition.enhance(plane)
    np.testing.assert_array_equal(enhance(plane), plane)
    np.testing.assert_array_equal(enhance(plane.astype(np.uint16) * 257), plane)
    with_contrast = cells(1)[0]
    assert np.abs(enhance(with_contrast).astype(int) - second_edition.enhance(with_contrast)).max() <= 1


@pytest.mark.correction2(7, "corrected", "same")
def test_a_plane_without_noise_is_stretched_alone():
    plane = np.repeat(np.repeat(np.uint8([[0, 200], [200, 0]]), 16, 0), 16, 1)
    np.testing.assert_array_equal(enhance(plane), (plane > 0) * np.uint8(255))
    asked = []
    enhance(plane, denoise=lambda values, weight: asked.append(weight) or values)
    assert not asked
    np.testing.assert_array_equal(second_edition.enhance(plane), enhance(plane))
    assert (enhance(cells(1)[0]) != enhance(cells(1, noise=1)[0])).any()


def test_constant_planes_are_warned_about_once(caplog):
    stack = cells(4)
    stack[1:3] = 7
    volume = enhanced(InMemory(stack), Enhancement(), name="here")
    with caplog.at_level(logging.WARNING):
        found = read_all(volume)
    np.testing.assert_array_equal(found[1:3], stack[1:3])
    assert [record.getMessage() for record in caplog.records] == [
        "here: planes without contrast are not enhanced; the net sees them as they are"
    ]


def test_any_part_of_a_plane_is_enhanced_as_the_whole():
    stack = cells(4)
    volume = enhanced(InMemory(stack), Enhancement(cut=5), name="here")
    whole = np.stack([enhance(plane, cut=5) for plane in stack])
    np.testing.assert_array_equal(read_all(volume), whole)
    roi = Roi((1, 5, 7), (3, 20, 40))
    np.testing.assert_array_equal(volume.read(roi), whole[roi.slices])
    for box, block in volume.blocks(2 * 48 * 48):
        np.testing.assert_array_equal(block, whole[box.slices])


def test_planes_are_enhanced_once_while_they_are_kept():
    source = InMemory(cells(4))
    volume = enhanced(source, Enhancement(), name="here")
    for y in (0, 20):
        volume.read(Roi((0, y, 0), (4, y + 20, 48)))
    assert sorted(source.read_planes) == [0, 1, 2, 3]


@pytest.mark.correction2(8, "corrected", "same")
def test_percentiles_of_the_whole_volume_keep_brightness_along_z():
    stack = cells(2)
    stack[1] //= 2
    each = read_all(enhanced(InMemory(stack), Enhancement(), name="v"))
    whole = read_all(enhanced(InMemory(stack), Enhancement(whole_volume=True), name="v"))
    assert abs(each[0].mean() - each[1].mean()) < 6
    assert whole[0].mean() > whole[1].mean() + 50
    alike = cells(1)
    np.testing.assert_array_equal(
        read_all(enhanced(InMemory(alike), Enhancement(whole_volume=True), name="v")),
        read_all(enhanced(InMemory(alike), Enhancement(), name="v")),
    )


def test_percentiles_of_a_deep_volume_come_from_planes_spread_evenly():
    source = InMemory(np.stack([cells(1, side=16)[0]] * 100))
    enhanced(source, Enhancement(whole_volume=True), name="v")
    assert len(source.read_planes) == PLANES_FOR_LEVELS
    assert (source.read_planes[0], source.read_planes[-1]) == (0, 99)


def test_files_are_enhanced_as_they_are_read(tmp_path):
    stack = cells()
    folder = png_folder(tmp_path / "images", stack)
    np.testing.assert_array_equal(read_all(open_enhanced(folder, None)), stack)
    np.testing.assert_array_equal(read_all(open_enhanced(folder, Enhancement())), np.stack([enhance(p) for p in stack]))


@pytest.mark.correction2(9, "corrected")
def test_16_bits_are_enhanced_at_their_full_depth():
    plane = cells(1)[0]
    np.testing.assert_array_equal(enhance(plane.astype(np.uint16) * 257), enhance(plane))
    high = enhance(plane.astype(np.uint16) * 100 + 5000)
    assert np.abs(high.astype(int) - enhance(plane)).max() <= 1


def test_enhancement_is_written_down_and_read_again():
    for enhancement in (Enhancement(), Enhancement(cut=7, whole_volume=True)):
        assert enhancement_of_text(enhancement.text) == enhancement
    with pytest.raises(InputError, match="expected none, or as in"):
        enhancement_of_text("much")
    with pytest.raises(InputError, match="expected 0 to 49"):
        Enhancement(cut=50)


def test_noise_goes_and_edges_stay():
    clean = cells(1, noise=1)[0].astype(np.float32) / 255
    noisy = (clean + (synth(1, 48, 48, 6, "float32")[0] - 0.5) * 0.1).astype(np.float32)
    denoised = denoise_plane(noisy, 0.03)
    assert np.abs(denoised - clean).mean() < 0.8 * np.abs(noisy - clean).mean()
    assert np.ptp(denoised) > 0.8 * np.ptp(clean)


def test_percentiles_are_interpolated():
    assert percentiles(np.arange(101.0), 2) == (2.0, 98.0)
