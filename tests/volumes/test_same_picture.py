"""The same picture gives the same numbers in every container, type, compression and photometric interpretation."""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cdeep3m.volumes import open_volume, read_all

if TYPE_CHECKING:
    from collections.abc import Callable

ts = pytest.importorskip("tensorstore")


def pngs(folder: Path, planes: np.ndarray) -> str:
    (folder / "pngs").mkdir()
    for z, plane in enumerate(planes):
        Image.fromarray(plane).save(folder / "pngs" / f"{z:02d}.png")
    return str(folder / "pngs")


def gray_in_three_samples(folder: Path, planes: np.ndarray) -> str:
    (folder / "rgb").mkdir()
    for z, plane in enumerate(planes):
        tifffile.imwrite(folder / "rgb" / f"{z:02d}.tif", np.repeat(plane[..., None], 3, -1), photometric="rgb")
    return str(folder / "rgb")


def tiff(**how) -> Callable[[Path, np.ndarray], str]:
    def write(folder: Path, planes: np.ndarray) -> str:
        whole = {"photometric": "minisblack", "metadata": None, **how}
        if whole["photometric"] == "miniswhite":
            planes = np.iinfo(planes.dtype).max - planes
        tifffile.imwrite(folder / "v.tif", planes, **whole)
        return str(folder / "v.tif")

    return write


def pillow(compression: str | None) -> Callable[[Path, np.ndarray], str]:
    def write(folder: Path, planes: np.ndarray) -> str:
        (folder / "tifs").mkdir()
        for z, plane in enumerate(planes):
            Image.fromarray(plane).save(folder / "tifs" / f"{z:02d}.tif", compression=compression)
        return str(folder / "tifs")

    return write


def hdf5(**how) -> Callable[[Path, np.ndarray], str]:
    def write(folder: Path, planes: np.ndarray) -> str:
        with h5py.File(folder / "v.h5", "w") as file:
            file.create_dataset("data", data=planes.transpose(2, 1, 0), **how)
        return str(folder / "v.h5")

    return write


def hdf5_zyx(folder: Path, planes: np.ndarray) -> str:
    with h5py.File(folder / "v.h5", "w") as file:
        file["data"] = planes
        for axis, letter in enumerate("zyx"):
            file["data"].dims[axis].label = letter
    return str(folder / "v.h5")


def mrc(folder: Path, planes: np.ndarray) -> str:
    with warnings.catch_warnings(), mrcfile.new(folder / "v.mrc") as file:
        warnings.simplefilter("ignore")
        file.set_data(planes if planes.dtype != np.uint8 else planes.astype(np.uint16))
    return str(folder / "v.mrc")


def chunked(driver: str, suffix: str, **spec) -> Callable[[Path, np.ndarray], str]:
    def write(folder: Path, planes: np.ndarray) -> str:
        values = planes if driver.startswith("zarr") else planes.T
        kvstore = {"driver": "file", "path": f"{folder}/v{suffix}/"}
        shape = None if driver.endswith("precomputed") else values.shape
        full = {"driver": driver, "kvstore": kvstore, **spec}
        if shape is None:
            scale = {"size": list(values.shape), "resolution": [1, 1, 1], "chunk_size": [4, 4, 2], "encoding": "raw"}
            full |= {"multiscale_metadata": {"type": "image", "num_channels": 1}, "scale_metadata": scale}
            values = values[..., np.newaxis]
        ts.open(full, create=True, dtype=values.dtype, shape=shape).result()[...] = values
        if driver == "zarr":
            (folder / "v.zarr" / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["z", "y", "x"]}')
        return f"precomputed://{folder}/v" if shape is None else f"{folder}/v{suffix}"

    return write


def codec(*named: str) -> dict:
    codecs = [{"name": "bytes"}, *({"name": each} for each in named)]
    return {"metadata": {"dimension_names": ["z", "y", "x"], "codecs": codecs}}


