"""Objects from maps to labels and tables, stopped anywhere and gone on."""

from __future__ import annotations

import contextlib
import csv
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
import tifffile
from scipy import ndimage

from cdeep3m.errors import InputError, MissingFileError, RunError
from cdeep3m.objects.job import ObjectsRequest, begin, find_objects
from cdeep3m.runners.base import InThisProcess
from cdeep3m.runners.dask import OnDask
from cdeep3m.runners.processes import Processes
from cdeep3m.volumes import open_volume, read_all
from cdeep3m.volumes.address import Address
from dask_cluster import IGNORING, local_cluster
from octave_cases import png_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cdeep3m.runners.base import Work

ROD = (slice(1, 3), slice(1, 3), slice(1, 9))


def maps() -> np.ndarray:
    """A rod, a cube, a speck, and a plate at the end of the volume."""
    volume = np.full((8, 10, 12), 10, np.uint8)
    volume[ROD] = 200
    volume[4:7, 5:8, 3:6] = 255
    volume[5, 8, 10] = 130
    volume[7, 0:4, 6:12] = 140
    return volume


def request_for(folder: Path, **options: object) -> ObjectsRequest:
    if not (folder / "maps").exists():
        png_folder(folder / "maps", maps())
    named = {"maps": folder / "maps", "out": folder / "out", "most_voxels": 100, **options}
    return ObjectsRequest(**{**named, "maps": Address.of(named["maps"])})


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_labels_and_tables_lie_in_the_folder(tmp_path):
    found = find_objects(request_for(tmp_path))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["density.csv", "labels.tif", "objects.csv"]
    assert found.objects == 4
    assert found.labels == tmp_path / "out" / "labels.tif"
    labels = tifffile.imread(found.labels)
    assert labels.dtype == np.uint32
    assert labels.shape == (8, 10, 12)
    assert (labels[ROD] == 1).all()
    assert np.bincount(labels.ravel()).tolist() == [960 - 84, 32, 27, 1, 24]


def test_the_table_says_what_objects_are(tmp_path):
    find_objects(request_for(tmp_path, voxel_size=(30.0, 10.0, 5.0), unit="nm"))
    rod, cube, speck, plate = rows_of(tmp_path / "out" / "objects.csv")
    assert list(rod.values())[:12] == ["1", "32", "48000", "45", "15", "22.5", "1", "1", "1", "3", "3", "9"]
    assert float(rod["mean_probability"]) == pytest.approx(200 / 255, abs=1e-6)
    assert float(rod["surface"]) == pytest.approx(2 / 3 * 2 * (4 * 300 + 16 * 150 + 16 * 50))
    assert rod["at_border"] == "0"
    assert (cube["voxels"], cube["mean_probability"], cube["unit"]) == ("27", "1.000000", "nm")
    assert (speck["voxels"], speck["centroid_x"]) == ("1", "50")
    assert plate["at_border"] == "1"
    assert float(plate["surface"]) == pytest.approx(2 / 3 * (24 * 50 + 6 * 150 + 4 * 300))


def test_density_says_where_they_are(tmp_path):
    found = find_objects(request_for(tmp_path, voxel_size=(30.0, 10.0, 5.0), unit="nm"))
    z, y, x = found.density
    assert z.objects.tolist() == [0, 0, 1, 0, 0, 2, 0, 1]
    assert z.fraction.tolist() == pytest.approx([n / 120 for n in (0, 16, 16, 0, 9, 10, 9, 24)])
    assert y.objects.sum() == x.objects.sum() == 4
    assert x.fraction.tolist() == pytest.approx([n / 80 for n in (0, 4, 4, 13, 13, 13, 8, 8, 8, 4, 5, 4)])
    rows = rows_of(tmp_path / "out" / "density.csv")
    assert len(rows) == 8 + 10 + 12
    assert list(rows[1].values()) == ["z", "30", "60", "0", "0.133333333", "nm"]


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({"min_size": 2}, [32, 27, 24]),
        ({"min_size": 28}, [32]),
        ({"border": "drop"}, [32, 27, 1]),
        ({"threshold": 0.6}, [32, 27]),
        ({"threshold": 1.0}, [27]),
        ({"min_size": 1000}, []),
    ],
)
def test_unwanted_objects_are_left_out_and_the_rest_numbered(tmp_path, options, sizes):
    found = find_objects(request_for(tmp_path, **options))
    labels = tifffile.imread(found.labels)
    assert np.bincount(labels.ravel()).tolist()[1:] == sizes
    assert [int(row["voxels"]) for row in rows_of(tmp_path / "out" / "objects.csv")] == sizes


def test_connectivity_decides_about_corners(tmp_path):
    volume = np.zeros((4, 4, 4), np.uint8)
    volume[range(4), range(4), range(4)] = 255
    png_folder(tmp_path / "maps", volume)
    counts = [
        find_objects(request_for(tmp_path, out=tmp_path / str(c), connectivity=c, most_voxels=4)).objects
        for c in (6, 26)
    ]
    assert counts == [4, 1]


