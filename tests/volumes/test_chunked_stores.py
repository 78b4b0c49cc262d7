"""Zarr, OME-Zarr, N5 and precomputed: volumes whose voxels are their own addresses, stored by tensorstore itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cdeep3m.errors import DownloadError, FormatError, InputError, MissingFileError
from cdeep3m.geometry import Placement, Roi
from cdeep3m.volumes.axes import Selection
from cdeep3m.volumes.n5 import open_n5
from cdeep3m.volumes.precomputed import open_precomputed
from cdeep3m.volumes.stores import Store, s3_options
from cdeep3m.volumes.zarr import open_zarr

if TYPE_CHECKING:
    from pathlib import Path

ts = pytest.importorskip("tensorstore")

ADDRESSES = np.arange(5 * 7 * 9, dtype=np.uint16).reshape(5, 7, 9)
ALL = Roi((0, 0, 0), (5, 7, 9))
BOX = Roi((1, 2, 3), (4, 6, 9))
NONE = Selection()


def store_array(path: Path, values: np.ndarray, driver: str, **spec: Any) -> Store:
    """Write `values` as an array of `driver`."""
    made = ts.open(
        {"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/"}, **spec},
        create=True,
        dtype=values.dtype,
        shape=None if driver.endswith("precomputed") else values.shape,
    ).result()
    made[(slice(None),) * made.rank] = values
    return Store.at(path)


def zarr2(path: Path, values: np.ndarray, chunks: tuple[int, ...] = (2, 3, 4)) -> Store:
    return store_array(path, values, "zarr", metadata={"chunks": chunks})


def zarr3(path: Path, values: np.ndarray, names: list[str] | None = None) -> Store:
    spec = {"metadata": {"dimension_names": names}} if names else {}
    return store_array(path, values, "zarr3", **spec)


def ome(path: Path, version: str, axes: list[dict], levels: dict[str, list[dict]], shared: list | None = None) -> Store:
    """Write the group's metadata; the arrays are there."""
    multiscale = {
        "axes": axes,
        "datasets": [{"path": name, "coordinateTransformations": steps} for name, steps in levels.items()],
        **({"coordinateTransformations": shared} if shared else {}),
    }
    if version == "0.4":
        (path / ".zgroup").write_text('{"zarr_format": 2}')
        (path / ".zattrs").write_text(json.dumps({"multiscales": [{"version": "0.4", **multiscale}]}))
    else:
        attributes = {"ome": {"version": "0.5", "multiscales": [multiscale]}}
        (path / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}))
    return Store.at(path)


def space(name: str, unit: str | None = None) -> dict:
    return {"name": name, "type": "space", **({"unit": unit} if unit else {})}


def scaled(scale: list[float], translation: list[float] | None = None) -> list[dict]:
    moved = [{"type": "translation", "translation": translation}] if translation else []
    return [{"type": "scale", "scale": scale}, *moved]


NM = [space(axis, "nanometer") for axis in "zyx"]


