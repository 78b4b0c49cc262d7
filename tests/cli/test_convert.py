"""`cdeep3m convert`: any format becomes any other, and comes back the same."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from PIL import Image

from cdeep3m.cli.main import main
from cdeep3m.geometry import Placement, Roi
from cdeep3m.maps import copying
from cdeep3m.volumes import open_volume, read_all
from cdeep3m.volumes.axes import Selection

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("tensorstore")
pytest.importorskip("mrcfile")

SHAPE = (6, 70, 150)
ADDRESSES = (np.arange(6 * 70 * 150, dtype=np.uint32) * 7 % 65521).astype(np.uint16).reshape(SHAPE)
PLACE = Placement((0.03, 0.008, 0.008), "micrometer")
NAMES = {
    "png": "v",
    "tif": "v.tif",
    "h5": "v.h5",
    "mrc": "v.mrc",
    "ome-zarr": "v.zarr",
    "ome-zarr-0.4": "w.zarr",
    "ome-zarr-sharded": "s.zarr",
    "n5": "v.n5",
    "precomputed": "v.precomputed",
}


@pytest.fixture(autouse=True)
def cubes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 64 x 64, although there are few planes."""
    monkeypatch.setattr("cdeep3m.maps.chunked.FLAT", 1)


def source(folder: Path) -> Path:
    tifffile.imwrite(
        folder / "source.tif",
        ADDRESSES,
        imagej=True,
        metadata={"axes": "ZYX", "spacing": 0.03, "unit": "um"},
        resolution=(125, 125),
    )
    return folder / "source.tif"


def convert(*words: object) -> int:
    return main(["convert", *map(str, words)])


