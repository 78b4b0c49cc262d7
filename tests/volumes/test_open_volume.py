"""Volumes of every kind read alike; exact and corrected mode differ only where the original corrupts."""

from __future__ import annotations

import subprocess
import sys
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from cdeep3m.errors import FormatError, InputError, MissingFileError
from cdeep3m.geometry import Roi
from cdeep3m.rules import CORRECTED, ORIGINAL, Rules
from cdeep3m.volumes import open_volume
from octave_cases import gray_and_alpha, hdf5_file, palette_folder, png_folder, synth, tiff_folder, tiff_stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cdeep3m.volumes import Volume

ADDRESSES = np.arange(3 * 5 * 7, dtype=np.uint8).reshape(3, 5, 7)
MAKERS: dict[str, Callable[[Path, np.ndarray], Path]] = {
    "png": lambda w, stack: png_folder(w / "png", stack),
    "tif": lambda w, stack: tiff_folder(w / "tif", stack),
    "stack": lambda w, stack: tiff_stack(w / "stack.tif", stack),
    "tiff": lambda w, stack: tiff_stack(w / "stack.TIFF", stack),
    "h5": lambda w, stack: hdf5_file(w / "stack.h5", stack),
}
every_kind = pytest.mark.parametrize("kind", MAKERS)
both_modes = pytest.mark.parametrize("rules", [CORRECTED, ORIGINAL])


def read(volume: Volume) -> np.ndarray:
    return volume.read(Roi((0, 0, 0), volume.shape))


@pytest.mark.correction(6, "same")
@every_kind
@both_modes
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_kind_reads_the_same_voxels(kind: str, rules: Rules, dtype: type, tmp_path: Path) -> None:
    stack = ADDRESSES.astype(dtype) * dtype(1 if dtype is np.uint8 else 500)
    volume = open_volume(MAKERS[kind](tmp_path, stack), rules=rules)
    assert volume.shape == (3, 5, 7)
    assert volume.dtype == dtype
    assert volume.is_folder == (kind in ("png", "tif"))
    np.testing.assert_array_equal(read(volume), stack)
    np.testing.assert_array_equal(volume.read(Roi((1, 2, 3), (3, 4, 7))), stack[1:3, 2:4, 3:7])
    assert volume.read(Roi((1, 2, 3), (3, 4, 7))).dtype == dtype


def test_only_the_planes_of_the_roi_are_decoded(tmp_path: Path) -> None:
    folder = png_folder(tmp_path / "i", ADDRESSES)
    damage(folder / "img_0001.png")
    volume = open_volume(folder)
    np.testing.assert_array_equal(volume.read(Roi((1, 0, 0), (3, 5, 7))), ADDRESSES[1:])
    with pytest.raises(FormatError, match=r"img_0001.png"):
        read(volume)


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-20] ^= 0xFF
    path.write_bytes(bytes(data))