def balls(distance: int) -> np.ndarray:
    """Two balls of radius 6 whose middles are `distance` apart along x."""
    z, y, x = np.ogrid[:16, :16, :34]
    return (
        np.where([[(z - 7.5) ** 2 + (y - 7.5) ** 2 + (x - middle) ** 2 <= 36 for middle in (8, 8 + distance)]], 255, 0)[
            0
        ]
        .max(axis=0)
        .astype(np.uint8)
    )


@pytest.mark.parametrize(("split", "count"), [(None, 1), (1, 2), (5, 1)])
@pytest.mark.parametrize("most_voxels", [500, 2**20])
def test_touching_balls_are_split_at_their_neck(tmp_path, split, count, most_voxels):
    png_folder(tmp_path / "maps", balls(10))
    found = find_objects(request_for(tmp_path, split=split, most_voxels=most_voxels))
    labels = tifffile.imread(found.labels)
    assert (found.objects, found.cut) == (count, 0)
    if count == 2:
        assert (labels[7, 7, [8, 18]] == [1, 2]).all()
        assert abs(int((labels == 1).sum()) - int((labels == 2).sum())) <= 0.1 * (labels == 1).sum()


def test_objects_beyond_the_halo_are_told(tmp_path):
    volume = np.zeros((40, 4, 4), np.uint8)
    volume[2:38, 1:3, 1:3] = 255
    png_folder(tmp_path / "maps", volume)
    found = find_objects(request_for(tmp_path, split=1, halo=3, most_voxels=128))
    assert found.cut > 0
    assert found.objects == 1
    assert find_objects(request_for(tmp_path, out=tmp_path / "b", split=1, halo=40, most_voxels=128)).cut == 0


@pytest.mark.parametrize("name", ["a.tif", "a.tiff", "a.h5", "a.zarr", "a.n5", "a.precomputed"])
def test_labels_are_the_same_in_every_format(tmp_path, name):
    if name.endswith(("zarr", "n5", "precomputed")):
        pytest.importorskip("tensorstore")
    found = find_objects(request_for(tmp_path, out=tmp_path / "results" / name))
    assert found.labels == tmp_path / "results" / name
    assert sorted(path.name for path in found.labels.parent.iterdir()) == [name, "density.csv", "objects.csv"]
    find_objects(request_for(tmp_path))
    read = read_all(open_volume(found.labels, role="segmentation"))
    np.testing.assert_array_equal(read, tifffile.imread(tmp_path / "out" / "labels.tif"))


def test_blocks_are_whole_chunks_where_labels_are_stored_in_chunks(tmp_path):
    pytest.importorskip("tensorstore")
    volume = (np.random.default_rng(5).random((70, 90, 130)) < 0.05).astype(np.uint8) * 255
    png_folder(tmp_path / "maps", volume)
    request = request_for(tmp_path, out=tmp_path / "a.zarr", most_voxels=64 * 64 * 64)
    assert begin(request).grid.block == (64, 64, 64)
    find_objects(request, runner=Processes([{}, {}]))
    expected, _ = ndimage.label(volume, np.ones((3, 3, 3)))
    np.testing.assert_array_equal(read_all(open_volume(tmp_path / "a.zarr", role="segmentation")), expected)


def test_labels_and_tables_have_the_voxel_size_of_the_maps(tmp_path):
    tifffile.imwrite(
        tmp_path / "maps.tif",
        maps(),
        imagej=True,
        resolution=(1 / 0.008, 1 / 0.008),
        metadata={"spacing": 0.03, "unit": "um"},
    )
    find_objects(request_for(tmp_path, maps=tmp_path / "maps.tif", out=tmp_path / "results" / "a.h5"))
    row = rows_of(tmp_path / "results" / "objects.csv")[0]
    assert float(row["volume"]) == pytest.approx(32 * 0.03 * 0.008 * 0.008)
    assert row["unit"] == "µm"
    size = open_volume(tmp_path / "results" / "a.h5", role="segmentation").placement.voxel_size
    assert size == pytest.approx((0.03, 0.008, 0.008))


