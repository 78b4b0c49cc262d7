"""Every format of maps keeps to one behaviour: written in boxes, resumed, read back with its voxel size and offset."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING
from unittest.mock import Mock

import numpy as np
import pytest

from cdeep3m.errors import InputError, RunError
from cdeep3m.geometry import Placement, Roi
from cdeep3m.maps.base import MapSpec
from cdeep3m.maps.chunked import ChunkedMaps
from cdeep3m.maps.open import open_maps
from cdeep3m.maps.progress import Finished
from cdeep3m.tiling.boxes import Grid
from cdeep3m.volumes import open_volume
from cdeep3m.volumes.axes import Selection

if TYPE_CHECKING:
    from pathlib import Path

    from cdeep3m.maps.base import MapType

pytest.importorskip("tensorstore")
pytest.importorskip("mrcfile")

SHAPE = (5, 300, 70)
"""More than one chunk along y, and a pyramid of two levels."""
ADDRESSES = np.arange(5 * 300 * 70, dtype=np.uint32).reshape(SHAPE)
ALL = Roi((0, 0, 0), SHAPE)
PLACE = Placement((30.0, 8.0, 9.0), "nanometer", (60.0, 80.0, 45.0))
SPEC = MapSpec(shape=SHAPE, placement=PLACE, source="addresses")
NAMES = {
    "png": "v",
    "tif": "v.tif",
    "h5": "v.h5",
    "mrc": "v.mrc",
    "ome-zarr": "v.zarr",
    "ome-zarr-0.4": "v4.zarr",
    "ome-zarr-sharded": "vs.zarr",
    "n5": "v.n5",
    "precomputed": "v.precomputed",
}
TYPES = dict.fromkeys(NAMES, ("uint8", "uint16", "float32")) | {"png": ("uint8",)}
CHUNKED = ("ome-zarr", "ome-zarr-0.4", "ome-zarr-sharded", "n5", "precomputed")
every_format = pytest.mark.parametrize("name", NAMES)
chunked = pytest.mark.parametrize("name", CHUNKED)


@pytest.fixture(autouse=True)
def short_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one shard along y and x, which end where boxes do, and chunks of 64 x 64."""
    monkeypatch.setattr("cdeep3m.maps.chunked.FLAT", 1)
    monkeypatch.setattr("cdeep3m.maps.chunked.CHUNKS_OF_A_SHARD", (1, 2, 1))


def values_of(dtype: str) -> np.ndarray:
    return (ADDRESSES * 7 % 251).astype(dtype) if dtype == "uint8" else ADDRESSES.astype(dtype)


def boxes() -> list[Roi]:
    return list(Grid(SHAPE, (5, 128, 64)))


def opened(folder: Path, name: str, spec: MapSpec = SPEC):
    return open_maps(folder / NAMES[name], spec, format_name=name)


def write_all(folder: Path, name: str, spec: MapSpec = SPEC, *, values: np.ndarray | None = None) -> Path:
    maps = opened(folder, name, spec)
    stored = values_of(spec.dtype) if values is None else values
    for box in maps.missing(boxes()):
        maps.write(box, stored[box.slices])
    maps.finish()
    return folder / NAMES[name]


@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name in NAMES for dtype in TYPES[name]])
def test_what_is_written_is_read_back(name: str, dtype: MapType, tmp_path: Path) -> None:
    path = write_all(tmp_path, name, replace(SPEC, dtype=dtype))
    volume = open_volume(path, role="values")
    assert (volume.shape, volume.dtype) == (SHAPE, np.dtype(dtype))
    np.testing.assert_array_equal(volume.read(ALL), values_of(dtype))
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "png"])
def test_voxel_size_unit_and_offset_are_kept(name: str, tmp_path: Path) -> None:
    found = open_volume(write_all(tmp_path, name)).placement
    unit = {"mrc": "angstrom", "tif": "micrometer"}.get(name, "nanometer")
    ratio = {"mrc": 10, "tif": 0.001}.get(name, 1)
    assert found.unit == unit
    assert found.voxel_size == pytest.approx([side * ratio for side in (30, 8, 9)], rel=1e-6)
    assert found.offset == pytest.approx([at * ratio for at in (60, 80, 45)], rel=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("png", "precomputed")])
