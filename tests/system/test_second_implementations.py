"""Files of other libraries are read, and other libraries read ours: zarr-python, z5py, cloud-volume, and validators."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cdeep3m.errors import InputError
from cdeep3m.geometry import Placement, Roi
from cdeep3m.maps.base import MapSpec
from cdeep3m.maps.open import open_maps
from cdeep3m.tiling.boxes import Grid
from cdeep3m.volumes import open_volume, read_all
from cdeep3m.volumes.axes import Selection

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore"),
]

SHAPE = (5, 300, 70)
ADDRESSES = (np.arange(5 * 300 * 70, dtype=np.uint32) % 65521).astype(np.uint16).reshape(SHAPE)
HALF = ((ADDRESSES.reshape(5, 150, 2, 35, 2).astype(np.uint32).sum((2, 4)) + 2) // 4).astype(np.uint16)
BOX = Roi((1, 20, 3), (4, 60, 66))
PLACE = Placement((30.0, 8.0, 9.0), "nanometer", (60.0, 80.0, 45.0))


@pytest.fixture(autouse=True)
def short_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one shard along y and x, which end where boxes do, and chunks of 64 x 64."""
    monkeypatch.setattr("cdeep3m.maps.chunked.FLAT", 1)
    monkeypatch.setattr("cdeep3m.maps.chunked.CHUNKS_OF_A_SHARD", (1, 2, 1))


def written(path: Path, name: str, dtype: str = "uint16") -> Path:
    spec = MapSpec(shape=SHAPE, dtype=dtype, placement=PLACE, source="addresses")
    maps = open_maps(path, spec, format_name=name)
    for box in maps.missing(list(Grid(SHAPE, (5, 128, 64)))):
        maps.write(box, ADDRESSES[box.slices].astype(dtype))
    maps.finish()
    return path