class TestBlackAndWhite:
    """Defect 6: an image stack whose first plane is black, white or only {0, max} is binarised."""

    FIRST_BLACK = np.stack([np.zeros((5, 7), np.uint8), *ADDRESSES[1:]])
    LATER_WHITE = np.stack([ADDRESSES[0], np.full((5, 7), 255, np.uint8)])

    @pytest.mark.correction(6, "exact")
    @every_kind
    def test_exact_mode_binarises_a_stack_that_begins_black(self, kind: str, tmp_path: Path) -> None:
        stack = read(open_volume(MAKERS[kind](tmp_path, self.FIRST_BLACK), rules=ORIGINAL))
        if kind == "h5":
            np.testing.assert_array_equal(stack, self.FIRST_BLACK)
        else:
            assert stack.dtype == bool
            np.testing.assert_array_equal(stack, self.FIRST_BLACK != 0)

    @pytest.mark.correction(6, "corrected")
    @every_kind
    def test_corrected_mode_reads_the_values(self, kind: str, tmp_path: Path) -> None:
        np.testing.assert_array_equal(read(open_volume(MAKERS[kind](tmp_path, self.FIRST_BLACK))), self.FIRST_BLACK)

    @pytest.mark.correction(6, "exact", "corrected")
    def test_a_later_white_plane_becomes_ones_in_exact_mode_only(self, tmp_path: Path) -> None:
        folder = png_folder(tmp_path / "i", self.LATER_WHITE)
        assert read(open_volume(folder, rules=ORIGINAL))[1].tolist() == np.ones((5, 7)).tolist()
        np.testing.assert_array_equal(read(open_volume(folder)), self.LATER_WHITE)

    def test_exact_mode_decides_by_the_area_that_it_reads_of_a_folder(self, tmp_path: Path) -> None:
        plane = np.uint8([[0, 255, 7], [255, 0, 9]])
        volume = open_volume(png_folder(tmp_path / "i", [plane]), rules=ORIGINAL)
        assert volume.read(Roi((0, 0, 0), (1, 2, 2))).tolist() == [[[False, True], [True, False]]]
        assert read(volume).tolist() == [plane.tolist()]

    def test_in_exact_mode_16_bit_planes_saturate_after_an_8_bit_one(self, tmp_path: Path) -> None:
        folder = png_folder(tmp_path / "i", [np.uint8([[1, 7]]), np.uint16([[300, 200]])])
        assert read(open_volume(folder, rules=ORIGINAL)).tolist() == [[[1, 7]], [[255, 200]]]
        with pytest.raises(InputError, match=r"img_0002.png holds uint16 values, .*img_0001.png uint8"):
            open_volume(folder)


class TestColour:
    """Defect 13: colour is an error in training and the red channel in prediction."""

    RGB = np.stack([ADDRESSES, ADDRESSES + 1, ADDRESSES + 2], -1)
    EQUAL = np.stack([ADDRESSES] * 3, -1)

    @pytest.mark.correction(13, "exact")
    def test_exact_mode_trains_on_gray_only(self, tmp_path: Path) -> None:
        for name, stack in (("rgb", self.RGB), ("equal", self.EQUAL)):
            volume = open_volume(png_folder(tmp_path / name, stack), rules=ORIGINAL, importer="imageimporter")
            with pytest.raises(InputError, match=r"img_0001.png is in colour"):
                read(volume)

    @pytest.mark.correction(13, "exact")
    def test_exact_mode_predicts_the_red_channel(self, tmp_path: Path) -> None:
        for path in (png_folder(tmp_path / "i", self.RGB), rgb_stack(tmp_path / "s.tif", self.RGB)):
            np.testing.assert_array_equal(read(open_volume(path, rules=ORIGINAL)), ADDRESSES)

    @pytest.mark.correction(13, "corrected")
    def test_corrected_mode_reads_equal_channels_as_gray(self, tmp_path: Path) -> None:
        for path in (png_folder(tmp_path / "i", self.EQUAL), rgb_stack(tmp_path / "s.tif", self.EQUAL)):
            np.testing.assert_array_equal(read(open_volume(path)), ADDRESSES)

    @pytest.mark.correction(13, "corrected")
    def test_corrected_mode_refuses_real_colour_when_the_volume_is_opened(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"img_0001.png is in colour .* Convert"):
            open_volume(png_folder(tmp_path / "i", self.RGB))

    @pytest.mark.correction(13, "same")
    @both_modes
    def test_alpha_is_dropped(self, rules: Rules, tmp_path: Path) -> None:
        folder = png_folder(tmp_path / "i", gray_and_alpha(ADDRESSES))
        np.testing.assert_array_equal(read(open_volume(folder, rules=rules)), ADDRESSES)

    def test_a_palette_is_index_red_channel_or_gray(self, tmp_path: Path) -> None:
        inverted = [c for k in range(256) for c in (255 - k, 255 - k, 255 - k)]
        folder = palette_folder(tmp_path / "i", ADDRESSES, inverted)
        np.testing.assert_array_equal(read(open_volume(folder, rules=ORIGINAL, importer="imageimporter")), ADDRESSES)
        np.testing.assert_array_equal(read(open_volume(folder, rules=ORIGINAL)), 255 - ADDRESSES)
        np.testing.assert_array_equal(read(open_volume(folder)), 255 - ADDRESSES)

    def test_16_bit_colour_is_refused_rather_than_halved(self, tmp_path: Path) -> None:
        folder = png_folder(tmp_path / "i", self.RGB[:1])
        path = folder / "img_0001.png"
        header = bytearray(path.read_bytes())
        header[24] = 16
        path.write_bytes(with_checksum(header))
        with pytest.raises(InputError, match="16-bit colour"):
            open_volume(folder)


