"""Arrays in temporary files: like those in memory, without a trace on disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cdeep3m.volumes import mapped

if TYPE_CHECKING:
    from pathlib import Path

ADDRESSES = np.arange(50 * 60 * 70, dtype=np.uint16).reshape(50, 60, 70)


def resident() -> int:
    """Bytes of this process in memory that lie in files or are shared."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[2]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("in_memory", [0, 2**20])
def test_values_stay_whether_in_memory_or_released(
    in_memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "IN_MEMORY", in_memory)
    array = mapped.zeros(ADDRESSES.shape, ADDRESSES.dtype, folder=tmp_path)
    assert not array.any()
    array[...] = ADDRESSES
    mapped.release(array[::-1, 3:].T)
    np.testing.assert_array_equal(array, ADDRESSES)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc")
def test_a_released_array_leaves_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "IN_MEMORY", 0)
    before = resident()
    array = mapped.zeros((2**23,), np.dtype(np.float32), folder=tmp_path)
    array[:] = 1
    assert resident() - before >= array.nbytes
    mapped.release(array)
    assert resident() - before < array.nbytes // 4


def test_without_a_folder_everything_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "IN_MEMORY", 0)
    assert mapped.zeros((2, 3), np.dtype(np.uint8), folder=None).base is None


def test_a_full_disk_is_an_error_at_once_that_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mapped, "IN_MEMORY", 0)
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space left on device") as error:
        mapped.zeros((2, 3), np.dtype(np.uint8), folder=tmp_path)
    assert error.value.filename == str(tmp_path)
