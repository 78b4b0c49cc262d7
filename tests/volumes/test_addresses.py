"""Every format is found by its address, and every format keeps to one behaviour: the conformance suite of volumes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from cdeep3m.errors import InputError, MissingFileError
from cdeep3m.geometry import Placement, Roi
from cdeep3m.rules import ORIGINAL
from cdeep3m.volumes import open_volume
from cdeep3m.volumes.axes import Selection, parse_roi

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ADDRESSES = np.arange(5 * 7 * 9, dtype=np.uint16).reshape(5, 7, 9)
BOXES = [Roi((0, 0, 0), (5, 7, 9)), Roi((1, 2, 3), (4, 6, 9)), Roi((4, 6, 8), (5, 7, 9)), Roi((0, 0, 0), (1, 7, 9))]
LABELS = (ADDRESSES % 3 == 1).astype(np.uint16) * np.uint16(7)


def png(folder: Path, values: np.ndarray) -> str:
    (folder / "v").mkdir()
    for z, plane in enumerate(values):
        Image.fromarray(plane).save(folder / "v" / f"img_{z:04d}.png")
    return str(folder / "v")


def tif(folder: Path, values: np.ndarray) -> str:
    tifffile.imwrite(folder / "v.tif", values, metadata=None, photometric="minisblack")
    return str(folder / "v.tif")


def tif_folder(folder: Path, values: np.ndarray) -> str:
    (folder / "v").mkdir()
    for z, plane in enumerate(values):
        tifffile.imwrite(folder / "v" / f"img_{z:04d}.tif", plane, metadata=None, photometric="minisblack")
    return str(folder / "v")


def ome_tif(folder: Path, values: np.ndarray) -> str:
    tifffile.imwrite(folder / "v.ome.tif", values, ome=True, metadata={"axes": "ZYX"})
    return str(folder / "v.ome.tif")


def h5(folder: Path, values: np.ndarray) -> str:
    with h5py.File(folder / "v.h5", "w") as file:
        file["stack"] = values.T
    return str(folder / "v.h5")


def cremi(folder: Path, values: np.ndarray) -> str:
    with h5py.File(folder / "v.hdf", "w") as file:
        file.create_dataset("volumes/raw", data=values).attrs["resolution"] = (40, 4, 4)
        file["volumes/other"] = values
    return f"{folder / 'v.hdf'}::volumes/raw"


def mrc(folder: Path, values: np.ndarray) -> str:
    mrcfile = pytest.importorskip("mrcfile")
    with mrcfile.new(folder / "v.mrc") as file:
        file.set_data(values)
    return str(folder / "v.mrc")


def store(path: Path, values: np.ndarray, driver: str, **spec: Any) -> None:
    ts = pytest.importorskip("tensorstore")
    made = ts.open(
        {"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/"}, **spec},
        create=True,
        dtype=values.dtype,
        shape=None if driver.endswith("precomputed") else values.shape,
    ).result()
    made[(slice(None),) * made.rank] = values


def ome_zarr(folder: Path, values: np.ndarray) -> str:
    store(folder / "v.zarr" / "0", values, "zarr", metadata={"chunks": [2, 3, 4]})
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    scale = [{"type": "scale", "scale": [30, 8, 8]}]
    multiscale = {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    (folder / "v.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / "v.zarr" / ".zattrs").write_text(json.dumps({"multiscales": [multiscale]}))
    return str(folder / "v.zarr")


def n5(folder: Path, values: np.ndarray) -> str:
    store(folder / "v.n5" / "s", values.T, "n5", metadata={"blockSize": [4, 3, 2]})
    return f"{folder / 'v.n5'}::s"


def precomputed(folder: Path, values: np.ndarray) -> str:
    scale = {"size": values.shape[::-1], "resolution": [8, 8, 30], "chunk_size": [4, 3, 2], "encoding": "raw"}
    multiscale = {"type": "image", "data_type": values.dtype.name, "num_channels": 1}
    spec = {"multiscale_metadata": multiscale, "scale_metadata": scale}
    store(folder / "v", values.T[..., None], "neuroglancer_precomputed", **spec)
    return f"precomputed://{folder / 'v'}"


@dataclass(frozen=True)
class Made:
    """A format, and what its volumes look like."""

    write: Callable[[Path, np.ndarray], str]
    chunks: tuple[int, int, int]
    placement: Placement = Placement()
    exact: bool = True


MADE = {
    "png": Made(png, (1, 7, 9)),
    "tif_folder": Made(tif_folder, (1, 7, 9)),
    "tif": Made(tif, (1, 7, 9)),
    "ome_tif": Made(ome_tif, (1, 7, 9)),
    "h5": Made(h5, (5, 7, 1)),
    "cremi": Made(cremi, (1, 7, 9), Placement((40, 4, 4), "nanometer"), exact=False),
    "mrc": Made(mrc, (1, 7, 9), exact=False),
    "ome_zarr": Made(ome_zarr, (2, 3, 4), Placement((30, 8, 8), "nanometer"), exact=False),
    "n5": Made(n5, (2, 3, 4), exact=False),
    "precomputed": Made(precomputed, (2, 3, 4), Placement((30, 8, 8), "nanometer"), exact=False),
}
every_format = pytest.mark.parametrize("name", MADE)


@every_format
def test_every_format_reads_every_box(name: str, tmp_path: Path) -> None:
    volume = open_volume(MADE[name].write(tmp_path, ADDRESSES))
    assert (volume.shape, volume.dtype) == ((5, 7, 9), np.uint16)
    assert volume.chunks == MADE[name].chunks
    assert volume.placement == MADE[name].placement
    assert volume.is_folder == (name in ("png", "tif_folder"))
    for box in BOXES:
        values = volume.read(box)
        assert values.dtype == volume.dtype
        np.testing.assert_array_equal(values, ADDRESSES[box.slices])


@every_format
@pytest.mark.parametrize("limit", [1, 100, 10**6])
def test_blocks_make_up_the_volume(limit: int, name: str, tmp_path: Path) -> None:
    volume = open_volume(MADE[name].write(tmp_path, ADDRESSES))
    found = np.full(ADDRESSES.shape, 9999, np.uint16)
    for roi, block in volume.blocks(limit):
        found[roi.slices] = block
    np.testing.assert_array_equal(found, ADDRESSES)


@every_format
def test_a_box_is_a_volume_of_its_own(name: str, tmp_path: Path) -> None:
    whole = MADE[name].placement
    volume = open_volume(MADE[name].write(tmp_path, ADDRESSES), selection=Selection(roi=parse_roi("1:4,2:6,3:9")))
    assert volume.shape == (3, 4, 6)
    assert volume.placement == whole.of(BOXES[1])
    np.testing.assert_array_equal(volume.read(Roi((1, 1, 1), (3, 3, 4))), ADDRESSES[2:4, 3:5, 4:7])
    for limit in (1, 50, 10**6):
        found = np.full(volume.shape, 9999, np.uint16)
        for roi, block in volume.blocks(limit):
            found[roi.slices] = block
        np.testing.assert_array_equal(found, ADDRESSES[BOXES[1].slices])


@every_format
def test_a_box_beyond_the_volume_is_refused(name: str, tmp_path: Path) -> None:
    address = MADE[name].write(tmp_path, ADDRESSES)
    with pytest.raises(InputError, match=r"--roi .* reaches beyond .*\(5, 7, 9\)"):
        open_volume(address, selection=Selection(roi=parse_roi("0:6,0:7,0:9")))


@every_format
def test_labels_are_0_and_1_and_segmentations_keep_their_numbers(name: str, tmp_path: Path) -> None:
    address = MADE[name].write(tmp_path, LABELS)
    labels, segmentation = open_volume(address, role="label"), open_volume(address, role="segmentation")
    np.testing.assert_array_equal(labels.read(BOXES[0]), LABELS != 0)
    np.testing.assert_array_equal(segmentation.read(BOXES[0]), LABELS)
    assert (labels.dtype, segmentation.dtype) == (np.uint8, np.int64)


@every_format
def test_a_channel_that_is_not_there_is_refused(name: str, tmp_path: Path) -> None:
    address = MADE[name].write(tmp_path, ADDRESSES)
    for selection in (Selection(channel=3), Selection(time=3), Selection(level=3)):
        with pytest.raises(InputError, match="3"):
            open_volume(address, selection=selection)


@every_format
def test_exact_mode_reads_what_the_original_does(name: str, tmp_path: Path) -> None:
    address = MADE[name].write(tmp_path, ADDRESSES)
    if MADE[name].exact:
        np.testing.assert_array_equal(open_volume(address, rules=ORIGINAL).read(BOXES[0]), ADDRESSES)
        with pytest.raises(InputError, match="leave out --exact, or --roi"):
            open_volume(address, rules=ORIGINAL, selection=Selection(roi=parse_roi("0:1,0:1,0:1")))
    else:
        with pytest.raises(InputError, match=r"the original .*leave out --exact"):
            open_volume(address, rules=ORIGINAL)


@pytest.mark.parametrize("name", ["png", "tif", "mrc", "ome_zarr", "n5", "cremi"])
def test_a_missing_dataset_is_named(name: str, tmp_path: Path) -> None:
    address = MADE[name].write(tmp_path, ADDRESSES).partition("::")[0]
    with pytest.raises(MissingFileError, match="nowhere"):
        open_volume(f"{address}::nowhere")


@pytest.mark.parametrize("name", ["zarr.zarr", "v.n5", "v.mrc", "v.precomputed", "precomputed://v"])
def test_what_is_not_there_is_said(name: str, tmp_path: Path) -> None:
    address = name.replace("://", f"://{tmp_path}/") if "://" in name else str(tmp_path / name)
    with pytest.raises(MissingFileError, match="no such file or folder|no precomputed volume"):
        open_volume(address)


@pytest.mark.parametrize("values", [np.int8([[[1, 2]]]), np.int16([[[1, 300]]])])
def test_signed_images_are_read_unless_a_value_is_negative(values: np.ndarray, tmp_path: Path) -> None:
    volume = open_volume(mrc(tmp_path, values))
    assert volume.dtype.kind == "u"
    np.testing.assert_array_equal(volume.read(Roi((0, 0, 0), (1, 1, 2))), values)
    (tmp_path / "v.mrc").unlink()
    with pytest.raises(InputError, match=r"values from -2 to \d+|values from -2 to -1"):
        open_volume(mrc(tmp_path, values - values.dtype.type(3))).read(Roi((0, 0, 0), (1, 1, 2)))


def test_values_come_as_they_are(tmp_path: Path) -> None:
    values = np.float32([[[-1.5, 300]]])
    for write in (tif, mrc):
        volume = open_volume(write(tmp_path, values), role="values")
        assert volume.dtype == np.float32
        np.testing.assert_array_equal(volume.read(Roi((0, 0, 0), (1, 1, 2))), values)


@pytest.mark.parametrize("text", ["", "0:1", "0:1,0:1", "1:1,0:1,0:1", "2:1,0:1,0:1", "-1:1,0:1,0:1", "0:1,0:1,a:b"])
def test_boxes_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--roi"):
        parse_roi(text)


@pytest.mark.parametrize("name", ["png", "tif_folder", "mrc", "tif", "h5"])
def test_a_format_without_levels_refuses_another_one(name: str, tmp_path: Path) -> None:
    address = MADE[name].write(tmp_path, ADDRESSES)
    assert open_volume(address, selection=Selection(level=0)).shape == ADDRESSES.shape
    with pytest.raises(InputError, match="--level"):
        open_volume(address, selection=Selection(level=1))


@pytest.mark.parametrize("name", ["png", "tif_folder", "tif", "h5", "mrc"])
def test_a_format_of_files_is_not_on_s3(name: str) -> None:
    suffix = {"png": "", "tif_folder": ""}.get(name, f".{name}")
    address = f"s3://bucket/v{suffix}" if suffix else "ftp://bucket/v"
    with pytest.raises(InputError, match="expected") as caught:
        open_volume(address)
    assert "\n" not in str(caught.value)