def with_checksum(data: bytearray) -> bytes:
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def rgb_stack(path: Path, stack: np.ndarray) -> Path:
    tifffile.imwrite(path, stack, photometric="rgb")
    return path


class TestLabels:
    """Labels of {0, v} are 0 and 1; defect 7: more values are garbage."""

    TRUTH = synth(3, 5, 7, 3, "bool")

    @pytest.mark.correction(6, "corrected")
    @every_kind
    @pytest.mark.parametrize("value", [1, 7, 255])
    def test_two_values_are_zero_and_one(self, kind: str, value: int, tmp_path: Path) -> None:
        path = MAKERS[kind](tmp_path, self.TRUTH.astype(np.uint8) * np.uint8(value))
        volume = open_volume(path, role="label")
        assert volume.dtype == np.uint8
        np.testing.assert_array_equal(read(volume), self.TRUTH)

    def test_exact_mode_keeps_other_values_than_255(self, tmp_path: Path) -> None:
        path = png_folder(tmp_path / "l", self.TRUTH * np.uint8(7))
        np.testing.assert_array_equal(read(open_volume(path, rules=ORIGINAL, role="label")), self.TRUTH * 7)

    @pytest.mark.parametrize("rules", [CORRECTED, ORIGINAL])
    def test_planes_of_ones_and_planes_of_255_may_mix(self, rules: Rules, tmp_path: Path) -> None:
        planes = [self.TRUTH[0] * np.uint8(1), self.TRUTH[1] * np.uint8(255), self.TRUTH[2]]
        volume = open_volume(png_folder(tmp_path / "l", planes), rules=rules, role="label")
        np.testing.assert_array_equal(read(volume), self.TRUTH)

    def test_black_labels_are_background_and_white_ones_foreground(self, tmp_path: Path) -> None:
        planes = np.stack([np.zeros((5, 7), np.uint8), np.full((5, 7), 255, np.uint8)])
        assert read(open_volume(png_folder(tmp_path / "l", planes), role="label"))[:, 0, 0].tolist() == [0, 1]

    @pytest.mark.parametrize("colours", [[0, 0, 0, 255, 255, 255], [255, 255, 255, 0, 0, 0]])
    @pytest.mark.parametrize("rules", [CORRECTED, ORIGINAL])
    def test_two_colour_palettes_count_by_index(self, colours: list[int], rules: Rules, tmp_path: Path) -> None:
        folder = palette_folder(tmp_path / "l", self.TRUTH.astype(np.uint8), colours)
        volume = open_volume(folder, rules=rules, role="label", importer="imageimporter")
        np.testing.assert_array_equal(read(volume), self.TRUTH)

    @pytest.mark.correction(7, "corrected")
    @every_kind
    def test_more_values_are_listed(self, kind: str, tmp_path: Path) -> None:
        volume = open_volume(MAKERS[kind](tmp_path, ADDRESSES), role="label")
        with pytest.raises(
            InputError, match=r"105 values \(0, 1, 2, 3, 4, 5, 6, 7, \.\.\.\); expected 0 for background"
        ):
            read(volume)

    def test_values_that_differ_from_plane_to_plane_are_listed(self, tmp_path: Path) -> None:
        volume = open_volume(png_folder(tmp_path / "l", [np.uint8([[0, 3]]), np.uint8([[0, 5]])]), role="label")
        with pytest.raises(InputError, match=r"3 values \(0, 3, 5\)"):
            read(volume)

    def test_instance_labels_of_32_bits_are_judged_by_value(self, tmp_path: Path) -> None:
        path = tiff_stack(tmp_path / "l.tif", self.TRUTH.astype(np.uint32) * np.uint32(70000))
        np.testing.assert_array_equal(read(open_volume(path, role="label")), self.TRUTH)


