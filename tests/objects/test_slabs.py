"""Objects between boundaries, slab by slab: the same as of the whole volume at once."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import tifffile
from cdeep3m.matlab_ports.apply_3d_watershed import apply_3d_watershed, fill_shallow_basins, smooth
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import ndimage

from cdeep3m.objects import slabs
from cdeep3m.objects.slabs import filled, find_basins
from cdeep3m.volumes import mapped, open_volume
from cdeep3m.volumes.arrays import ArrayVolume
from cdeep3m.volumes.tiff import write_stack


def membranes(seed: int, shape: tuple[int, int, int], *, grays: int = 256, width: float = 1.5) -> np.ndarray:
    """Bright sheets around dark cells, in so many shades: fewer make more flat places."""
    rough = np.random.default_rng(seed).standard_normal(shape)
    smoothed = ndimage.gaussian_filter(rough, width)
    sheets = np.exp(-((smoothed / smoothed.std()) ** 2) * 4)
    return (np.floor(sheets * (grays - 1)) * (255 // (grays - 1))).astype(np.uint8)


@given(
    seed=st.integers(0, 1000),
    depth=st.integers(1, 9),
    grays=st.sampled_from([2, 4, 16, 256]),
    planes=st.integers(1, 4),
    exact=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_any_slabs_give_the_objects_of_the_whole(seed, depth, grays, planes, exact):
    maps = membranes(seed, (depth, 14, 17), grays=grays)
    whole = apply_3d_watershed(maps, exact=exact)
    found = find_basins(ArrayVolume(maps), depth=0.15, exact=exact, most_voxels=planes * 14 * 17)
    assert_array_equal(np.stack(list(found.lined())), whole)
    assert found.count == whole.max()


@pytest.mark.parametrize("exact", [True, False])
def test_basins_are_filled_to_the_last_bit_as_in_the_whole(exact):
    maps = membranes(3, (11, 20, 20))
    parts = [slice(z, min(z + 3, 11)) for z in range(0, 11, 3)]
    whole = fill_shallow_basins(np.stack([smooth(plane / 255, exact=exact) for plane in maps]), 0.15, exact=exact)
    found = filled(ArrayVolume(maps), parts, depth=0.15, exact=exact, folder=None)
    assert found.tobytes() == whole.tobytes()


def test_water_that_goes_to_and_fro_between_slabs_arrives():
    """A path like a comb, through three planes at each tooth, that falls by a step a voxel to one end."""
    heights, z = np.full((3, 1, 41), 255, np.uint8), 0
    way = []
    for x in range(0, 41, 2):
        way += [(k, 0, x) for k in (range(3) if z == 0 else range(2, -1, -1))]
        z = 2 - z
        way += [(z, 0, x + 1)] if x < 40 else []
    for step, voxel in enumerate(reversed(way)):
        heights[voxel] = step
    slabs_ = [slice(k, k + 1) for k in range(3)]
    values = heights.astype(np.float64)
    distances = np.full(heights.shape, slabs.FAR, np.int32)
    slabs._until_settled(slabs_, lambda slab: slabs._distances_of(slab, values, distances), distances)
    labels = np.zeros(heights.shape, np.int64)
    numbers = slabs._ways(slabs_, values, distances, labels)
    slabs._join(slabs_, labels, numbers)
    assert numbers.tolist() == [1]
    assert (labels == 1).all()


def test_volume_lies_in_files_and_a_slab_in_memory(tmp_path, monkeypatch):
    """What is held grows with the slab: four times as many planes take what these do."""
    monkeypatch.setattr(mapped, "IN_MEMORY", 0)
    held = []
    for times in (1, 4):
        path = tmp_path / f"{times}.tif"
        write_stack(path, np.concatenate([membranes(1, (12, 48, 48))] * times))
        tracemalloc.start()
        found = find_basins(open_volume(path), depth=0.15, folder=tmp_path, most_voxels=4 * 48 * 48)
        for _ in found.lined():
            pass
        held.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert held[1] < 1.2 * held[0]


def test_command_s_stack_is_that_of_the_whole(tmp_path, monkeypatch):
    from cdeep3m.cli.apply_3d_watershed import main

    maps = membranes(5, (7, 30, 40))
    write_stack(tmp_path / "maps.tif", maps)
    monkeypatch.setattr(slabs, "MOST_VOXELS", 2 * 30 * 40)
    assert main([str(tmp_path / "maps.tif"), str(tmp_path / "maps.tif"), str(tmp_path / "out")]) == 0
    assert_array_equal(tifffile.imread(tmp_path / "out" / "labels.tif"), apply_3d_watershed(maps))
    assert not [
        path
        for path in (tmp_path / "out").iterdir()
        if path.suffix not in (".tif", ".png") and path.name != ".made_of.json"
    ]
