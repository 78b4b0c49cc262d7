"""HDF5 files as ilastik, CREMI, Fiji and BigDataViewer lay them out, written here with h5py."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from cdeep3m.errors import FormatError, InputError, MissingFileError
from cdeep3m.geometry import Placement, Roi
from cdeep3m.rules import ORIGINAL
from cdeep3m.volumes import open_volume
from cdeep3m.volumes.axes import Selection
from cdeep3m.volumes.hdf5_layouts import Hdf5Dataset, is_of_the_original

if TYPE_CHECKING:
    from pathlib import Path

ADDRESSES = np.arange(4 * 5 * 6, dtype=np.uint16).reshape(4, 5, 6)
ALL = Roi((0, 0, 0), (4, 5, 6))
BOX = Roi((1, 2, 3), (3, 5, 6))


def h5(path: Path, datasets: dict[str, np.ndarray], attributes: dict[str, Any] | None = None, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file.create_dataset(name, data=values, **options).attrs.update(attributes or {})
    return path


def tags(axes: str) -> dict[str, str]:
    return {"axistags": json.dumps({"axes": [{"key": axis, "typeFlags": 2, "resolution": 0} for axis in axes]})}


def same(volume: Hdf5Dataset, expected: np.ndarray = ADDRESSES) -> None:
    assert volume.shape == expected.shape
    np.testing.assert_array_equal(volume.read(Roi((0, 0, 0), expected.shape)), expected)
    np.testing.assert_array_equal(volume.read(BOX), expected[BOX.slices])


def test_one_dataset_of_which_nothing_is_said_is_the_original_s(tmp_path: Path) -> None:
    path = h5(tmp_path / "v.h5", {"stack": ADDRESSES.T})
    assert is_of_the_original(path)
    same(Hdf5Dataset(path))
    same(Hdf5Dataset(path, "stack"))
    same(Hdf5Dataset(h5(tmp_path / "w.h5", {"stack": ADDRESSES}), "", Selection(axes="zyx")))


@pytest.mark.parametrize("axes", ["zyx", "xyz", "yzx"])
def test_ilastik_s_axis_tags_count(axes: str, tmp_path: Path) -> None:
    path = h5(tmp_path / "v.h5", {"exported_data": ADDRESSES.transpose(["zyx".index(a) for a in axes])}, tags(axes))
    assert not is_of_the_original(path)
    same(Hdf5Dataset(path))


def test_of_several_channels_one_is_chosen(tmp_path: Path) -> None:
    path = h5(tmp_path / "v.h5", {"data": np.stack([ADDRESSES, ADDRESSES + 500], -1)}, tags("zyxc"))
    same(Hdf5Dataset(path, "data", Selection(channel=1)), ADDRESSES + 500)
    with pytest.raises(InputError, match="holds 2 channels"):
        Hdf5Dataset(path)


def test_axis_tags_that_are_broken_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="axistags that cannot be read"):
        Hdf5Dataset(h5(tmp_path / "v.h5", {"data": ADDRESSES}, {"axistags": "{"}))


def test_labels_of_dimensions_are_axes(tmp_path: Path) -> None:
    path = h5(tmp_path / "v.h5", {"data": ADDRESSES.transpose(1, 0, 2)})
    with h5py.File(path, "r+") as file:
        for dimension, label in zip(file["data"].dims, "yzx", strict=True):
            dimension.label = label
    same(Hdf5Dataset(path))


def test_cremi_says_its_resolution_along_z_y_x(tmp_path: Path) -> None:
    cremi = {"resolution": (40.0, 4.0, 5.0), "offset": (1520.0, 3644.0, 3644.0)}
    path = h5(tmp_path / "v.hdf", {"volumes/raw": ADDRESSES, "volumes/labels/neuron_ids": ADDRESSES}, cremi)
    volume = Hdf5Dataset(path, "volumes/raw")
    same(volume)
    assert volume.placement == Placement((40, 4, 5), "nanometer", (1520, 3644, 3644))
    same(Hdf5Dataset(path, "volumes/labels"))
    with pytest.raises(
        InputError, match=r"holds 2 datasets \(volumes/labels/neuron_ids, volumes/raw\); .*v.hdf::volumes/"
    ):
        Hdf5Dataset(path)
    with pytest.raises(
        MissingFileError, match=r"holds no 'volumes/row'; found the datasets volumes/labels/neuron_ids,"
    ):
        Hdf5Dataset(path, "volumes/row")


def test_fiji_s_element_size_is_read(tmp_path: Path) -> None:
    volume = Hdf5Dataset(
        h5(tmp_path / "v.h5", {"data": ADDRESSES}, {"element_size_um": np.float32([0.03, 0.009, 0.008])})
    )
    same(volume)
    assert (volume.placement.voxel_size, volume.placement.unit) == ((0.03, 0.009, 0.008), "micrometer")


def test_one_of_several_datasets_of_which_nothing_is_said_needs_axes(tmp_path: Path) -> None:
    path = h5(tmp_path / "v.h5", {"a": ADDRESSES, "b": ADDRESSES})
    with pytest.raises(InputError, match=r"v.h5::a has the shape \(4, 5, 6\) .* --axes"):
        Hdf5Dataset(path, "a")
    same(Hdf5Dataset(path, "a", Selection(axes="zyx")))


def bigdataviewer_file(path: Path) -> Path:
    values = ADDRESSES + 40000
    with h5py.File(path, "w") as file:
        file["s00/resolutions"] = np.float64([[1, 1, 1], [2, 2, 1]])
        file["t00000/s00/0/cells"] = values.view(np.int16)
        file["t00000/s00/1/cells"] = values[:, ::2, ::2].copy().view(np.int16)
        file["t00001/s00/0/cells"] = (values + 1).view(np.int16)
        file["t00001/s00/1/cells"] = (values + 1)[:, ::2, ::2].copy().view(np.int16)
    path.with_suffix(".xml").write_text(
        "<SpimData><SequenceDescription><ViewSetups><ViewSetup><id>0</id><voxelSize><unit>micron</unit>"
        "<size>0.008 0.009 0.03</size></voxelSize></ViewSetup></ViewSetups></SequenceDescription></SpimData>"
    )
    return path


def test_bigdataviewer_s_levels_and_times_are_found(tmp_path: Path) -> None:
    path = bigdataviewer_file(tmp_path / "v.h5")
    full = Hdf5Dataset(path, "", Selection(time=1))
    assert full.dtype == np.uint16
    same(full, ADDRESSES + 40001)
    assert (full.placement.voxel_size, full.placement.unit) == ((0.03, 0.009, 0.008), "micrometer")
    half = Hdf5Dataset(path, "", Selection(time=0, level=1))
    np.testing.assert_array_equal(half.read(Roi((0, 0, 0), half.shape)), (ADDRESSES + 40000)[:, ::2, ::2])
    assert (half.placement.voxel_size, half.placement.offset) == ((0.03, 0.018, 0.016), (0, 0.0045, 0.004))
    same(Hdf5Dataset(path, "t00001/s00/0/cells"), ADDRESSES + 40001)
    same(Hdf5Dataset(path, "t00001"), ADDRESSES + 40001)
    with pytest.raises(InputError, match="holds the times 0, 1; expected one to be chosen with --time"):
        Hdf5Dataset(path)
    with pytest.raises(InputError, match="has levels 0 to 1; found --level 2"):
        Hdf5Dataset(path, "", Selection(time=0, level=2))


def test_chunks_are_along_z_y_x(tmp_path: Path) -> None:
    volume = Hdf5Dataset(h5(tmp_path / "v.h5", {"data": ADDRESSES.T}, tags("xyz"), chunks=(4, 3, 2)))
    assert volume.chunks == (2, 3, 4)
    found = np.zeros_like(ADDRESSES)
    for roi, block in volume.blocks(50):
        found[roi.slices] = block
    np.testing.assert_array_equal(found, ADDRESSES)


@pytest.mark.parametrize("values", [np.zeros((2, 2, 2), np.complex64), np.array([b"text"] * 8).reshape(2, 2, 2)])
def test_values_that_are_no_numbers_are_refused(values: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected numbers|expected whole numbers or"):
        Hdf5Dataset(h5(tmp_path / "v.h5", {"data": values}))


def test_other_byte_order_is_read(tmp_path: Path) -> None:
    volume = Hdf5Dataset(h5(tmp_path / "v.h5", {"data": ADDRESSES.astype(">u2")}, tags("zyx")))
    assert volume.read(ALL).dtype == np.dtype("=u2")
    same(volume)


def test_resolution_has_the_order_of_the_axes_that_the_file_names(tmp_path: Path) -> None:
    said = {**tags("xyz"), "resolution": (5.0, 4.0, 40.0), "offset": (1.0, 2.0, 3.0)}
    volume = Hdf5Dataset(h5(tmp_path / "v.h5", {"data": ADDRESSES.T}, said))
    same(volume)
    assert volume.placement == Placement((40, 4, 5), "nanometer", (3, 2, 1))


def test_bigdataviewer_s_setups_beyond_99_are_found(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    with h5py.File(path, "w") as file:
        for setup in (99, 100):
            file[f"s{setup}/resolutions"] = np.float64([[1, 1, 1]])
            file[f"t00000/s{setup}/0/cells"] = (ADDRESSES + setup).view(np.int16)
    same(Hdf5Dataset(path, "", Selection(channel=100)), ADDRESSES + 100)
    same(Hdf5Dataset(path, "t00000/s100/0/cells"), ADDRESSES + 100)
    with pytest.raises(InputError, match="holds the setups 99, 100; expected one to be chosen"):
        Hdf5Dataset(path)


def test_axes_that_are_not_said_and_look_odd_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    open_volume(h5(tmp_path / "v.h5", {"stack": ADDRESSES.T}))
    open_volume(h5(tmp_path / "w.h5", {"stack": ADDRESSES}), selection=Selection(axes="zyx"))
    open_volume(h5(tmp_path / "x.h5", {"stack": ADDRESSES}), rules=ORIGINAL)
    assert "does not say what its axes are" not in caplog.text
    open_volume(h5(tmp_path / "y.h5", {"stack": ADDRESSES}))
    assert "is read as x, y, z, as the original's files are: 6 planes of 4 x 5 pixels. --axes zyx" in caplog.text


@pytest.mark.parametrize("dataset", ["", "stack"])
@pytest.mark.parametrize("labels", [("z", "", ""), ("depth", "height", "width"), ("", "y", "x")])
def test_labels_that_do_not_say_every_axis_are_asked_about(
    dataset: str, labels: tuple[str, ...], tmp_path: Path
) -> None:
    path = h5(tmp_path / "v.h5", {"stack": ADDRESSES})
    with h5py.File(path, "a") as file:
        for dimension, label in zip(file["stack"].dims, labels, strict=True):
            dimension.label = label
    address = f"{path}::{dataset}" if dataset else path
    with pytest.raises(InputError, match="--axes"):
        open_volume(address)
    volume = open_volume(address, selection=Selection(axes="zyx"))
    np.testing.assert_array_equal(volume.read(ALL), ADDRESSES)


@pytest.mark.parametrize("dataset", ["", "::stack", "::group"])
def test_what_looks_turned_is_said_however_it_is_named(dataset: str, tmp_path: Path, caplog: Any) -> None:
    path = h5(tmp_path / "v.h5", {"group/stack" if dataset == "::group" else "stack": ADDRESSES})
    open_volume(f"{path}{dataset}")
    assert caplog.text.count("--axes zyx reads it the other way round") == 1