class TestNames:
    """Defect 14: folder names with a dot or % fail; defect 12: HDF5 cannot be trained on."""

    @pytest.mark.correction(14, "exact", "corrected")
    @pytest.mark.parametrize("name", ["my.images", "90%"])
    def test_exact_mode_refuses_what_corrected_mode_reads(self, name: str, tmp_path: Path) -> None:
        folder = png_folder(tmp_path / name, ADDRESSES)
        with pytest.raises(InputError, match="the original"):
            open_volume(folder, rules=ORIGINAL)
        np.testing.assert_array_equal(read(open_volume(folder)), ADDRESSES)

    @pytest.mark.correction(14, "same")
    @both_modes
    def test_a_slash_makes_a_folder_of_a_name_with_a_dot(self, rules: Rules, tmp_path: Path) -> None:
        folder = f"{png_folder(tmp_path / 'my.images', ADDRESSES)}/"
        np.testing.assert_array_equal(read(open_volume(folder, rules=rules)), ADDRESSES)

    @pytest.mark.correction(14, "same")
    @both_modes
    def test_spaces_are_fine(self, rules: Rules, tmp_path: Path) -> None:
        folder = png_folder(tmp_path / "my images", ADDRESSES)
        np.testing.assert_array_equal(read(open_volume(folder, rules=rules)), ADDRESSES)

    @pytest.mark.correction(12, "exact", "corrected")
    def test_hdf5_is_read_for_training_in_corrected_mode_only(self, tmp_path: Path) -> None:
        path = hdf5_file(tmp_path / "i.h5", ADDRESSES)
        with pytest.raises(InputError, match="the original cannot train on HDF5"):
            open_volume(path, rules=ORIGINAL, importer="imageimporter")
        np.testing.assert_array_equal(read(open_volume(path, importer="imageimporter")), ADDRESSES)


class TestWrongInput:
    """Every mistake is one line that names the file."""

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(MissingFileError, match=r"no such file or folder: .*nope. Expected a folder"):
            open_volume(tmp_path / "nope")

    def test_of_a_kind_that_is_not_read(self, tmp_path: Path) -> None:
        (tmp_path / "volume.mrcx").touch()
        with pytest.raises(InputError, match=r"volume.mrcx is a .mrcx file; expected"):
            open_volume(tmp_path / "volume.mrcx")

    @pytest.mark.parametrize("make", [png_folder, tiff_folder])
    def test_planes_of_different_size(self, make: Callable[..., Path], tmp_path: Path) -> None:
        folder = make(tmp_path / "i", [ADDRESSES[0], ADDRESSES[1, :-1]])
        with pytest.raises(InputError, match=r"img_0002\.\w+ is 7 x 4 pixels, .*img_0001\.\w+ is 7 x 5"):
            open_volume(folder)
        volume = open_volume(folder, rules=ORIGINAL)
        assert volume.shape == (2, 5, 7)
        with pytest.raises(InputError, match=r"img_0002\.\w+ is 7 x 4 pixels"):
            read(volume)

    def test_pages_of_different_size(self, tmp_path: Path) -> None:
        with tifffile.TiffWriter(tmp_path / "s.tif") as file:
            file.write(ADDRESSES[0])
            file.write(ADDRESSES[1, :-1])
        with pytest.raises(InputError, match=r"page 2 of .*s.tif is 7 x 4 pixels, page 1 of"):
            open_volume(tmp_path / "s.tif")

    @every_kind
    @both_modes
    def test_truncated(self, kind: str, rules: Rules, tmp_path: Path) -> None:
        path = MAKERS[kind](tmp_path, synth(3, 50, 70))
        file = path / sorted(p.name for p in path.iterdir())[0] if path.is_dir() else path
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(FormatError, match=rf"{file.name} is no readable (PNG|TIFF|HDF5) file"):
            read(open_volume(path, rules=rules))

    @every_kind
    @both_modes
    @pytest.mark.parametrize("content", [b"", b"not an image at all, but more than thirty-three bytes of text"])
    def test_of_other_content(self, kind: str, rules: Rules, content: bytes, tmp_path: Path) -> None:
        path = MAKERS[kind](tmp_path, ADDRESSES)
        file = path / sorted(p.name for p in path.iterdir())[0] if path.is_dir() else path
        file.write_bytes(content)
        with pytest.raises(FormatError, match=rf"{file.name} is no readable (PNG|TIFF|HDF5) file"):
            read(open_volume(path, rules=rules))

    def test_floats_beyond_one(self, tmp_path: Path) -> None:
        volume = open_volume(tiff_folder(tmp_path / "i", [np.float32([[0.5, 200]])]))
        with pytest.raises(InputError, match=r"float32 values from 0.5 to 200.0; expected 8- or 16-bit"):
            read(volume)

    def test_negative_values(self, tmp_path: Path) -> None:
        volume = open_volume(tiff_folder(tmp_path / "i", [np.int16([[-1, 5]])]))
        with pytest.raises(InputError, match="int16 values from -1 to 5"):
            read(volume)