@pytest.fixture(autouse=True)
def short_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one shard of small volumes."""
    monkeypatch.setattr("cdeep3m.maps.chunked.CHUNKS_OF_A_SHARD", (1, 1, 1))


@pytest.mark.parametrize("first", NAMES)
def test_every_format_becomes_every_other_and_comes_back_the_same(first: str, tmp_path: Path) -> None:
    here = tmp_path / NAMES[first]
    assert convert(source(tmp_path), here, "--format", first) == 0
    np.testing.assert_array_equal(read_all(open_volume(here)), ADDRESSES)
    for other, name in NAMES.items():
        there = tmp_path / f"again_{name}"
        assert convert(here, there, "--format", other) == 0
        found = open_volume(there)
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(read_all(found), ADDRESSES)
        if "png" not in (first, other):
            micrometers = {"micrometer": 1, "nanometer": 1e3, "angstrom": 1e4}[found.placement.unit or ""]
            assert np.array(found.placement.voxel_size) / micrometers == pytest.approx([0.03, 0.008, 0.008], rel=1e-6)


def test_a_box_keeps_its_place(tmp_path: Path) -> None:
    assert convert(source(tmp_path), tmp_path / "v.zarr", "--roi", "1:4,10:60,20:100") == 0
    volume = open_volume(tmp_path / "v.zarr")
    np.testing.assert_array_equal(read_all(volume), ADDRESSES[1:4, 10:60, 20:100])
    assert volume.placement.offset == pytest.approx((0.03, 0.08, 0.16))


def test_a_channel_is_chosen(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "v.ome.tif", np.stack([ADDRESSES, ADDRESSES + 1]), ome=True, metadata={"axes": "CZYX"})
    assert convert(tmp_path / "v.ome.tif", tmp_path / "v.n5") == 1
    assert convert(tmp_path / "v.ome.tif", tmp_path / "v.n5", "--channel", 1) == 0
    np.testing.assert_array_equal(read_all(open_volume(tmp_path / "v.n5")), ADDRESSES + 1)


def test_axes_are_named(tmp_path: Path) -> None:
    import tensorstore as ts

    made = ts.open(
        {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{tmp_path}/x.zarr/"}},
        create=True,
        dtype="uint16",
        shape=SHAPE[::-1],
    ).result()
    made[:] = ADDRESSES.T
    assert convert(tmp_path / "x.zarr", tmp_path / "v.h5") == 1
    assert convert(tmp_path / "x.zarr", tmp_path / "v.h5", "--axes", "xyz") == 0
    np.testing.assert_array_equal(read_all(open_volume(tmp_path / "v.h5")), ADDRESSES)


def test_values_that_do_not_fit_are_refused_and_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(source(tmp_path), tmp_path / "v.tif", "--dtype", "uint8") == 1
    assert "which do not all fit uint8. Choose another --dtype" in capsys.readouterr().err
    assert not (tmp_path / "v.tif").exists()
    assert convert(source(tmp_path), tmp_path / "w.tif", "--dtype", "float32") == 0
    np.testing.assert_array_equal(read_all(open_volume(tmp_path / "w.tif", role="values")), ADDRESSES)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_there_is_not_written_over(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / NAMES[name]
    assert convert(source(tmp_path), out, "--format", name) == 0
    tifffile.imwrite(tmp_path / "other.tif", ADDRESSES[::-1], metadata=None, photometric="minisblack")
    assert convert(tmp_path / "other.tif", out, "--format", name) == 1
    assert re.search("is there already.*; delete it, or choose another name", capsys.readouterr().err)
    np.testing.assert_array_equal(read_all(open_volume(out)), ADDRESSES)


@pytest.mark.parametrize("name", NAMES)
def test_a_finished_copy_that_is_asked_again_is_a_success_and_stays_as_it_is(name: str, tmp_path: Path) -> None:
    out, images = tmp_path / NAMES[name], source(tmp_path)
    assert convert(images, out, "--format", name) == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert convert(images, out, "--format", name) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("name", NAMES)
def test_an_interrupted_copy_goes_on_and_one_of_another_volume_does_not(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, images = tmp_path / NAMES[name], source(tmp_path)
    monkeypatch.setattr(copying, "VOXELS_OF_A_BOX", 2 * 64 * 64)
    read = copying.converted
    count = iter(range(100))

    def fail(*arguments):
        if next(count) >= 2:
            raise OSError(5, "the disk is gone")
        return read(*arguments)

    monkeypatch.setattr(copying, "converted", fail)
    assert convert(images, out, "--format", name) == 1
    monkeypatch.setattr(copying, "converted", read)
    tifffile.imwrite(tmp_path / "other.tif", ADDRESSES + 1, metadata=None, photometric="minisblack")
    assert convert(tmp_path / "other.tif", out, "--format", name) == 1
    assert "belongs to another run" in capsys.readouterr().err
    assert convert(images, out, "--format", name) == 0
    np.testing.assert_array_equal(read_all(open_volume(out)), ADDRESSES)
    assert not [path.name for path in tmp_path.iterdir() if "ledger" in path.name or "partial" in path.name]


def test_large_planes_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "VOXELS_OF_A_BOX", 64)
    folder = tmp_path / "planes"
    folder.mkdir()
    for z, plane in enumerate(ADDRESSES):
        Image.fromarray(plane).save(folder / f"{z}.png")
    volume = open_volume(folder)
    reads: list[Roi] = []
    read = volume.read
    monkeypatch.setattr(volume, "read", lambda roi: reads.append(roi) or read(roi))
    monkeypatch.setattr(copying, "open_volume", lambda *_, **__: volume)
    copying.convert(str(folder), str(tmp_path / "v.zarr"))
    assert len(reads) == len(ADDRESSES)
    monkeypatch.undo()
    np.testing.assert_array_equal(read_all(open_volume(tmp_path / "v.zarr")), ADDRESSES)


def test_labels_stay_labels_in_every_level(tmp_path: Path) -> None:
    labels = np.zeros((2, 300, 300), np.uint16)
    labels[:, :150] = 1000
    tifffile.imwrite(tmp_path / "l.tif", labels, metadata=None, photometric="minisblack")
    assert convert(tmp_path / "l.tif", tmp_path / "l.zarr", "--labels") == 0
    level = open_volume(tmp_path / "l.zarr", role="values", selection=Selection(level=1))
    assert set(np.unique(read_all(level))) == {0, 1000}
    said = json.loads((tmp_path / "l.zarr" / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]
    assert said["type"] == "nearest"


def test_wrong_options_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = source(tmp_path)
    for words in (["--roi", "0:1"], ["--axes", "zz"], ["--channel", "5"], ["--level", "2"]):
        assert convert(image, tmp_path / "v.zarr", *words) == 1
        assert capsys.readouterr().err.count("\n") == 1
        assert not (tmp_path / "v.zarr").exists()
    assert convert(tmp_path / "nowhere.tif", tmp_path / "v.zarr") == 1
    assert convert(image, tmp_path / "v.docx") == 1
    assert "cannot write to" in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in NAMES if name != "png"])
def test_a_copy_that_was_stopped_at_its_very_end_is_a_success_and_its_ledger_goes(name: str, tmp_path: Path) -> None:
    out, images = tmp_path / NAMES[name], source(tmp_path)
    assert convert(images, out, "--format", name) == 0
    ledger = tmp_path / f"{out.name}.ledger"
    ledger.mkdir()
    (ledger / "ledger.json").write_text("{}")
    assert convert(images, out, "--format", name) == 0
    assert not ledger.exists()
    np.testing.assert_array_equal(read_all(open_volume(out)), ADDRESSES)


@pytest.mark.parametrize("name", ["images", "v.zarr", "v.n5"])
@pytest.mark.parametrize("out", ["o.tif", "o.zarr", "below/o.h5", "planes"])
def test_nothing_is_written_into_the_folder_that_is_read(name, out, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("v.tif", ADDRESSES, photometric="minisblack")
    assert main(["convert", "v.tif", name]) == 0
    before = sorted(tmp_path.rglob("*"))
    assert main(["convert", name, f"{name}/{out}"]) == 1
    assert f"{name}/{out} lies in {name}, which is read" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