def same(address: str | Path, values: np.ndarray = ADDRESSES, **selection: Any) -> None:
    volume = open_volume(address, selection=Selection(**selection))
    assert volume.shape == values.shape
    np.testing.assert_array_equal(read_all(volume), values)
    np.testing.assert_array_equal(volume.read(BOX), values[BOX.slices])


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("options", [{}, {"compressors": None}, {"shards": (5, 128, 64)}])
def test_zarr_python_s_arrays_are_read(version: int, options: dict, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", minversion="3")
    if version == 2 and "shards" in options:
        pytest.skip("Zarr 2 has no shards")
    array = zarr.create_array(
        tmp_path / "v.zarr", shape=SHAPE, chunks=(5, 64, 32), dtype="uint16", zarr_format=version, **options
    )
    array[:] = ADDRESSES
    same(tmp_path / "v.zarr", axes="zyx")


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_python_s_ome_zarr_is_read(version: int, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", minversion="3")
    group = zarr.open_group(tmp_path / "v.zarr", mode="w", zarr_format=version)
    kinds = {"t": "time", "c": "channel"}
    axes = [
        {"name": name, "type": kinds.get(name, "space"), **({} if name in kinds else {"unit": "nanometer"})}
        for name in "tczyx"
    ]
    datasets = []
    for level in range(2):
        step = 2**level
        values = np.stack([ADDRESSES + 1, ADDRESSES])[None, :, :, ::step, ::step]
        named = {"dimension_names": list("tczyx"), "shards": (1, 1, 5, 128, 64)} if version == 3 else {"order": "F"}
        chunks = (1, 1, 5, 64, 32)
        group.create_array(str(level), shape=values.shape, chunks=chunks, dtype="uint16", **named)[:] = values
        steps = [
            {"type": "scale", "scale": [1, 1, 3, 0.8 * step, 0.9 * step]},
            {"type": "translation", "translation": [0, 0, 6, 8, 4.5]},
        ]
        datasets.append({"path": str(level), "coordinateTransformations": steps})
    shared = [{"type": "scale", "scale": [1, 1, 10, 10, 10]}]
    image = {"axes": axes, "datasets": datasets, "coordinateTransformations": shared}
    if version == 2:
        group.attrs["multiscales"] = [{"version": "0.4", **image}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    same(tmp_path / "v.zarr", channel=1)
    same(f"{tmp_path / 'v.zarr'}::0", channel=1)
    assert open_volume(tmp_path / "v.zarr", selection=Selection(channel=1)).placement == PLACE
    reduced = open_volume(tmp_path / "v.zarr", selection=Selection(channel=1, level=1))
    np.testing.assert_array_equal(read_all(reduced), ADDRESSES[:, ::2, ::2])
    assert reduced.placement == Placement((30.0, 16.0, 18.0), "nanometer", (60.0, 80.0, 45.0))


@pytest.mark.parametrize("codec", ["gzip", "zstd", "lz4", "bz2"])
def test_numcodecs_compressors_of_zarr_2_are_read(codec: str, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", minversion="3")
    numcodecs = pytest.importorskip("numcodecs")
    compressor = {
        "gzip": numcodecs.GZip(),
        "zstd": numcodecs.Zstd(),
        "lz4": numcodecs.Blosc("lz4"),
        "bz2": numcodecs.BZ2(),
    }[codec]
    array = zarr.create_array(
        tmp_path / "v.zarr", shape=SHAPE, chunks=(5, 64, 32), dtype="uint16", zarr_format=2, compressors=compressor
    )
    array[:] = ADDRESSES
    same(tmp_path / "v.zarr", axes="zyx")


@pytest.mark.parametrize("name", ["ome-zarr", "ome-zarr-0.4", "ome-zarr-sharded"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_zarr_python_reads_our_levels(name: str, dtype: str, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", minversion="3")
    group = zarr.open_group(written(tmp_path / "v.zarr", name, dtype), mode="r")
    np.testing.assert_array_equal(group["0"][:], ADDRESSES.astype(dtype))
    if dtype == "uint16":
        np.testing.assert_array_equal(group["1"][:], HALF)
    assert group["0"].chunks == (5, 64, 64)


@pytest.mark.parametrize(
    ("name", "version"), [("ome-zarr", "v05"), ("ome-zarr-sharded", "v05"), ("ome-zarr-0.4", "v04")]
)
def test_ome_zarr_models_find_our_metadata_valid(name: str, version: str, tmp_path: Path) -> None:
    pytest.importorskip("ome_zarr_models")
    zarr = pytest.importorskip("zarr", minversion="3")
    models = importlib.import_module(f"ome_zarr_models.{version}.image")
    attributes = dict(zarr.open_group(written(tmp_path / "v.zarr", name), mode="r").attrs)
    found = models.ImageAttrs.model_validate(attributes if version == "v04" else attributes["ome"])
    steps = found.multiscales[0].datasets[0].coordinateTransformations
    assert list(steps[0].scale) == [30, 8, 9]
    assert list(steps[1].translation) == [60, 80, 45]


CODECS_OF_N5 = ("raw", "gzip", "bzip2", "xz", "blosc", "zstd")


def test_z5py_s_arrays_are_read(tmp_path: Path) -> None:
    z5py = pytest.importorskip("z5py")
    with z5py.File(str(tmp_path / "v.n5"), "w", use_zarr_format=False) as file:
        for codec in CODECS_OF_N5:
            file.create_dataset(codec, data=ADDRESSES, chunks=(5, 64, 32), compression=codec)
    for codec in CODECS_OF_N5:
        same(f"{tmp_path / 'v.n5'}::{codec}")


def test_z5py_reads_our_n5(tmp_path: Path) -> None:
    z5py = pytest.importorskip("z5py")
    with z5py.File(str(written(tmp_path / "v.n5", "n5")), "r", use_zarr_format=False) as file:
        np.testing.assert_array_equal(file["s0"][:], ADDRESSES)
        np.testing.assert_array_equal(file["s1"][:], HALF)


@pytest.mark.parametrize("encoding", ["raw", "compresso", "compressed_segmentation"])
def test_cloud_volume_s_volumes_are_read(encoding: str, tmp_path: Path) -> None:
    cloudvolume = pytest.importorskip("cloudvolume")
    if encoding == "compresso":
        pytest.skip("tensorstore does not know it")
    dtype = "uint16" if encoding == "raw" else "uint32"
    info = cloudvolume.CloudVolume.create_new_info(
        num_channels=1,
        layer_type="image" if encoding == "raw" else "segmentation",
        data_type=dtype,
        encoding=encoding,
        resolution=[9, 8, 30],
        voxel_offset=[5, 10, 2],
        volume_size=SHAPE[::-1],
        chunk_size=[32, 64, 5],
    )
    volume = cloudvolume.CloudVolume(f"file://{tmp_path / 'v'}", info=info, progress=False, compress=False)
    volume.commit_info()
    volume[:] = ADDRESSES.T[..., None].astype(dtype)
    found = open_volume(f"precomputed://{tmp_path / 'v'}", role="values")
    np.testing.assert_array_equal(read_all(found), ADDRESSES)
    assert found.placement == PLACE


def test_chunks_that_cloud_volume_packs_as_files_are_refused(tmp_path: Path) -> None:
    cloudvolume = pytest.importorskip("cloudvolume")
    info = cloudvolume.CloudVolume.create_new_info(
        num_channels=1,
        layer_type="image",
        data_type="uint16",
        encoding="raw",
        resolution=[9, 8, 30],
        voxel_offset=[0, 0, 0],
        volume_size=SHAPE[::-1],
        chunk_size=[32, 64, 5],
    )
    volume = cloudvolume.CloudVolume(f"file://{tmp_path / 'v'}", info=info, progress=False, compress=True)
    volume.commit_info()
    volume[:] = ADDRESSES.T[..., None]
    with pytest.raises(InputError, match=r"has its chunks in \.gz files .* compress=False"):
        open_volume(f"precomputed://{tmp_path / 'v'}")


ODD = [
    {"dtype": ">u2", "zarr_format": 2},
    {"dtype": "uint16", "zarr_format": 2, "order": "F"},
    {"dtype": "uint16", "zarr_format": 2, "fill_value": 7},
    {"dtype": "uint16", "zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
    {"dtype": "uint16", "zarr_format": 3, "chunk_key_encoding": {"name": "v2", "separator": "."}},
    {"dtype": "uint16", "zarr_format": 3, "chunk_key_encoding": {"name": "default", "separator": "."}},
    {"dtype": "uint16", "zarr_format": 3, "fill_value": 9, "dimension_names": ["z", "y", "x"]},
]


@pytest.mark.parametrize("options", ODD, ids=str)
def test_what_else_zarr_python_may_write_is_read(options: dict, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", minversion="3")
    array = zarr.create_array(tmp_path / "v.zarr", shape=SHAPE, chunks=(2, 64, 32), **options)
    array[:4] = ADDRESSES[:4]
    expected = ADDRESSES.copy()
    expected[4:] = options.get("fill_value", 0)
    same(tmp_path / "v.zarr", expected, axes="zyx")


def test_cloud_volume_reads_our_precomputed(tmp_path: Path) -> None:
    cloudvolume = pytest.importorskip("cloudvolume")
    path = written(tmp_path / "v.precomputed", "precomputed")
    for level, expected in enumerate((ADDRESSES, HALF)):
        volume = cloudvolume.CloudVolume(f"file://{path}", mip=level, progress=False)
        np.testing.assert_array_equal(np.asarray(volume[:])[..., 0].T, expected)
    first = cloudvolume.CloudVolume(f"file://{path}", progress=False)
    assert list(first.resolution) == [9, 8, 30]
    assert list(first.voxel_offset) == [5, 10, 2]


def test_a_sharded_precomputed_volume_is_read(tmp_path: Path) -> None:
    ts = pytest.importorskip("tensorstore")
    sharding = {
        "@type": "neuroglancer_uint64_sharded_v1",
        "preshift_bits": 1,
        "minishard_bits": 1,
        "shard_bits": 1,
        "hash": "identity",
        "data_encoding": "gzip",
        "minishard_index_encoding": "gzip",
    }
    made = ts.open(
        {
            "driver": "neuroglancer_precomputed",
            "kvstore": {"driver": "file", "path": f"{tmp_path}/v/"},
            "multiscale_metadata": {"type": "image", "data_type": "uint16", "num_channels": 1},
            "scale_metadata": {
                "size": SHAPE[::-1],
                "resolution": [9, 8, 30],
                "chunk_size": [32, 64, 5],
                "encoding": "raw",
                "sharding": sharding,
            },
        },
        create=True,
    ).result()
    made[...] = ADDRESSES.T[..., None]
    same(f"precomputed://{tmp_path / 'v'}")


def test_mrcfile_reads_ours(tmp_path: Path) -> None:
    mrcfile = pytest.importorskip("mrcfile")
    path = written(tmp_path / "v.mrc", "mrc")
    assert mrcfile.validate(path)
    with mrcfile.open(path) as file:
        np.testing.assert_array_equal(file.data, ADDRESSES)
        assert file.voxel_size.tolist() == pytest.approx((90, 80, 300))


def test_pillow_reads_ours(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    folder = written(tmp_path / "v", "png")
    planes = [np.asarray(image.open(path)) for path in sorted(folder.iterdir())]
    np.testing.assert_array_equal(np.stack(planes), ADDRESSES)


def test_h5py_reads_ours(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(written(tmp_path / "v.h5", "h5"), "r") as file:
        np.testing.assert_array_equal(file["data"][:], ADDRESSES)
        assert file["data"].attrs["resolution"].tolist() == [30, 8, 9]
        assert file["data"].attrs["offset"].tolist() == [60, 80, 45]
        tags = json.loads(file["data"].attrs["axistags"])
        assert [axis["key"] for axis in tags["axes"]] == ["z", "y", "x"]


def test_tifffile_reads_ours(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    path = written(tmp_path / "v.tif", "tif")
    with tifffile.TiffFile(path) as file:
        assert file.is_imagej
        np.testing.assert_array_equal(file.asarray(), ADDRESSES)
        assert (file.imagej_metadata["spacing"], file.imagej_metadata["unit"]) == (0.03, "um")


def test_the_broken_metadata_of_ome_zarr_are_refused(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", minversion="3")
    written(tmp_path / "v.zarr", "ome-zarr")
    del zarr
    meta = json.loads((tmp_path / "v.zarr" / "zarr.json").read_text())
    image = meta["attributes"]["ome"]["multiscales"][0]
    for broken in (
        {**image, "axes": image["axes"][:2]},
        {**image, "datasets": []},
        {**image, "axes": [{"name": "z"}, {"name": "z"}, {"name": "x"}]},
        {key: value for key, value in image.items() if key != "axes"},
    ):
        attributes = {"ome": {"version": "0.5", "multiscales": [broken]}}
        (tmp_path / "v.zarr" / "zarr.json").write_text(json.dumps({**meta, "attributes": attributes}))
        with pytest.raises(Exception, match="v.zarr") as caught:
            open_volume(tmp_path / "v.zarr")
        assert type(caught.value).__name__ in ("FormatError", "InputError")
        assert "\n" not in str(caught.value)
