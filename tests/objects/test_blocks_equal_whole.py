"""Objects do not depend on the blocks that they are found in."""

from __future__ import annotations

import csv
import sys
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cdeep3m.objects.components import foreground, label_components
from cdeep3m.objects.faces import faces_of, touching
from cdeep3m.objects.grid import BlockGrid, forward_directions
from cdeep3m.objects.job import ObjectsRequest, find_objects
from cdeep3m.objects.measures import measure
from cdeep3m.objects.merging import merge, offsets_of
from cdeep3m.volumes.address import Address

if TYPE_CHECKING:
    from pathlib import Path

SIZES = st.tuples(*[st.integers(1, 6)] * 3)


@st.composite
def volumes(draw: st.DrawFn) -> np.ndarray:
    shape = tuple(draw(SIZES))
    share = draw(st.sampled_from([0.15, 0.4, 0.6]))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < share, rng.integers(128, 256, shape), rng.integers(0, 128, shape)).astype(
        np.uint8
    )


def labelled(folder: Path, maps: np.ndarray, block: tuple[int, int, int], **options: object) -> np.ndarray:
    """Return the labels of the maps, found in blocks of `block`; the tables lie in `folder`."""
    tifffile.imwrite(folder / "maps.tif", maps, photometric="minisblack", metadata=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cdeep3m.objects.job.block_for", lambda shape, *_, **__: tuple(map(min, block, shape)))
        find_objects(ObjectsRequest(maps=Address.of(folder / "maps.tif"), out=folder / "labels.tif", **options))
    return tifffile.imread(folder / "labels.tif").reshape(maps.shape)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "objects.csv").open() as file:
        return list(csv.DictReader(file))


def joined(maps: np.ndarray, block: tuple[int, int, int], connectivity: int) -> np.ndarray:
    """Return the labels of the maps, found in blocks of `block`, without a file."""
    grid = BlockGrid(maps.shape, block)
    values = [maps[grid.roi(number).slices] for number in range(len(grid))]
    labels = [label_components(foreground(part, 0.5), connectivity) for part in values]
    faces = [faces_of(part) for part, _ in labels]
    offsets = offsets_of([count for _, count in labels])
    measured = [
        measure(part, own, count, begin=grid.roi(number).begin, shape=maps.shape)
        for number, ((part, count), own) in enumerate(zip(labels, values, strict=True))
    ]
    same = [np.zeros((0, 2), np.int64)]
    for number, direction in product(range(len(grid)), forward_directions(connectivity)):
        other = grid.neighbour(number, direction)
        if other is not None:
            pairs = touching(faces[number], faces[other], direction, connectivity)
            same.append(pairs - 1 + offsets[[number, other]])
    objects = merge(np.concatenate(measured), np.concatenate(same), np.zeros((0, 4), np.int64), shape=maps.shape)
    found = np.zeros(maps.shape, np.int64)
    for number, (part, _) in enumerate(labels):
        found[grid.roi(number).slices] = np.append(0, objects.ids[offsets[number] : offsets[number + 1]])[part]
    return found


@settings(max_examples=150, deadline=None)
@given(maps=volumes(), block=SIZES, connectivity=st.sampled_from([6, 26]))
def test_components_are_those_of_scipy_for_any_block(maps, block, connectivity):
    structure = ndimage.generate_binary_structure(3, 1 if connectivity == 6 else 3)
    expected, _ = ndimage.label(maps >= 128, structure)
    np.testing.assert_array_equal(joined(maps, block, connectivity), expected)


@settings(max_examples=12, deadline=None)
@given(maps=volumes(), block=SIZES, connectivity=st.sampled_from([6, 26]))
def test_labels_are_those_of_scipy_for_any_block(tmp_path_factory, maps, block, connectivity):
    folder = tmp_path_factory.mktemp("objects")
    structure = ndimage.generate_binary_structure(3, 1 if connectivity == 6 else 3)
    expected, _ = ndimage.label(maps >= 128, structure)
    np.testing.assert_array_equal(labelled(folder, maps, block, connectivity=connectivity), expected)


@pytest.mark.parametrize("connectivity", [6, 26])
def test_labels_are_the_same_without_cc3d(tmp_path, monkeypatch, connectivity):
    rng = np.random.default_rng(3)
    maps = (rng.random((9, 10, 11)) < 0.3).astype(np.uint8) * 255
    monkeypatch.setitem(sys.modules, "cc3d", None)
    expected, _ = ndimage.label(maps, ndimage.generate_binary_structure(3, 1 if connectivity == 6 else 3))
    np.testing.assert_array_equal(labelled(tmp_path, maps, (4, 3, 5), connectivity=connectivity), expected)


@settings(max_examples=8, deadline=None)
@given(maps=volumes(), block=SIZES, options=st.sampled_from([{}, {"split": 0.5}]))
def test_tables_are_the_same_for_any_block(tmp_path_factory, maps, block, options):
    folders = [tmp_path_factory.mktemp("tables") for _ in range(2)]
    for folder, cut in zip(folders, (block, maps.shape), strict=True):
        labelled(folder, maps, cut, min_size=2, border="keep", voxel_size=(3.0, 1.0, 1.5), unit="nm", **options)
    blocks, whole = (table(folder) for folder in folders)
    assert [row.keys() for row in blocks] == [row.keys() for row in whole]
    for a, b in zip(blocks, whole, strict=True):
        assert {k: float(v) for k, v in a.items() if k != "unit"} == pytest.approx(
            {k: float(v) for k, v in b.items() if k != "unit"}, rel=1e-6, abs=1e-9
        )
    assert (folders[0] / "density.csv").read_text() == (folders[1] / "density.csv").read_text()


@settings(max_examples=8, deadline=None)
@given(maps=volumes(), block=SIZES, depth=st.sampled_from([0.3, 1.0]))
def test_split_objects_that_fit_the_halo_are_the_same_for_any_block(tmp_path_factory, maps, block, depth):
    folders = [tmp_path_factory.mktemp("split") for _ in range(2)]
    parts = [
        labelled(folder, maps, cut, split=depth, halo=9)
        for folder, cut in zip(folders, (block, maps.shape), strict=True)
    ]
    np.testing.assert_array_equal(*parts)
