"""Training files are mapped, not copied, and damaged ones are told."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cdeep3m.engines.embedded.net.h5_files import open_training_file
from cdeep3m.engines.job_files import read_list
from cdeep3m.errors import FormatError, MissingFileError
from cdeep3m.volumes.hdf5 import read_dataset

VOLUME = np.arange(4 * 3 * 2).reshape(4, 3, 2)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", ">u2"])
def test_contiguous_datasets_are_memory_maps_of_any_type(tmp_path, dtype):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = VOLUME.astype(dtype)
        file["label"] = (VOLUME % 2).astype(dtype)
    volume = open_training_file(tmp_path / "a.h5")
    assert isinstance(volume.data, np.memmap)
    assert not volume.data.flags.writeable
    assert volume.data.dtype == np.dtype(dtype)
    assert_array_equal(volume.data, VOLUME)
    assert_array_equal(volume.label, VOLUME % 2)


@pytest.mark.parametrize("how", [{"chunks": (2, 3, 1)}, {"compression": "gzip"}])
def test_other_layouts_are_loaded(tmp_path, how):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=VOLUME, **how)
    array = read_dataset(tmp_path / "a.h5", "data")
    assert not isinstance(array, np.memmap)
    assert_array_equal(array, VOLUME)


def test_a_file_with_a_user_block_is_read_right(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file["data"] = VOLUME
    assert_array_equal(read_dataset(tmp_path / "a.h5", "data"), VOLUME)


def test_labels_may_lie_in_another_file(tmp_path):
    for name, key in (("a", "data"), ("b", "label")):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file[key] = VOLUME
    assert_array_equal(open_training_file(tmp_path / "a.h5", tmp_path / "b.h5").label, VOLUME)


def test_a_truncated_file_is_an_error(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.zeros((50, 50, 50))
    content = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match="truncated|cut off"):
        read_dataset(tmp_path / "a.h5", "data")


def test_a_missing_dataset_is_named(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = VOLUME
    with pytest.raises(FormatError, match="no dataset 'label'; found data"):
        open_training_file(tmp_path / "a.h5")


def test_lists_hold_one_file_a_line(tmp_path):
    for name in ("a b.h5", "c.h5"):
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text(f"a b.h5\r\n\n{tmp_path / 'c.h5'}\n")
    assert read_list(tmp_path / "list.txt", tmp_path) == [tmp_path / "a b.h5", tmp_path / "c.h5"]


def test_names_in_lists_may_hold_line_feeds(tmp_path):
    names = ["a\nb.h5", "c.h5", "d\u2028e.h5"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    assert read_list(tmp_path / "list.txt", tmp_path) == [tmp_path / name for name in names]


@pytest.mark.parametrize(
    ("content", "error", "problem"),
    [
        ("", FormatError, "is empty"),
        ("gone.h5\n", MissingFileError, "gone.h5 is not there, but"),
        (None, MissingFileError, "list.txt is not there"),
    ],
)
def test_lists_that_cannot_be_used_are_told(tmp_path, content, error, problem):
    if content is not None:
        (tmp_path / "list.txt").write_text(content)
    with pytest.raises(error, match=problem):
        read_list(tmp_path / "list.txt", tmp_path)