class TestPlainZarr:
    @pytest.mark.parametrize("write", [zarr2, zarr3])
    def test_is_read_as_the_axes_say(self, write: Any, tmp_path: Path) -> None:
        store = write(tmp_path / "v.zarr", ADDRESSES.transpose(2, 0, 1))
        volume = open_zarr(store, "", Selection(axes="xzy"), name="v.zarr")
        assert (volume.shape, volume.dtype, volume.is_folder) == ((5, 7, 9), np.uint16, False)
        assert (volume.placement.voxel_size, volume.placement.unit) == (None, None)
        np.testing.assert_array_equal(volume.read(ALL), ADDRESSES)
        np.testing.assert_array_equal(volume.read(BOX), ADDRESSES[BOX.slices])

    def test_tells_its_chunks_along_z_y_x(self, tmp_path: Path) -> None:
        store = zarr2(tmp_path / "v.zarr", ADDRESSES.transpose(2, 1, 0), (4, 3, 2))
        assert open_zarr(store, "", Selection(axes="xyz"), name="v").chunks == (2, 3, 4)

    def test_asks_for_axes(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"v.zarr has the shape \(5, 7, 9\) .* --axes"):
            open_zarr(zarr2(tmp_path / "v.zarr", ADDRESSES), "", NONE, name="v.zarr")

    def test_takes_dimension_names_for_axes(self, tmp_path: Path) -> None:
        store = zarr3(tmp_path / "v.zarr", ADDRESSES.transpose(1, 0, 2), ["y", "z", "x"])
        np.testing.assert_array_equal(open_zarr(store, "", NONE, name="v").read(ALL), ADDRESSES)

    def test_with_shards_tells_the_inner_chunks(self, tmp_path: Path) -> None:
        sharding = {
            "name": "sharding_indexed",
            "configuration": {
                "chunk_shape": [1, 2, 3],
                "codecs": [{"name": "bytes"}],
                "index_codecs": [{"name": "bytes"}],
            },
        }
        grid = {"name": "regular", "configuration": {"chunk_shape": [4, 4, 6]}}
        store = store_array(
            tmp_path / "v.zarr", ADDRESSES, "zarr3", metadata={"chunk_grid": grid, "codecs": [sharding]}
        )
        volume = open_zarr(store, "", Selection(axes="zyx"), name="v")
        assert volume.chunks == (1, 2, 3)
        np.testing.assert_array_equal(volume.read(BOX), ADDRESSES[BOX.slices])

    def test_in_a_group_is_named_and_listed_otherwise(self, tmp_path: Path) -> None:
        zarr2(tmp_path / "g.zarr" / "raw", ADDRESSES)
        (tmp_path / "g.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
        store = Store.at(tmp_path / "g.zarr")
        volume = open_zarr(store, "raw", Selection(axes="zyx"), name="g.zarr::raw")
        np.testing.assert_array_equal(volume.read(ALL), ADDRESSES)
        with pytest.raises(InputError, match=r"g.zarr is a group of arrays; found raw. Name one"):
            open_zarr(store, "", NONE, name="g.zarr")
        with pytest.raises(MissingFileError, match="no Zarr array or group at g.zarr::cooked"):
            open_zarr(store, "cooked", NONE, name="g.zarr::cooked")

    def test_has_no_levels(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="has no level 1"):
            open_zarr(zarr2(tmp_path / "v", ADDRESSES), "", Selection(axes="zyx", level=1), name="v")

    def test_of_an_unknown_codec_is_one_line(self, tmp_path: Path) -> None:
        store = zarr2(tmp_path / "v.zarr", ADDRESSES)
        meta = json.loads((tmp_path / "v.zarr" / ".zarray").read_text())
        (tmp_path / "v.zarr" / ".zarray").write_text(json.dumps({**meta, "compressor": {"id": "lzma9"}}))
        with pytest.raises(FormatError, match=r"v.zarr cannot be read or written \(.*lzma9") as caught:
            open_zarr(store, "", Selection(axes="zyx"), name="v.zarr")
        assert "\n" not in str(caught.value)

    def test_with_a_damaged_chunk_is_one_line(self, tmp_path: Path) -> None:
        store = zarr2(tmp_path / "v.zarr", ADDRESSES)
        (tmp_path / "v.zarr" / "0.0.0").write_bytes(b"not a chunk")
        volume = open_zarr(store, "", Selection(axes="zyx"), name="v.zarr")
        with pytest.raises(FormatError, match="v.zarr cannot be read"):
            volume.read(ALL)

    def test_of_complex_numbers_is_refused(self, tmp_path: Path) -> None:
        store = zarr2(tmp_path / "v.zarr", ADDRESSES.astype(np.complex64))
        with pytest.raises(InputError, match="holds complex64 values"):
            open_zarr(store, "", Selection(axes="zyx"), name="v.zarr")

    def test_of_other_byte_order_is_read(self, tmp_path: Path) -> None:
        store = zarr2(tmp_path / "v.zarr", ADDRESSES.astype(">u2"))
        volume = open_zarr(store, "", Selection(axes="zyx"), name="v")
        assert volume.read(ALL).dtype == volume.dtype == np.dtype("=u2")
        np.testing.assert_array_equal(volume.read(ALL), ADDRESSES)


@pytest.mark.parametrize(("version", "write"), [("0.4", zarr2), ("0.5", zarr3)])
class TestOmeZarr:
    def test_level_voxel_size_and_offset_are_those_of_the_metadata(
        self, version: str, write: Any, tmp_path: Path
    ) -> None:
        half = ADDRESSES[:, ::2, ::2]
        write(tmp_path / "0", ADDRESSES)
        write(tmp_path / "1", half)
        levels = {"0": scaled([30, 8, 8], [0, 100, 200]), "1": scaled([30, 16, 16], [0, 104, 204])}
        store = ome(tmp_path, version, NM, levels)
        full, reduced = (open_zarr(store, "", Selection(level=level), name="v") for level in (0, 1))
        np.testing.assert_array_equal(full.read(BOX), ADDRESSES[BOX.slices])
        np.testing.assert_array_equal(reduced.read(Roi((0, 0, 0), half.shape)), half)
        assert full.placement == Placement((30, 8, 8), "nanometer", (0, 100, 200))
        assert (reduced.placement.voxel_size, reduced.placement.offset) == ((30, 16, 16), (0, 104, 204))
        named = open_zarr(store, "1", NONE, name="v::1")
        assert (named.shape, named.placement.offset) == (reduced.shape, reduced.placement.offset)
        with pytest.raises(InputError, match="has levels 0 to 1; found --level 2"):
            open_zarr(store, "", Selection(level=2), name="v")

    def test_axes_are_those_of_the_metadata(self, version: str, write: Any, tmp_path: Path) -> None:
        stored = np.stack([ADDRESSES, ADDRESSES + 1000])[None]
        write(tmp_path / "0", stored, *([(1, 1, 2, 3, 4)] if version == "0.4" else []))
        axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}, *NM]
        store = ome(tmp_path, version, axes, {"0": scaled([1, 1, 30, 8, 8])})
        volume = open_zarr(store, "", Selection(channel=1), name="v")
        np.testing.assert_array_equal(volume.read(BOX), ADDRESSES[BOX.slices] + 1000)
        assert volume.placement.voxel_size == (30, 8, 8)
        with pytest.raises(InputError, match="holds 2 channels"):
            open_zarr(store, "", NONE, name="v")

    def test_transformations_of_all_levels_count_too(self, version: str, write: Any, tmp_path: Path) -> None:
        write(tmp_path / "0", ADDRESSES)
        shared = scaled([10, 10, 10], [5, 6, 7])
        store = ome(tmp_path, version, NM, {"0": scaled([3, 2, 1], [1, 1, 1])}, shared)
        volume = open_zarr(store, "", NONE, name="v")
        assert (volume.placement.voxel_size, volume.placement.offset) == ((30, 20, 10), (15, 16, 17))

    def test_one_unit_serves_all_axes(self, version: str, write: Any, tmp_path: Path) -> None:
        write(tmp_path / "0", ADDRESSES)
        axes = [space("z", "micrometer"), space("y", "nanometer"), space("x", "nanometer")]
        store = ome(tmp_path, version, axes, {"0": scaled([0.03, 8, 8], [1, 2, 3])})
        volume = open_zarr(store, "", NONE, name="v")
        assert volume.placement == Placement((30, 8, 8), "nanometer", (1000, 2, 3))

    def test_metadata_that_say_nothing_of_size_give_none(self, version: str, write: Any, tmp_path: Path) -> None:
        write(tmp_path / "0", ADDRESSES)
        volume = open_zarr(
            ome(tmp_path, version, [space(a) for a in "zyx"], {"0": scaled([1, 1, 1])}), "", NONE, name="v"
        )
        assert volume.placement == Placement(None, None, (0, 0, 0))

    def test_metadata_that_break_the_rules_are_refused(self, version: str, write: Any, tmp_path: Path) -> None:
        write(tmp_path / "0", ADDRESSES)
        store = ome(tmp_path, version, NM, {"0": [{"type": "translation", "translation": [1, 1, 1]}]})
        with pytest.raises(FormatError, match=rf"breaks the rules of OME-Zarr {version} \(.*scale"):
            open_zarr(store, "", NONE, name="v")

    def test_a_single_plane_is_as_deep_as_its_voxels_are_wide(self, version: str, write: Any, tmp_path: Path) -> None:
        write(tmp_path / "0", ADDRESSES[0], *([(3, 4)] if version == "0.4" else []))
        volume = open_zarr(ome(tmp_path, version, NM[1:], {"0": scaled([9, 8], [5, 6])}), "", NONE, name="v")
        assert volume.placement == Placement((8, 9, 8), "nanometer", (0, 5, 6))
        np.testing.assert_array_equal(volume.read(Roi((0, 2, 3), (1, 6, 9))), ADDRESSES[:1, 2:6, 3:9])

    def test_an_array_that_names_other_axes_than_its_image_is_refused(
        self, version: str, write: Any, tmp_path: Path
    ) -> None:
        write(tmp_path / "0", ADDRESSES.T)
        meta = tmp_path / "0" / ("zarr.json" if version == "0.5" else ".zattrs")
        known = json.loads(meta.read_text()) if meta.exists() else {}
        said = {"dimension_names": list("xyz")} if version == "0.5" else {"_ARRAY_DIMENSIONS": list("xyz")}
        meta.write_text(json.dumps({**known, **said}))
        store = ome(tmp_path, version, NM, {"0": scaled([30, 8, 8])})
        for dataset in ("", "0"):
            with pytest.raises(InputError, match="says that its axes are zyx, its array that they are xyz.*--axes"):
                open_zarr(store, dataset, NONE, name="v")
        volume = open_zarr(store, "", Selection(axes="xyz"), name="v")
        np.testing.assert_array_equal(volume.read(BOX), ADDRESSES[BOX.slices])

    def test_a_level_that_is_not_there_is_named(self, version: str, write: Any, tmp_path: Path) -> None:
        store = ome(tmp_path, version, NM, {"0": scaled([30, 8, 8])})
        with pytest.raises(MissingFileError, match=rf"no Zarr array or group at {tmp_path}/0"):
            open_zarr(store, "", NONE, name="v")


