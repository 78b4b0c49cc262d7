"""HDF5 files as the original writes them, and nothing half-written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from cdeep3m.errors import FormatError, InputError
from cdeep3m.volumes import hdf5, mapped, open_volume
from cdeep3m.volumes.hdf5 import in_old_shape, read_dataset, write_datasets, write_small

if TYPE_CHECKING:
    from pathlib import Path

ADDRESSES = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_datasets_are_contiguous_without_filters_or_attributes(dtype: str, tmp_path: Path) -> None:
    arrays = {"data": ADDRESSES.astype(dtype), "label": ADDRESSES.astype(dtype).T[::-1, :, ::2]}
    write_datasets(tmp_path / "a.h5", arrays)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        assert sorted(file) == ["data", "label"]
        for name, dataset in file.items():
            np.testing.assert_array_equal(dataset[()], arrays[name])
            assert dataset.dtype == dtype
            assert (dataset.chunks, dataset.compression, dict(dataset.attrs)) == (None, None, {})


def test_slabs_of_any_size_give_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_datasets(tmp_path / "whole.h5", {"data": ADDRESSES.T}, dtype=np.float32)
    monkeypatch.setattr(hdf5, "SLAB_BYTES", 50)
    write_datasets(tmp_path / "slabs.h5", {"data": ADDRESSES.T}, dtype=np.float32)
    assert (tmp_path / "whole.h5").read_bytes() == (tmp_path / "slabs.h5").read_bytes()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("values", [np.uint8, np.uint16, bool])
def test_views_of_every_layout_are_written_as_they_read(
    values: type, dtype: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "SLAB_BYTES", 70)
    source = ADDRESSES.astype(values)
    for order in ((0, 1, 2), (1, 0, 2), (2, 0, 1)):
        for steps in ((1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (-2, 2, 1)):
            view = source.transpose(order)[tuple(slice(None, None, step) for step in steps)]
            write_datasets(tmp_path / "a.h5", {"data": view}, dtype=dtype)
            np.testing.assert_array_equal(read_dataset(tmp_path / "a.h5"), view.astype(dtype))


def test_the_same_values_give_the_same_bytes_at_any_time(tmp_path: Path) -> None:
    write_datasets(tmp_path / "a.h5", {"data": ADDRESSES})
    time.sleep(1.1)
    write_datasets(tmp_path / "b.h5", {"data": ADDRESSES})
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_logical_arrays_are_stored_as_double(tmp_path: Path) -> None:
    write_datasets(tmp_path / "a.h5", {"data": ADDRESSES > 7})
    assert read_dataset(tmp_path / "a.h5", "data").dtype == np.float64


def test_a_larger_or_smaller_file_is_replaced_whole(tmp_path: Path) -> None:
    for shape in ((4, 5, 6), (2, 2, 2), (9, 9, 9)):
        write_datasets(tmp_path / "a.h5", {"data": np.full(shape, 3, np.uint8)})
        assert read_dataset(tmp_path / "a.h5", "data").shape == shape


@pytest.mark.parametrize("in_memory", [0, 10**6])
def test_the_original_keeps_the_old_shape(in_memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "IN_MEMORY", in_memory)
    monkeypatch.setattr(hdf5, "SLAB_BYTES", 6 * 6 * 4)
    write_datasets(tmp_path / "a.h5", {"data": np.zeros((2, 6, 6), np.float32)})
    kept = in_old_shape(tmp_path / "a.h5", {"data": ADDRESSES})["data"]
    assert (kept.shape, kept.dtype) == ((2, 6, 6), np.float32)
    np.testing.assert_array_equal(kept[:, :5], ADDRESSES[:2])
    assert not kept[:, 5:].any()


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 2, 6), (1, 5, 1), (6, 2, 9)])
def test_over_a_smaller_file_the_original_writes_the_first_values(shape: tuple[int, ...], tmp_path: Path) -> None:
    write_datasets(tmp_path / "a.h5", {"data": np.zeros(shape, np.float32)})
    kept = in_old_shape(tmp_path / "a.h5", {"data": ADDRESSES.T[::-1].T})["data"]
    assert kept.shape == shape
    overlap = kept[: min(4, shape[0]), : min(5, shape[1]), : min(6, shape[2])]
    np.testing.assert_array_equal(overlap.ravel(), ADDRESSES[..., ::-1].ravel()[: overlap.size])


def test_contiguous_datasets_are_mapped_and_others_read(tmp_path: Path) -> None:
    write_datasets(tmp_path / "a.h5", {"data": ADDRESSES})
    found = read_dataset(tmp_path / "a.h5", "data")
    assert isinstance(found, np.memmap)
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, ADDRESSES)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("data", data=ADDRESSES, chunks=(2, 2, 2), compression="gzip")
    np.testing.assert_array_equal(read_dataset(tmp_path / "b.h5", "data"), ADDRESSES)


def test_a_missing_dataset_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    write_datasets(tmp_path / "a.h5", {"label": ADDRESSES})
    with pytest.raises(FormatError, match=r"a.h5 holds no dataset 'data'; found label"):
        read_dataset(tmp_path / "a.h5", "data")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_an_error_that_names_it(share: float, tmp_path: Path) -> None:
    write_datasets(tmp_path / "a.h5", {"data": np.zeros((40, 50, 6), np.float32)})
    data = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(FormatError, match=r"a.h5 is no readable HDF5 file"):
        read_dataset(tmp_path / "a.h5", "data")


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({}, r"holds 0 datasets \(none\); expected one"),
        ({"a": ADDRESSES, "group/b": ADDRESSES}, r"holds 2 datasets \(a, group/b\); expected one"),
        ({"a": ADDRESSES[0]}, r"has the shape \(5, 6\) and does not say .* --axes"),
        ({"a": ADDRESSES.astype(np.int64)}, r"/a of .* holds int64 values; expected 8- or 16-bit gray values"),
    ],
)
def test_what_is_no_volume_is_refused(datasets: dict, message: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, array in datasets.items():
            file[name] = array
    with pytest.raises(InputError, match=message):
        open_volume(tmp_path / "a.h5")


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_datasets(tmp_path / "a.h5", {"data": ADDRESSES})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match=r"No space left on device: .*a.h5"):
        write_datasets(tmp_path / "a.h5", {"data": ADDRESSES.T})
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
    np.testing.assert_array_equal(read_dataset(tmp_path / "a.h5", "data"), ADDRESSES)


def test_datasets_written_side_by_side_are_those_of_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = {
        "data": np.arange(70 * 80 * 90, dtype=np.uint16).reshape(70, 80, 90),
        "label": np.eye(700, dtype=np.uint8),
    }
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, content, place: write(file, content[:99_999], place))
    for at_once in (False, True):
        (tmp_path / f"{at_once}.h5").touch()
        hdf5.fill_datasets(tmp_path / f"{at_once}.h5", arrays, dtype=np.float32, at_once=at_once)
        for name, array in arrays.items():
            np.testing.assert_array_equal(read_dataset(tmp_path / f"{at_once}.h5", name), array.astype(np.float32))
    assert (tmp_path / "True.h5").read_bytes() == (tmp_path / "False.h5").read_bytes()


def test_a_limit_met_inside_hdf5_is_a_system_error_that_names_the_file(tmp_path: Path) -> None:
    code = (
        "import resource, sys, numpy; from cdeep3m.volumes.hdf5 import write_datasets\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: write_datasets(sys.argv[1], {'data': numpy.zeros((100, 100, 100))})\n"
        "except OSError as error: print(error.errno, error.filename)"
    )
    told = subprocess.check_output([sys.executable, "-c", code, tmp_path / "a.h5"], text=True)
    assert told.split() == ["27", str(tmp_path / "a.h5")]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("names", [("data",), ("data", "label")])
def test_files_are_those_that_hdf5_itself_writes(tmp_path: Path, names: tuple[str, ...], dtype: str) -> None:
    arrays = {name: (ADDRESSES + k).astype(dtype) for k, name in enumerate(names)}
    write_datasets(tmp_path / "a.h5", arrays)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        for name, array in arrays.items():
            plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plan.set_layout(h5py.h5d.CONTIGUOUS)
            plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            plan.set_obj_track_times(False)
            kind, space = h5py.h5t.py_create(array.dtype, logical=True), h5py.h5s.create_simple(array.shape)
            made = h5py.h5d.create(file.id, name.encode(), kind, space, plan)
            made.write(h5py.h5s.ALL, h5py.h5s.ALL, array)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_small_files_are_those_that_h5py_writes(tmp_path: Path) -> None:
    write_small(tmp_path / "a.h5", {"data": ADDRESSES})
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["data"] = ADDRESSES
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize("limit", [0, 1, 2, 3])
@pytest.mark.parametrize("call", ["write_small(path, arrays)", "write_datasets(path, arrays)"])
def test_no_room_is_an_error_and_no_crash(tmp_path: Path, call: str, limit: int) -> None:
    code = (
        "import resource, sys, numpy as np\n"
        "from cdeep3m.volumes.hdf5 import write_small, write_datasets\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit} * 1024,) * 2)\n"
        "path, arrays = sys.argv[1], {'data': np.zeros((40, 50, 3), np.float32)}\n"
        f"try: {call}\n"
        "except OSError as error: sys.exit(error.errno)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.h5")], check=False)
    assert ended.returncode == errno.EFBIG
    assert not list(tmp_path.iterdir())