def test_floats_of_a_tiff_are_scaled_as_in_training(tmp_path: Path) -> None:
    folder = tiff_folder(tmp_path / "i", [np.float32([[0, 0.25, 1]])])
    assert read(open_volume(folder)).tolist() == [[[0, 16384, 65535]]]
    assert read(open_volume(folder, rules=ORIGINAL, importer="imageimporter")).tolist() == [[[0, 16384, 65535]]]
    assert read(open_volume(folder, rules=ORIGINAL)).dtype == np.uint8


def test_opening_a_folder_loads_neither_hdf5_nor_tiff(tmp_path: Path) -> None:
    png_folder(tmp_path / "i", ADDRESSES)
    code = (
        "import sys; from cdeep3m.volumes import open_volume; assert 'numpy' not in sys.modules; "
        f"open_volume({str(tmp_path / 'i')!r}); print({{'h5py', 'tifffile', 'torch'}} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


@every_kind
@both_modes
@pytest.mark.parametrize("limit", [1, 40, 70, 10**6])
def test_blocks_make_up_the_volume(limit: int, rules: Rules, kind: str, tmp_path: Path) -> None:
    stack = ADDRESSES.copy()
    stack[0] = 255 * (stack[0] % 2)
    volume = open_volume(MAKERS[kind](tmp_path, stack), rules=rules)
    expected, found = read(volume), np.full(stack.shape, 77, np.uint8)
    for roi, block in volume.blocks(limit):
        assert block.dtype == expected.dtype
        assert block.nbytes <= max(limit, 35)
        found[roi.slices] = block
    np.testing.assert_array_equal(found, expected)


@every_kind
@pytest.mark.parametrize("limit", [1, 70, 10**6])
def test_blocks_of_labels_are_0_and_1(limit: int, kind: str, tmp_path: Path) -> None:
    labels = (ADDRESSES % 3 == 1) * np.uint8([1, 255, 1]).reshape(3, 1, 1)
    volume = open_volume(MAKERS[kind](tmp_path, labels), role="label")
    for roi, block in volume.blocks(limit):
        np.testing.assert_array_equal(block, labels[roi.slices] != 0)
        assert block.dtype == np.uint8


@every_kind
@pytest.mark.parametrize("limit", [1, 70, 10**6])
@pytest.mark.parametrize("other", [np.s_[2, 4, 6], np.s_[0, 0, 0]])
def test_a_third_value_in_any_block_of_labels_is_an_error(other: tuple, limit: int, kind: str, tmp_path: Path) -> None:
    labels = (ADDRESSES % 3 == 1) * np.uint8(7)
    labels[other] = 9
    volume = open_volume(MAKERS[kind](tmp_path, labels), role="label")
    with pytest.raises(InputError, match=r"labels hold 3 values \(0, 7, 9\)"):
        list(volume.blocks(limit))


@every_kind
@pytest.mark.parametrize("limit", [1, 600, 10**6])
def test_blocks_of_segmentations_keep_their_numbers(limit: int, kind: str, tmp_path: Path) -> None:
    volume = open_volume(MAKERS[kind](tmp_path, ADDRESSES), role="segmentation")
    for roi, block in volume.blocks(limit):
        assert block.dtype == np.int64
        np.testing.assert_array_equal(block, ADDRESSES[roi.slices])