def test_an_array_of_an_older_ome_zarr_is_read_where_it_is_named(tmp_path: Path) -> None:
    zarr2(tmp_path / "0", ADDRESSES)
    (tmp_path / ".zgroup").write_text('{"zarr_format": 2}')
    image = {"version": "0.3", "axes": ["z", "y", "x"], "datasets": [{"path": "0"}]}
    (tmp_path / ".zattrs").write_text(json.dumps({"multiscales": [image]}))
    with pytest.raises(InputError, match="is OME-Zarr 0.3; .* name an array in it"):
        open_zarr(Store.at(tmp_path), "", NONE, name="v")
    volume = open_zarr(Store.at(tmp_path), "0", Selection(axes="zyx"), name="v::0")
    np.testing.assert_array_equal(volume.read(BOX), ADDRESSES[BOX.slices])


class TestN5:
    def test_is_read_along_x_y_z(self, tmp_path: Path) -> None:
        store = store_array(tmp_path / "v.n5", ADDRESSES.T, "n5", metadata={"blockSize": [4, 3, 2]})
        volume = open_n5(store, "", NONE, name="v.n5")
        assert (volume.shape, volume.chunks) == ((5, 7, 9), (2, 3, 4))
        np.testing.assert_array_equal(volume.read(BOX), ADDRESSES[BOX.slices])

    def test_of_four_axes_asks_for_them_unless_it_says(self, tmp_path: Path) -> None:
        stored = np.stack([ADDRESSES.T, ADDRESSES.T + 1000], -1)
        store = store_array(tmp_path / "v.n5", stored, "n5")
        with pytest.raises(InputError, match="--axes"):
            open_n5(store, "", NONE, name="v.n5")
        meta = json.loads((tmp_path / "v.n5" / "attributes.json").read_text())
        (tmp_path / "v.n5" / "attributes.json").write_text(json.dumps({**meta, "axes": ["x", "y", "z", "c"]}))
        volume = open_n5(store, "", Selection(channel=1), name="v.n5")
        np.testing.assert_array_equal(volume.read(ALL), ADDRESSES + 1000)

    def test_a_single_plane_is_as_deep_as_its_voxels_are_wide(self, tmp_path: Path) -> None:
        for name, said in (
            ("one", {"resolution": [8, 9], "units": ["nm", "nm"]}),
            ("two", {"transform": {"axes": ["y", "x"], "scale": [9, 8], "translate": [0, 0], "units": ["nm", "nm"]}}),
        ):
            store = store_array(tmp_path / name, ADDRESSES[0].T, "n5", metadata={"blockSize": [4, 3]})
            meta = tmp_path / name / "attributes.json"
            meta.write_text(json.dumps({**json.loads(meta.read_text()), **said}))
            assert open_n5(store, "", NONE, name="v").placement == Placement((8, 9, 8), "nanometer")

    @pytest.mark.parametrize(
        ("codec", "said"),
        [
            ({"type": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}, {"compression": {"nthreads": 4}}),
            ({"type": "gzip", "level": 6}, {"compressionType": "gzip"}),
            ({"type": "raw"}, {"compressionType": "raw"}),
        ],
    )
    def test_is_read_as_the_library_for_java_describes_it(self, codec: dict, said: dict, tmp_path: Path) -> None:
        store = store_array(tmp_path, ADDRESSES.T, "n5", metadata={"blockSize": [4, 3, 2], "compression": codec})
        meta = json.loads((tmp_path / "attributes.json").read_text())
        if "compressionType" in said:
            meta = {**meta, **said}
            del meta["compression"]
        else:
            meta["compression"]["nthreads"] = 4
        (tmp_path / "attributes.json").write_text(json.dumps(meta))
        volume = open_n5(store, "", NONE, name="v")
        assert volume.chunks == (2, 3, 4)
        np.testing.assert_array_equal(volume.read(BOX), ADDRESSES[BOX.slices])

    def test_resolution_is_along_x_y_z(self, tmp_path: Path) -> None:
        store = store_array(tmp_path / "v.n5" / "raw", ADDRESSES.T, "n5")
        path = tmp_path / "v.n5" / "raw" / "attributes.json"
        pixel = {"pixelResolution": {"dimensions": [8, 9, 30], "unit": "nm"}}
        path.write_text(json.dumps({**json.loads(path.read_text()), **pixel}))
        volume = open_n5(Store.at(tmp_path / "v.n5"), "raw", NONE, name="v")
        assert (volume.placement.voxel_size, volume.placement.unit) == ((30, 9, 8), "nanometer")
        del store

    def test_levels_take_their_factors_from_the_group_where_they_name_none(self, tmp_path: Path) -> None:
        home = tmp_path / "v.n5"
        store_array(home / "s0", ADDRESSES.T, "n5")
        store_array(home / "s1", ADDRESSES[:, ::2, ::2].T, "n5")
        pixel = {"dimensions": [8, 9, 30], "unit": "nm"}
        group = {"n5": "2.0.0", "scales": [[1, 1, 1], [2, 2, 1]], "pixelResolution": pixel}
        (home / "attributes.json").write_text(json.dumps(group))
        for dataset, level in (("", 1), ("s1", None)):
            volume = open_n5(Store.at(home), dataset, Selection(level=level), name="v")
            assert volume.placement == Placement((30, 18, 16), "nanometer", (0, 4.5, 4))

    def test_levels_of_bigdataviewer_are_found_and_take_their_size_from_the_xml(self, tmp_path: Path) -> None:
        home = tmp_path / "dataset.n5"
        group = home / "setup0"
        store_array(group / "timepoint0" / "s0", ADDRESSES.T, "n5")
        store_array(group / "timepoint0" / "s1", ADDRESSES[:, ::2, ::2].T, "n5")
        (group / "attributes.json").write_text(json.dumps({"downsamplingFactors": [[1, 1, 1], [2, 2, 1]]}))
        (home / "attributes.json").write_text('{"n5": "2.0.0"}')
        (tmp_path / "dataset.xml").write_text(
            "<SpimData><SequenceDescription><ViewSetups><ViewSetup><id>0</id><voxelSize><unit>nm</unit>"
            "<size>8.0 9.0 30.0</size></voxelSize></ViewSetup></ViewSetups></SequenceDescription></SpimData>"
        )
        volume = open_n5(Store.at(home), "", Selection(level=1), name="v")
        assert (volume.shape, volume.placement.voxel_size, volume.placement.unit) == (
            (5, 4, 5),
            (30, 18, 16),
            "nanometer",
        )
        assert volume.placement.offset == (0, 4.5, 4)
        with pytest.raises(InputError, match="holds the setups 0; found --channel 3"):
            open_n5(Store.at(home), "", Selection(channel=3), name="v")

    def test_nothing_and_a_group_are_told_apart(self, tmp_path: Path) -> None:
        store_array(tmp_path / "v.n5" / "raw", ADDRESSES.T, "n5")
        with pytest.raises(InputError, match=r"v.n5 is a group; found raw. Name an array in it, such as v.n5::raw"):
            open_n5(Store.at(tmp_path / "v.n5"), "", NONE, name="v.n5")
        with pytest.raises(MissingFileError, match="no N5 array or group at w.n5"):
            open_n5(Store.at(tmp_path / "w.n5"), "", NONE, name="w.n5")