def test_hdf5_maps_are_cut_along_x_and_give_the_same(tmp_path):
    with h5py.File(tmp_path / "maps.h5", "w") as file:
        file["data"] = maps().transpose(2, 1, 0)
    request = request_for(tmp_path, maps=tmp_path / "maps.h5", out=tmp_path / "h")
    assert begin(request).grid.block == (8, 10, 1)
    find_objects(request)
    find_objects(request_for(tmp_path))
    for name in ("labels.tif", "objects.csv", "density.csv"):
        assert (tmp_path / "h" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


class Stopped(BaseException):
    """A kill, as far as Python can tell."""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def stop_at(patch: pytest.MonkeyPatch, number: int, *, before: bool) -> None:
    """Stop right before or right after the `number`-th file or folder takes its name."""
    replace, seen = Path.replace, []

    def stopping(path: Path, target: Path) -> Path:
        seen.append(path)
        if before and len(seen) == number:
            raise Stopped
        made = replace(path, target)
        if len(seen) == number:
            raise Stopped
        return made

    patch.setattr(Path, "replace", stopping)


@pytest.mark.parametrize("split", [None, 1])
@pytest.mark.parametrize("before", [True, False])
def test_stops_at_any_file_change_nothing_in_the_end(tmp_path, split, before):
    """Stops at the 1st file of the first call, at the 2nd of the next one, and so on, until a call has fewer files."""
    find_objects(request_for(tmp_path, out=tmp_path / "whole", split=split, most_voxels=400))
    request, stops = request_for(tmp_path, split=split, most_voxels=400), 0
    while not (request.labels.exists() and not request.state.exists()):
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, stops + 1, before=before)
            try:
                find_objects(request)
            except Stopped:
                stops += 1
    assert stops > 3
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("stop", range(1, 40, 4))
def test_a_stop_at_one_file_changes_nothing_in_the_end(tmp_path, stop):
    find_objects(request_for(tmp_path, out=tmp_path / "whole", most_voxels=400))
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, stop, before=True)
        with contextlib.suppress(Stopped):
            find_objects(request_for(tmp_path, most_voxels=400))
    if not (tmp_path / "out" / "labels.tif").exists():
        find_objects(request_for(tmp_path, most_voxels=400))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


class Only(InThisProcess):
    """Does some of the boxes and says nothing of the others, or stops there; remembers what it was given."""

    def __init__(self, wanted: Callable[[int], bool] = lambda box: True, *, stops: bool = False) -> None:
        self.given: list[int] = []
        self._wanted, self._stops = wanted, stops

    def run(self, work: Work, boxes: Iterable[int]) -> Iterator[int]:
        for box in boxes:
            self.given.append(box)
            if self._wanted(box):
                work(box)
                yield box
            elif self._stops:
                raise Stopped


def test_finished_blocks_are_not_done_again(tmp_path):
    with pytest.raises(Stopped):
        find_objects(request_for(tmp_path), runner=Only(lambda box: box < 3, stops=True))
    rest = Only()
    find_objects(request_for(tmp_path), runner=rest)
    blocks = len(begin(request_for(tmp_path, out=tmp_path / "other")).grid)
    assert rest.given == [*range(3, blocks), *range(1, blocks)], "the first block of the labels' file is made here"


def test_a_block_that_nobody_did_is_named(tmp_path):
    message = r"1 of \d+ are not finished: label, block 2\. Run the same command again"
    with pytest.raises(RunError, match=message):
        find_objects(request_for(tmp_path), runner=Only(lambda box: box != 2))


def test_an_unfinished_result_of_another_request_is_not_gone_on_with(tmp_path):
    with pytest.raises(RunError):
        find_objects(request_for(tmp_path), runner=Only(lambda box: box < 2))
    with pytest.raises(RunError, match="expected threshold 0.7, found 0.5"):
        find_objects(request_for(tmp_path, threshold=0.7))


def test_maps_that_changed_meanwhile_are_noticed(tmp_path):
    with pytest.raises(RunError):
        find_objects(request_for(tmp_path), runner=Only(lambda box: box < 2))
    png_folder(tmp_path / "again", maps() // 2)
    for path in (tmp_path / "again").iterdir():
        path.replace(tmp_path / "maps" / path.name)
    with pytest.raises(RunError, match="files of the maps"):
        find_objects(request_for(tmp_path))


@pytest.mark.parametrize("name", ["labels.tif", "objects.csv", "density.csv"])
def test_what_is_there_is_not_replaced(tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(InputError, match=f"{name} is there already"):
        find_objects(request_for(tmp_path))
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_the_folder_that_is_read_is_not_written_to(tmp_path):
    with pytest.raises(InputError, match="is what is read"):
        find_objects(request_for(tmp_path, out=tmp_path / "maps"))


def test_a_format_that_is_not_written_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"ends with \.png; expected a folder, or a file"):
        find_objects(request_for(tmp_path, out=tmp_path / "labels.png"))


def test_maps_that_are_not_there_are_missed(tmp_path):
    with pytest.raises(MissingFileError):
        find_objects(request_for(tmp_path, maps=tmp_path / "none"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [{"threshold": 0.0}, {"threshold": 1.1}, {"split": 0.0}, {"voxel_size": (0.0, 1.0, 1.0)}, {"min_size": 0}],
)
def test_numbers_out_of_range_are_refused(tmp_path, options):
    with pytest.raises(InputError, match="expected"):
        request_for(tmp_path, **options)


@IGNORING
def test_processes_and_clusters_give_the_same_files(tmp_path):
    request = request_for(tmp_path, out=tmp_path / "here", split=1)
    find_objects(request)
    find_objects(request_for(tmp_path, out=tmp_path / "processes", split=1), runner=Processes([{}, {}]))
    with local_cluster() as address:
        find_objects(request_for(tmp_path, out=tmp_path / "dask", split=1), runner=OnDask(address))
    for other in ("processes", "dask"):
        assert contents(tmp_path / other) == contents(tmp_path / "here")
