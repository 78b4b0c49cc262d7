"""MRC files: every mode that is read, who wrote them, and what their headers say."""

from __future__ import annotations

import struct
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cdeep3m.errors import FormatError, InputError
from cdeep3m.geometry import Placement, Roi
from cdeep3m.volumes.axes import Selection
from cdeep3m.volumes.mrc import IMOD_STAMP, MrcVolume

if TYPE_CHECKING:
    from pathlib import Path

mrcfile = pytest.importorskip("mrcfile")

ADDRESSES = np.arange(4 * 5 * 6).reshape(4, 5, 6)
ALL = Roi((0, 0, 0), (4, 5, 6))
BOX = Roi((1, 2, 3), (3, 5, 6))


def mrc(path: Path, values: np.ndarray, **header: Any) -> Path:
    """Write `values` with mrcfile; then set what `header` names."""
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(values)
        for name, value in header.items():
            file.header[name] = value
    return path


def stamped(path: Path, flags: int) -> Path:
    """Make a file look like IMOD's."""
    data = bytearray(path.read_bytes())
    data[152:160] = struct.pack("<ii", IMOD_STAMP, flags)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("stored", "read"),
    [("int8", "int8"), ("int16", "int16"), ("float32", "float32"), ("uint16", "uint16"), ("float16", "float32")],
)
def test_every_mode_is_read(stored: str, read: str, tmp_path: Path) -> None:
    values = ADDRESSES.astype(stored)
    volume = MrcVolume(mrc(tmp_path / "v.mrc", values))
    assert (volume.shape, volume.dtype, volume.chunks, volume.is_folder) == (
        (4, 5, 6),
        np.dtype(read),
        (1, 5, 6),
        False,
    )
    np.testing.assert_array_equal(volume.read(ALL), ADDRESSES)
    np.testing.assert_array_equal(volume.read(BOX), ADDRESSES[BOX.slices])
    np.testing.assert_array_equal(np.stack(list(volume.planes(BOX))), ADDRESSES[BOX.slices])
    assert volume.read(BOX).dtype == np.dtype(read)


def test_bytes_of_imod_are_unsigned_unless_it_says_else(tmp_path: Path) -> None:
    values = (ADDRESSES + 130).astype(np.uint8)
    path = mrc(tmp_path / "v.mrc", values.view(np.int8))
    assert MrcVolume(path).dtype == np.int8
    volume = MrcVolume(stamped(path, 0))
    assert volume.dtype == np.uint8
    np.testing.assert_array_equal(volume.read(ALL), values)
    np.testing.assert_array_equal(MrcVolume(stamped(path, 1)).read(ALL), values.view(np.int8))


@pytest.mark.parametrize(
    ("version", "low", "high", "dtype"), [(0, 0, 249, "uint8"), (0, -5, 100, "int8"), (20140, 0, 249, "int8")]
)
def test_bytes_of_old_files_are_what_their_range_says(
    version: int, low: int, high: int, dtype: str, tmp_path: Path
) -> None:
    path = mrc(tmp_path / "v.mrc", ADDRESSES.astype(np.int8), nversion=version, dmin=low, dmax=high)
    assert MrcVolume(path).dtype == np.dtype(dtype)


def test_voxel_size_and_origin_are_in_angstrom(tmp_path: Path) -> None:
    path = tmp_path / "v.mrc"
    with mrcfile.new(path) as file:
        file.set_data(ADDRESSES.astype(np.int16))
        file.voxel_size = (40, 50, 300)
        file.header.origin = (1, 2, 3)
    volume = MrcVolume(path)
    assert volume.placement == Placement((300, 50, 40), "angstrom", (3, 2, 1))
    assert MrcVolume(stamped(path, 0)).placement.offset == (-3, -2, -1)
    assert MrcVolume(stamped(path, 4)).placement.offset == (3, 2, 1)


def test_starts_count_where_there_is_no_origin(tmp_path: Path) -> None:
    path = mrc(tmp_path / "v.mrc", ADDRESSES.astype(np.int16), nxstart=1, nystart=2, nzstart=3)
    with mrcfile.open(path, "r+") as file:
        file.voxel_size = (40, 50, 300)
    assert MrcVolume(path).placement.offset == (900, 100, 40)


def test_no_cell_means_no_voxel_size(tmp_path: Path) -> None:
    volume = MrcVolume(mrc(tmp_path / "v.mrc", ADDRESSES.astype(np.int16)))
    assert volume.placement == Placement(None, None, (0, 0, 0))