class TestPrecomputed:
    def write(self, path: Path) -> Store:
        for size, chunk, resolution, begin, values in (
            ((9, 7, 5), (4, 3, 2), (8, 9, 30), (10, 20, 30), ADDRESSES),
            ((5, 4, 5), (4, 3, 2), (16, 18, 30), (5, 10, 30), ADDRESSES[:, ::2, ::2]),
        ):
            scale = {
                "size": size,
                "resolution": resolution,
                "voxel_offset": begin,
                "chunk_size": chunk,
                "encoding": "raw",
            }
            store_array(
                path,
                values.T[..., None],
                "neuroglancer_precomputed",
                multiscale_metadata={"type": "image", "data_type": "uint16", "num_channels": 1},
                scale_metadata=scale,
            )
        return Store.at(path)

    def test_is_read_with_its_size_and_offset_at_every_level(self, tmp_path: Path) -> None:
        store = self.write(tmp_path / "v")
        volume = open_precomputed(store, "", NONE, name="v")
        assert (volume.shape, volume.chunks, volume.dtype) == ((5, 7, 9), (2, 3, 4), np.uint16)
        assert volume.placement == Placement((30, 9, 8), "nanometer", (900, 180, 80))
        np.testing.assert_array_equal(volume.read(BOX), ADDRESSES[BOX.slices])
        for level in (
            open_precomputed(store, "", Selection(level=1), name="v"),
            open_precomputed(store, "16_18_30", NONE, name="v"),
        ):
            np.testing.assert_array_equal(level.read(Roi((0, 0, 0), level.shape)), ADDRESSES[:, ::2, ::2])
        with pytest.raises(InputError, match="levels 0 to 1"):
            open_precomputed(store, "", Selection(level=2), name="v")

    def test_nothing_there_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(MissingFileError, match="no precomputed volume at v"):
            open_precomputed(Store.at(tmp_path / "v"), "", NONE, name="v")


