"""The same picture gives the same numbers, whatever file it is in; what is no gray value is refused."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from cdeep3m.errors import InputError
from cdeep3m.volumes import open_volume, read_all
from cdeep3m.volumes.hdf5 import write_datasets

PLANES = np.arange(3 * 40 * 50, dtype=np.uint16).reshape(3, 40, 50)


def lzw(path, plane, *, white=False):
    Image.fromarray(plane).save(path, compression="tiff_lzw")
    if white:
        with tifffile.TiffFile(path, mode="r+b") as tiff:
            tiff.pages[0].tags[262].overwrite(0)


def written(folder, dtype, kind):
    folder.mkdir()
    planes = PLANES.astype(dtype)
    for z, plane in enumerate(planes):
        path = folder / f"s{z}.tif"
        if kind == "white":
            stored = (np.iinfo(dtype).max - plane).astype(dtype)
            tifffile.imwrite(path, stored, photometric="miniswhite", metadata=None)
        elif kind == "lzw":
            lzw(path, plane)
        elif kind == "white lzw":
            lzw(path, (np.iinfo(dtype).max - plane).astype(dtype), white=True)
        elif kind == "zstd":
            Image.fromarray(plane).save(path, compression="zstd")
        else:
            tifffile.imwrite(path, plane, photometric="minisblack", metadata=None, **kind)
    return folder


@pytest.mark.parametrize(
    "kind",
    ["white", "lzw", "white lzw", "zstd", {"byteorder": ">"}, {"compression": "zlib"}, {"tile": (16, 16)}],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_way_to_store_a_plane_gives_its_values(tmp_path, dtype, kind):
    np.testing.assert_array_equal(read_all(open_volume(written(tmp_path / "i", dtype, kind))), PLANES.astype(dtype))


@pytest.mark.parametrize("kind", ["white", "white lzw"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_where_0_is_white_a_copy_has_the_picture_and_not_its_negative(tmp_path, dtype, kind):
    volume = open_volume(written(tmp_path / "i", dtype, kind), role="values")
    np.testing.assert_array_equal(read_all(volume), PLANES.astype(dtype))


def test_floats_are_scaled_alike_in_every_container(tmp_path):
    values = (PLANES / PLANES.max()).astype(np.float32)
    tifffile.imwrite(tmp_path / "v.tif", values, photometric="minisblack", metadata=None)
    write_datasets(tmp_path / "v.h5", {"data": values.transpose(2, 1, 0)})
    of_tiff, of_hdf5 = (read_all(open_volume(tmp_path / name)) for name in ("v.tif", "v.h5"))
    np.testing.assert_array_equal(of_tiff, of_hdf5)
    assert (of_tiff.dtype, of_tiff.max()) == (np.uint16, 65535)


@pytest.mark.parametrize(
    ("dtype", "value", "words"),
    [
        (np.int32, 7, "int32 values"),
        (np.uint32, 7, "uint32 values"),
        (np.int16, -1, "int16 values from -1"),
        (np.float32, np.nan, "NaN"),
        (np.float32, np.inf, "infinity"),
        (np.float64, 2, "float64 values from 0.0 to 2.0"),
    ],
)
@pytest.mark.parametrize("name", ["v.tif", "v.h5"])
def test_what_is_no_gray_value_is_refused_in_every_container(tmp_path, dtype, value, words, name):
    values = np.zeros((2, 14, 15), dtype)
    values[1, 3, 4] = value
    if name == "v.tif":
        tifffile.imwrite(tmp_path / name, values, photometric="minisblack", metadata=None)
    else:
        write_datasets(tmp_path / name, {"data": values.transpose(2, 1, 0)})
    with pytest.raises(InputError, match=words):
        read_all(open_volume(tmp_path / name))


@pytest.mark.parametrize("kept", ["external", "virtual"])
def test_values_in_other_files_are_refused(tmp_path, kept):
    (tmp_path / "other").write_bytes(bytes(120))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        if kept == "external":
            file.create_dataset("data", (4, 5, 6), np.uint8, external=[(str(tmp_path / "other"), 0, 120)])
        else:
            layout = h5py.VirtualLayout((4, 5, 6), np.uint8)
            layout[:] = h5py.VirtualSource("other.h5", "data", (4, 5, 6))
            file.create_virtual_dataset("data", layout)
    with pytest.raises(InputError, match="in other files"):
        open_volume(tmp_path / "v.h5")


def test_chunks_that_were_never_written_are_said(tmp_path, caplog):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset("data", (8, 8, 8), np.uint8, chunks=(4, 8, 8))[:4] = 1
    open_volume(tmp_path / "v.h5")
    assert "lacks 1 of its 2 chunks" in caplog.text