CONTAINERS: dict[str, Callable[[Path, np.ndarray], str]] = {
    "png": pngs,
    "tiff": tiff(),
    "tiff, big-endian": tiff(byteorder=">"),
    "tiff, BigTIFF": tiff(bigtiff=True),
    "tiff, white is 0": tiff(photometric="miniswhite"),
    "tiff, white is 0, zlib": tiff(photometric="miniswhite", compression="zlib"),
    "tiff, zlib": tiff(compression="zlib"),
    "tiff, zlib with predictor": tiff(compression="zlib", predictor=True),
    "tiff, strips": tiff(rowsperstrip=2),
    "tiff, tiles": tiff(tile=(16, 16)),
    "tiff, tiles, zlib": tiff(tile=(16, 16), compression="zlib"),
    "tiff, ImageJ": tiff(imagej=True, photometric=None, metadata={"axes": "ZYX"}),
    "tiff, OME": tiff(ome=True, metadata={"axes": "ZYX"}),
    "tiff, LZW": pillow("tiff_lzw"),
    "tiff, PackBits": pillow("packbits"),
    "tiff, zstd": pillow("zstd"),
    "tiff, three samples": gray_in_three_samples,
    "hdf5": hdf5(),
    "hdf5, gzip": hdf5(compression="gzip", chunks=(3, 3, 1)),
    "hdf5, lzf": hdf5(compression="lzf", shuffle=True),
    "hdf5, labelled axes": hdf5_zyx,
    "mrc": mrc,
    "zarr 2": chunked("zarr", ".zarr"),
    "zarr 2, zlib": chunked("zarr", ".zarr", metadata={"compressor": {"id": "zlib", "level": 1}, "chunks": [2, 3, 4]}),
    "zarr 3": chunked("zarr3", ".zarr", **codec()),
    "zarr 3, gzip": chunked("zarr3", ".zarr", **codec("gzip")),
    "zarr 3, zstd": chunked("zarr3", ".zarr", **codec("zstd", "crc32c")),
    "n5": chunked("n5", ".n5"),
    "precomputed": chunked("neuroglancer_precomputed", ""),
}
OF_FLOATS = [
    name for name in CONTAINERS if not any(word in name for word in ("png", "white", "samples", "pred", "PackB"))
]


def read(write: Callable[[Path, np.ndarray], str], planes: np.ndarray) -> np.ndarray:
    with TemporaryDirectory() as folder:
        return np.array(read_all(open_volume(write(Path(folder), planes))))


@st.composite
def pictures(draw) -> np.ndarray:
    """Planes of 8 or 16 bits, of any size, with no symmetry; the darkest and the brightest value among them."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(5, 21), st.integers(5, 21)))
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    values = np.random.default_rng(draw(st.integers(0, 2**32))).integers(0, np.iinfo(dtype).max, shape, dtype)
    values.flat[[0, -1]] = np.iinfo(dtype).max, 0
    return values


@pytest.mark.parametrize("container", CONTAINERS)
@settings(max_examples=6, deadline=None)
@given(planes=pictures())
def test_a_picture_gives_its_numbers_in_every_container(container, planes):
    np.testing.assert_array_equal(read(CONTAINERS[container], planes), planes)


@pytest.mark.parametrize("container", OF_FLOATS)
def test_floating_point_gives_the_same_numbers_in_every_container(container):
    planes = np.linspace(0, 1, 2 * 6 * 7, dtype=np.float32).reshape(2, 6, 7)
    expected = read(CONTAINERS["tiff"], planes)
    assert expected.max() > 1, "floating point from 0 to 1 becomes gray values"
    np.testing.assert_array_equal(read(CONTAINERS[container], planes), expected)


@pytest.mark.parametrize("container", [name for name in OF_FLOATS if "zstd" not in name])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.5, 1.5])
def test_what_is_no_gray_value_is_refused_in_every_container(container, bad):
    from cdeep3m.errors import CDeep3MError

    planes = np.linspace(0, 1, 2 * 6 * 7, dtype=np.float32).reshape(2, 6, 7)
    planes[1, 2, 3] = bad
    with pytest.raises(CDeep3MError):
        read(CONTAINERS[container], planes)