def test_a_single_image_of_a_microscope_keeps_its_voxel_size(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "v.mrc") as file:
        file.set_data(ADDRESSES[:1].astype(np.int16))
        file.header.cella = (12.0, 15.0, 0.0)
    assert MrcVolume(tmp_path / "v.mrc").placement == Placement((2, 3, 2), "angstrom")


def test_axes_follow_mapc_mapr_and_maps(tmp_path: Path) -> None:
    stored = ADDRESSES.transpose(1, 2, 0).astype(np.int16)
    volume = MrcVolume(mrc(tmp_path / "v.mrc", stored, mapc=3, mapr=1, maps=2))
    np.testing.assert_array_equal(volume.read(BOX), ADDRESSES[BOX.slices])
    with pytest.raises(FormatError, match=r"its axes \(mapc, mapr, maps\) are \[1, 1, 3\]"):
        MrcVolume(mrc(tmp_path / "w.mrc", stored, mapc=1, mapr=1, maps=3))


def test_of_a_stack_of_volumes_one_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "v.mrc"
    with mrcfile.new(path) as file:
        file.set_data(np.stack([ADDRESSES, ADDRESSES + 500]).astype(np.int16))
    np.testing.assert_array_equal(MrcVolume(path, Selection(time=1)).read(ALL), ADDRESSES + 500)
    with pytest.raises(InputError, match="holds 2 times"):
        MrcVolume(path)


def test_an_extended_header_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "v.mrc"
    with mrcfile.new(path) as file:
        file.set_data(ADDRESSES.astype(np.int16))
        file.set_extended_header(np.frombuffer(b"x" * 1376, "V1"))
    np.testing.assert_array_equal(MrcVolume(path).read(ALL), ADDRESSES)


def test_other_byte_order_is_read(tmp_path: Path) -> None:
    path = mrc(tmp_path / "v.mrc", ADDRESSES.astype(">i2"))
    volume = MrcVolume(path)
    assert volume.read(ALL).dtype == np.dtype("=i2")
    np.testing.assert_array_equal(volume.read(ALL), ADDRESSES)


def test_a_file_that_is_too_short_or_too_long(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = mrc(tmp_path / "v.mrc", ADDRESSES.astype(np.int16))
    data = path.read_bytes()
    path.write_bytes(data + b"xyz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(MrcVolume(path).read(ALL), ADDRESSES)
    assert "has 3 bytes behind its voxels" in caplog.text
    for rest in (data[:-1], data[:1024], data[:100], b""):
        path.write_bytes(rest)
        with pytest.raises(FormatError, match=r"v.mrc is no readable MRC file \(it has \d+ bytes"):
            MrcVolume(path)


def test_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v.mrc").write_bytes(b"not an MRC file at all " * 100)
    with pytest.raises((FormatError, InputError), match="v.mrc"):
        MrcVolume(tmp_path / "v.mrc")


def test_a_missing_magic_word_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = mrc(tmp_path / "v.mrc", ADDRESSES.astype(np.int16))
    data = bytearray(path.read_bytes())
    data[208:212] = b"\0\0\0\0"
    path.write_bytes(data)
    np.testing.assert_array_equal(MrcVolume(path).read(ALL), ADDRESSES)
    assert "lacks the letters MAP" in caplog.text


@pytest.mark.parametrize("mode", [3, 4, 101, 7])
def test_modes_that_are_not_read_are_named(mode: int, tmp_path: Path) -> None:
    path = mrc(tmp_path / "v.mrc", ADDRESSES.astype(np.int16), mode=mode)
    with pytest.raises(InputError, match=rf"has the MRC mode {mode}; expected one of 0 \(int8\)"):
        MrcVolume(path)


def test_starts_are_those_of_columns_rows_and_sections(tmp_path: Path) -> None:
    stored = ADDRESSES.transpose(1, 2, 0).astype(np.int16)  # columns along z, rows along x, sections along y
    path = mrc(tmp_path / "v.mrc", stored, mapc=3, mapr=1, maps=2, nxstart=1, nystart=2, nzstart=3)
    with mrcfile.open(path, "r+") as file:
        file.header.mx, file.header.my, file.header.mz = 6, 5, 4
        file.header.cella.x, file.header.cella.y, file.header.cella.z = 6 * 40, 5 * 50, 4 * 300
    assert MrcVolume(path).placement == Placement((300, 50, 40), "angstrom", (300, 150, 80))


def test_rows_of_large_planes_are_read_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdeep3m.volumes.mrc.LARGE", 10)
    volume = MrcVolume(mrc(tmp_path / "v.mrc", ADDRESSES.astype(np.int16)))
    assert volume.chunks == (1, 1, 6)
    np.testing.assert_array_equal(volume.read(BOX), ADDRESSES[BOX.slices])