@pytest.mark.parametrize("limit", [1, 100, 10**6])
def test_blocks_and_planes_make_up_the_volume(limit: int, tmp_path: Path) -> None:
    volume = open_zarr(zarr2(tmp_path / "v", ADDRESSES), "", Selection(axes="zyx"), name="v")
    found = np.full(ADDRESSES.shape, 9999, np.uint16)
    for roi, block in volume.blocks(limit):
        found[roi.slices] = block
    np.testing.assert_array_equal(found, ADDRESSES)
    np.testing.assert_array_equal(np.stack(list(volume.planes(BOX))), ADDRESSES[BOX.slices])


def test_addresses_of_other_schemes_are_refused() -> None:
    for address in ("ftp://host/v.zarr", "s3://", "http:///v.zarr"):
        with pytest.raises(InputError, match="expected a path, s3://BUCKET/KEY"):
            Store.at(address)


def test_a_server_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from cdeep3m.volumes import stores

    monkeypatch.setattr(stores, "RETRIES", {"max_retries": 1, "initial_delay": "1ms", "max_delay": "1ms"})
    stores.context.cache_clear()
    try:
        with pytest.raises(DownloadError, match=r"http://127.0.0.1:9/v.zarr cannot be reached") as caught:
            Store.at("http://127.0.0.1:9/v.zarr").read("zarr.json")
    finally:
        stores.context.cache_clear()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {}),
        ({"AWS_NO_SIGN_REQUEST": "YES"}, {"aws_credentials": {"type": "anonymous"}}),
        (
            {"AWS_ACCESS_KEY_ID": "k", "AWS_REGION": "eu"},
            {"aws_region": "eu", "aws_credentials": {"type": "environment"}},
        ),
        (
            {"AWS_PROFILE": "lab", "AWS_ENDPOINT_URL": "http://s3.lab/"},
            {
                "endpoint": "http://s3.lab",
                "aws_region": "us-east-1",
                "aws_credentials": {"type": "profile", "profile": "lab"},
            },
        ),
    ],
)
def test_s3_takes_what_the_environment_says(
    environment: dict[str, str], expected: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_NO_SIGN_REQUEST", "AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert s3_options() == expected


def test_the_first_of_several_images_is_read_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    zarr2(tmp_path / "v.zarr" / "0", ADDRESSES)
    ome(tmp_path / "v.zarr", "0.4", NM, {"0": scaled([30, 9, 8])})
    said = json.loads((tmp_path / "v.zarr" / ".zattrs").read_text())
    said["multiscales"] *= 2
    (tmp_path / "v.zarr" / ".zattrs").write_text(json.dumps(said))
    np.testing.assert_array_equal(open_zarr(Store.at(tmp_path / "v.zarr"), "", NONE, name="v").read(ALL), ADDRESSES)
    assert "v holds 2 images (multiscales); the first of them is read" in caplog.text


def test_a_unit_that_one_axis_lacks_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    zarr2(tmp_path / "v.zarr" / "0", ADDRESSES)
    store = ome(tmp_path / "v.zarr", "0.4", [space("z"), *NM[1:]], {"0": scaled([30, 9, 8])})
    assert open_zarr(store, "", NONE, name="v").placement == Placement((30, 9, 8), "nanometer")
    assert "v says no unit of z; that of the others is taken for it, nanometer" in caplog.text