def test_a_voxel_size_that_is_not_known_stays_so(name: str, tmp_path: Path) -> None:
    path = write_all(tmp_path, name, replace(SPEC, placement=Placement()))
    assert open_volume(path).placement == Placement()


def test_precomputed_says_that_it_makes_up_a_voxel_size(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_all(tmp_path, "precomputed", replace(SPEC, placement=Placement()))
    assert open_volume(path).placement.voxel_size == (1, 1, 1)
    assert "1 x 1 x 1 nm is written" in caplog.text


def test_precomputed_says_that_it_rounds_an_offset(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_all(tmp_path, "precomputed", replace(SPEC, placement=Placement((30, 8, 9), "nanometer", (0, 4.1, 0))))
    assert "is no whole number of voxels" in caplog.text


@every_format
def test_an_interrupted_map_goes_on_with_what_is_missing(name: str, tmp_path: Path) -> None:
    first = opened(tmp_path, name)
    values = values_of("uint8")
    todo = first.missing(boxes())
    assert todo == boxes()
    for box in todo[:2]:
        first.write(box, values[box.slices])
    second = opened(tmp_path, name)
    left = second.missing(boxes())
    assert left == (boxes() if name == "png" else boxes()[2:])
    for box in left:
        second.write(box, values[box.slices])
    second.finish()
    np.testing.assert_array_equal(open_volume(tmp_path / NAMES[name], role="values").read(ALL), values)


@every_format
def test_a_whole_map_lacks_nothing_and_can_be_read(name: str, tmp_path: Path) -> None:
    write_all(tmp_path, name)
    again = opened(tmp_path, name)
    assert again.missing(boxes()) == []
    np.testing.assert_array_equal(again.read(boxes()[1]), values_of("uint8")[boxes()[1].slices])
    again.finish()


@pytest.mark.parametrize("name", ["tif", "h5", "mrc"])
def test_a_box_of_one_file_is_on_the_disk_before_it_counts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    maps = opened(tmp_path, name)
    box = list(maps.missing(boxes()))[0]
    monkeypatch.setattr("cdeep3m.maps.one_file.flush", lambda _: happened.append("flushed"))
    monkeypatch.setattr(Finished, "mark", lambda *_: happened.append("counted"))
    maps.write(box, values_of("uint8")[box.slices])
    assert happened == ["flushed", "counted"]


@chunked
def test_a_box_of_chunks_is_stored_before_it_counts(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[np.ndarray] = []
    maps = opened(tmp_path, name)
    box = list(maps.missing(boxes()))[0]
    monkeypatch.setattr(Finished, "mark", lambda *_: stored.append(maps.read(box)))
    maps.write(box, values_of("uint8")[box.slices])
    np.testing.assert_array_equal(stored[0], values_of("uint8")[box.slices])


@chunked
def test_readers_see_a_map_only_when_its_pyramid_is_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ChunkedMaps, "_complete", lambda *_: None)
    maps = opened(tmp_path, name)
    for box in maps.missing(boxes()):
        maps.write(box, values_of("uint8")[box.slices])
    monkeypatch.setattr(ChunkedMaps, "_make", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        maps.finish()
    assert not opened(tmp_path, name).sealed


@every_format
def test_a_map_that_lacks_boxes_does_not_finish(name: str, tmp_path: Path) -> None:
    maps = opened(tmp_path, name)
    for box in maps.missing(boxes())[:-1]:
        maps.write(box, values_of("uint8")[box.slices])
    with pytest.raises(RunError, match=r"missing.*; the same command makes them"):
        maps.finish()
    if name != "png":
        with pytest.raises((InputError, FileNotFoundError)):
            open_volume(tmp_path / NAMES[name])


@pytest.mark.parametrize("name", [name for name in NAMES if name != "png"])
def test_a_map_of_something_else_is_not_gone_on_with(name: str, tmp_path: Path) -> None:
    maps = opened(tmp_path, name)
    box = maps.missing(boxes())[0]
    maps.write(box, values_of("uint8")[box.slices])
    with pytest.raises((RunError, InputError), match=r"belongs to another run: expected made from|already"):
        opened(tmp_path, name, replace(SPEC, source="another volume")).missing(boxes())


@pytest.mark.parametrize("name", [name for name in NAMES if name != "png"])
def test_another_volume_is_not_written_over(name: str, tmp_path: Path) -> None:
    write_all(tmp_path, name)
    other = replace(SPEC, shape=(5, 300, 71))
    with pytest.raises(InputError, match="already"):
        opened(tmp_path, name, other).missing([Roi((0, 0, 0), other.shape)])


@chunked
def test_foreign_folders_are_not_written_to(name: str, tmp_path: Path) -> None:
    folder = tmp_path / NAMES[name]
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="is there already"):
        opened(tmp_path, name)
    assert [p.name for p in folder.iterdir()] == ["thesis.txt"]


@chunked
def test_boxes_that_would_write_a_chunk_twice_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not end where chunks"):
        opened(tmp_path, name).missing([Roi((0, 0, 0), (5, 100, 70)), Roi((0, 100, 0), (5, 300, 70))])


def expected_level(values: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 voxels along y and x, halves up, written down plainly."""
    z, y, x = values.shape
    sums = values.reshape(z, y // 2, 2, x // 2, 2).astype(np.uint32).sum((2, 4))
    return ((sums + 2) // 4).astype(values.dtype)


@chunked
def test_levels_are_means_and_lie_where_they_belong(name: str, tmp_path: Path) -> None:
    path = write_all(tmp_path, name)
    volume = open_volume(path, selection=Selection(level=1))
    expected = expected_level(values_of("uint8"))
    assert volume.shape == expected.shape
    np.testing.assert_array_equal(volume.read(Roi((0, 0, 0), expected.shape)), expected)
    assert volume.placement.voxel_size == (30, 16, 18)
    shifted = (60, 80, 36) if name == "precomputed" else (60, 84, 49.5)
    assert volume.placement.offset == shifted
    with pytest.raises(InputError, match="levels 0 to 1"):
        open_volume(path, selection=Selection(level=2))


@chunked
def test_levels_of_labels_hold_no_labels_that_are_not_there(name: str, tmp_path: Path) -> None:
    path = write_all(tmp_path, name, replace(SPEC, labels=True))
    volume = open_volume(path, selection=Selection(level=1))
    np.testing.assert_array_equal(volume.read(Roi((0, 0, 0), volume.shape)), values_of("uint8")[:, ::2, ::2])


@chunked
def test_levels_are_made_as_boxes_finish(name: str, tmp_path: Path) -> None:
    maps = opened(tmp_path, name)
    values = values_of("uint8")
    for box in maps.missing(boxes()):
        maps.write(box, values[box.slices])
    level = maps._levels[1]
    expected = expected_level(values)
    np.testing.assert_array_equal(level.read(Roi((0, 0, 0), expected.shape), "v"), expected)


@chunked
def test_levels_are_made_whatever_the_order_and_wherever_a_run_stopped(name: str, tmp_path: Path) -> None:
    values = values_of("uint8")
    for at, box in enumerate(reversed(boxes())):
        maps = opened(tmp_path, name)
        assert len(maps.missing(boxes())) == len(boxes()) - at
        maps.write(box, values[box.slices])
    last = opened(tmp_path, name)
    assert last.missing(boxes()) == []
    last.finish()
    volume = open_volume(tmp_path / NAMES[name], selection=Selection(level=1))
    np.testing.assert_array_equal(volume.read(Roi((0, 0, 0), volume.shape)), expected_level(values))


def test_chunks_of_zeros_are_stored(tmp_path: Path) -> None:
    write_all(tmp_path, "ome-zarr", values=np.zeros(SHAPE, np.uint8))
    stored = [p for p in (tmp_path / "v.zarr" / "0").rglob("*") if p.is_file() and p.name != "zarr.json"]
    assert len(stored) == 1 * 5 * 2


@pytest.mark.parametrize(
    ("name", "version"), [("ome-zarr", "0.5"), ("ome-zarr-0.4", "0.4"), ("ome-zarr-sharded", "0.5")]
)
def test_metadata_of_ome_zarr_are_valid(name: str, version: str, tmp_path: Path) -> None:
    from yaozarrs import validate_zarr_store

    path = write_all(tmp_path, name)
    meta = json.loads((path / (".zattrs" if version == "0.4" else "zarr.json")).read_text())
    said = meta["multiscales"][0] if version == "0.4" else meta["attributes"]["ome"]["multiscales"][0]
    assert said["datasets"][0]["coordinateTransformations"][0]["scale"] == [30, 8, 9]
    validate_zarr_store(str(path))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("mrc", "uint32"), ("precomputed", "float64"), ("n5", "float16"), ("tif", "int64"), ("png", "float32")],
)
def test_types_that_a_format_lacks_are_refused(name: str, dtype: MapType, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"found .*{dtype}"):
        opened(tmp_path, name, replace(SPEC, dtype=dtype))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".tif", ".h5", ".mrc", ".zarr", ".n5", ".precomputed"])
def test_the_suffix_of_an_address_chooses_the_format(suffix: str, tmp_path: Path) -> None:
    spec = replace(SPEC, shape=(1, 4, 5))
    maps = open_maps(tmp_path / f"v{suffix}", spec)
    whole = Roi((0, 0, 0), spec.shape)
    maps.write(maps.missing([whole])[0], np.ones(spec.shape, np.uint8))
    maps.finish()
    assert open_volume(tmp_path / f"v{suffix}").read(whole).all()


def test_an_offset_that_ome_tiff_cannot_keep_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    write_all(tmp_path, "tif", replace(SPEC, dtype="int16"))
    assert "OME-TIFF has no place for the offset" in caplog.text


def test_mrc_tells_the_range_of_its_values(tmp_path: Path) -> None:
    import mrcfile

    path = write_all(tmp_path, "mrc", replace(SPEC, dtype="uint16"), values=values_of("uint8").astype(np.uint16))
    with mrcfile.open(path, header_only=True) as file:
        assert (float(file.header.dmin), float(file.header.dmax)) == (0, 250)
        assert float(file.header.dmean) == pytest.approx(values_of("uint8").mean(), rel=1e-5)
    assert mrcfile.validate(path)


def test_mrc_does_not_depend_on_the_time(tmp_path: Path) -> None:
    import mrcfile

    with mrcfile.open(write_all(tmp_path, "mrc", SPEC), header_only=True) as file:
        assert file.get_labels() == ["Created by cdeep3m with mrcfile.py"]


def test_png_images_keep_no_voxel_size(tmp_path: Path) -> None:
    assert open_volume(write_all(tmp_path, "png")).placement == Placement()


def test_a_folder_of_tiff_images_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected one of png, tif, h5"):
        open_maps(tmp_path / "v", SPEC, format_name="tif-folder")
    write_all(tmp_path, "tif")
    assert (tmp_path / "v.tif").is_file()


@pytest.mark.parametrize(("unit", "symbol"), [("nanometer", "nm"), ("micrometer", "um")])
def test_n5_names_units_as_neuroglancer_knows_them(unit: str, symbol: str, tmp_path: Path) -> None:
    path = write_all(tmp_path, "n5", replace(SPEC, placement=Placement((30.0, 8.0, 9.0), unit)))
    assert json.loads((path / "attributes.json").read_text())["pixelResolution"]["unit"] == symbol
    assert open_volume(path).placement == Placement((30.0, 8.0, 9.0), unit)


@pytest.mark.parametrize(("name", "words"), [("mrc", "is written as nm"), ("tif", "is left out of the TIFF file")])
def test_a_unit_that_is_not_known_is_said(
    name: str, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    maps = open_maps(tmp_path / "v", MapSpec(shape=SHAPE, placement=Placement((30.0, 8.0, 9.0))), format_name=name)
    maps.missing([Roi((0, 0, 0), SHAPE)])
    assert words in caplog.text


@every_format
@pytest.mark.parametrize("shape", [(5, 3, 1), (1, 3, 1), (5, 1, 3), (1, 1, 4), (4, 1, 1), (3, 4, 3), (3, 4, 4)])
def test_volumes_of_a_row_or_as_wide_as_colours_are_many_come_back(
    name: str, shape: tuple[int, int, int], tmp_path: Path
) -> None:
    values = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    spec = MapSpec(shape=shape, source="addresses")
    maps = opened(tmp_path, name, spec)
    whole = Roi((0, 0, 0), shape)
    maps.missing([whole])
    maps.write(whole, values)
    maps.finish()
    np.testing.assert_array_equal(open_volume(tmp_path / NAMES[name], role="values").read(whole), values)
