"""What training data is made of images and labels, in exact and in corrected mode."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from cdeep3m.matlab_ports.check_training_data import fill_to_smallest_side

from cdeep3m.errors import InputError
from cdeep3m.rules import CORRECTED, ORIGINAL, Rules
from cdeep3m.tiling.variants import VARIANTS
from cdeep3m.training import data as training_data
from cdeep3m.training.data import (
    load_labelled_volume,
    training_variants,
    write_training_stacks,
    write_validation_stack,
)
from cdeep3m.volumes import mapped
from cdeep3m.volumes.hdf5 import read_dataset, write_datasets
from octave_cases import hdf5_file, png_folder, synth, tiff_stack

DATA = synth(2, 330, 340)
LABEL = synth(2, 330, 340, 1, "bool").astype(np.uint8)


def folders(w: Path, data: np.ndarray = DATA, label: np.ndarray = LABEL) -> tuple[Path, Path]:
    return png_folder(w / "i", data), png_folder(w / "l", label)


@pytest.mark.parametrize("rules", [CORRECTED, ORIGINAL])
@pytest.mark.parametrize(("y", "x"), [(325, 326), (100, 90), (100, 400), (400, 90)])
def test_short_sides_are_filled_with_zeros_to_325(rules: Rules, y: int, x: int, tmp_path: Path) -> None:
    images, labels = synth(2, y, x), synth(2, y, x, 1, "bool").astype(np.uint8)
    for stack, read in zip(
        (images, labels), load_labelled_volume(*folders(tmp_path, images, labels), rules=rules), strict=True
    ):
        assert read.shape == (2, max(y, 325), max(x, 325))
        np.testing.assert_array_equal(read[:, :y, :x], stack)
        assert np.count_nonzero(read) == np.count_nonzero(stack)


class TestLabelsOfManyValues:
    """Defect 7: a prompt, then garbage."""

    LABEL = LABEL + synth(2, 330, 340, 2, "bool")

    @pytest.mark.correction(7, "exact")
    def test_exact_mode_asks_and_keeps_the_values(self, tmp_path: Path) -> None:
        asked: list[str] = []
        _, label = load_labelled_volume(*folders(tmp_path, label=self.LABEL), rules=ORIGINAL, confirm=asked.append)
        assert len(asked) == 1
        assert "more than 2 values" in asked[0]
        np.testing.assert_array_equal(label, self.LABEL)

    @pytest.mark.correction(7, "exact")
    def test_exact_mode_stops_where_nobody_answers(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="more than 2 values"):
            load_labelled_volume(*folders(tmp_path, label=self.LABEL), rules=ORIGINAL)

    @pytest.mark.correction(7, "exact")
    def test_exact_mode_counts_the_values_of_all_planes_together(self, tmp_path: Path) -> None:
        one_a_plane = LABEL * np.uint8([1, 2])[:, np.newaxis, np.newaxis]
        with pytest.raises(InputError, match="more than 2 values"):
            load_labelled_volume(*folders(tmp_path, label=one_a_plane), rules=ORIGINAL)

    @pytest.mark.correction(7, "corrected")
    def test_corrected_mode_lists_the_values(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"l: labels hold 3 values \(0, 1, 2\); .* Threshold them"):
            load_labelled_volume(*folders(tmp_path, label=self.LABEL))

    @pytest.mark.correction(7, "same")
    def test_labels_of_two_values_are_the_same_in_both_modes(self, tmp_path: Path) -> None:
        paths = folders(tmp_path)
        for exact, corrected in zip(
            load_labelled_volume(*paths, rules=ORIGINAL), load_labelled_volume(*paths), strict=True
        ):
            assert exact.dtype == corrected.dtype
            np.testing.assert_array_equal(exact, corrected)


class TestImagesOfFewValues:
    """Defect 8: a prompt for images of fewer than three values; defect 6 makes two of many."""

    IMAGES = LABEL * np.uint8(255)

    @pytest.mark.correction(8, "exact")
    def test_exact_mode_asks_and_binarises(self, tmp_path: Path) -> None:
        asked: list[str] = []
        data, _ = load_labelled_volume(*folders(tmp_path, self.IMAGES), rules=ORIGINAL, confirm=asked.append)
        assert len(asked) == 1
        assert "fewer than 3 values" in asked[0]
        assert data.dtype == bool

    @pytest.mark.correction(8, "corrected")
    def test_corrected_mode_warns_and_keeps_the_values(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        data, _ = load_labelled_volume(*folders(tmp_path, self.IMAGES))
        assert "2 different values only" in caplog.text
        np.testing.assert_array_equal(data, self.IMAGES)

    @pytest.mark.correction(8, "same")
    def test_three_values_are_enough_in_both_modes(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        paths = folders(tmp_path, self.IMAGES // np.uint8(2) + synth(2, 330, 340, 5, "bool"))
        np.testing.assert_array_equal(load_labelled_volume(*paths)[0], load_labelled_volume(*paths, rules=ORIGINAL)[0])
        assert not caplog.text


class TestSizes:
    """Defect 15: images and labels of different size pass where both are below 325."""

    @pytest.fixture
    def small(self, tmp_path: Path) -> tuple[Path, Path]:
        return folders(tmp_path, DATA[:, :200, :300], LABEL[:, :210, :310])

    @pytest.mark.correction(15, "exact")
    def test_exact_mode_fills_both_to_one_size(self, small: tuple[Path, Path]) -> None:
        assert [stack.shape for stack in load_labelled_volume(*small, rules=ORIGINAL)] == [(2, 325, 325)] * 2

    @pytest.mark.correction(15, "corrected")
    def test_corrected_mode_tells_both_sizes(self, small: tuple[Path, Path]) -> None:
        with pytest.raises(InputError, match=r"the images are 300 x 200 x 2 voxels .*, the labels 310 x 210 x 2"):
            load_labelled_volume(*small)

    @pytest.mark.correction(15, "same")
    @pytest.mark.parametrize("rules", [CORRECTED, ORIGINAL])
    @pytest.mark.parametrize("part", [np.s_[:, :-1], np.s_[:, :, :-1], np.s_[:-1]])
    def test_other_differences_are_errors_in_both_modes(self, rules: Rules, part: tuple, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="expected the same size"):
            load_labelled_volume(*folders(tmp_path, label=LABEL[part]), rules=rules)

    def test_exact_validation_does_not_compare(self, tmp_path: Path) -> None:
        data, label = load_labelled_volume(*folders(tmp_path, label=LABEL[:, :-1]), rules=ORIGINAL, same_size=False)
        assert (data.shape, label.shape) == ((2, 330, 340), (2, 329, 340))


@pytest.mark.correction(12, "exact", "corrected")
def test_hdf5_trains_in_corrected_mode_only(tmp_path: Path) -> None:
    paths = hdf5_file(tmp_path / "i.h5", DATA), hdf5_file(tmp_path / "l.h5", LABEL)
    with pytest.raises(InputError, match="HDF5"):
        load_labelled_volume(*paths, rules=ORIGINAL)
    for read, stack in zip(load_labelled_volume(*paths), (DATA, LABEL), strict=True):
        np.testing.assert_array_equal(read, stack)


@pytest.mark.correction(12, "same")
def test_tiff_stacks_train_alike_in_both_modes(tmp_path: Path) -> None:
    paths = tiff_stack(tmp_path / "i.tif", DATA), tiff_stack(tmp_path / "l.tif", LABEL)
    for exact, corrected, stack in zip(
        load_labelled_volume(*paths, rules=ORIGINAL), load_labelled_volume(*paths), (DATA, LABEL), strict=True
    ):
        np.testing.assert_array_equal(exact, stack)
        np.testing.assert_array_equal(corrected, stack)


def test_the_variants_are_views_in_caffes_axes() -> None:
    variants = training_variants(DATA, LABEL)
    assert len(variants) == 16
    for variant, volume in zip(VARIANTS, variants, strict=True):
        assert np.shares_memory(volume.data, DATA)
        assert np.shares_memory(volume.label, LABEL)
        np.testing.assert_array_equal(volume.data, variant.apply(DATA).transpose(2, 1, 0))
        np.testing.assert_array_equal(volume.label, variant.apply(LABEL).transpose(2, 1, 0))


def test_written_stacks_are_the_variants(tmp_path: Path) -> None:
    files = write_training_stacks(tmp_path / "deep" / "out", DATA[:, :5, :7], LABEL[:, :5, :7])
    assert [file.name for file in files] == [f"training_full_stacks_v{i}.h5" for i in range(1, 17)]
    for file, volume in zip(files, training_variants(DATA[:, :5, :7], LABEL[:, :5, :7]), strict=True):
        for name, array in (("data", volume.data), ("label", volume.label)):
            assert read_dataset(file, name).dtype == np.float32
            np.testing.assert_array_equal(read_dataset(file, name), array)


def test_the_validation_stack_is_variant_1(tmp_path: Path) -> None:
    file = write_validation_stack(tmp_path, DATA[:, :5, :7], LABEL[:, :5, :7])
    assert file == tmp_path / "validation_stack_v1.h5"
    np.testing.assert_array_equal(read_dataset(file, "label"), LABEL[:, :5, :7].transpose(2, 1, 0))


class TestOverwriting:
    """Defect 11: writing over an existing h5 keeps the old shape."""

    @pytest.mark.correction(11, "exact")
    def test_exact_mode_keeps_the_old_shape(self, tmp_path: Path) -> None:
        write_validation_stack(tmp_path, DATA[:, :5, :7], LABEL[:, :5, :7], rules=ORIGINAL)
        file = write_validation_stack(tmp_path, DATA[:, :4, :9], LABEL[:, :4, :9], rules=ORIGINAL)
        data = read_dataset(file, "data")
        assert data.shape == (7, 5, 2)
        np.testing.assert_array_equal(data[:, :4], DATA[:, :4, :7].transpose(2, 1, 0))

    @pytest.mark.correction(11, "corrected", "same")
    @pytest.mark.parametrize("rules", [CORRECTED, ORIGINAL])
    def test_corrected_mode_replaces_and_the_same_shape_is_no_matter(self, rules: Rules, tmp_path: Path) -> None:
        before = DATA[:, 1:6, :7] if rules is ORIGINAL else DATA[:, :4, :9]
        write_validation_stack(tmp_path, before, before, rules=rules)
        file = write_validation_stack(tmp_path, DATA[:, :5, :7], LABEL[:, :5, :7], rules=rules)
        np.testing.assert_array_equal(read_dataset(file, "data"), DATA[:, :5, :7].transpose(2, 1, 0))


@pytest.mark.parametrize("existing", [False, True])
def test_a_disk_that_fills_up_leaves_nothing_new(
    existing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    if existing:
        write_training_stacks(out, DATA[:, :5, :7], LABEL[:, :5, :7])
    before = {path.name: path.read_bytes() for path in out.iterdir()} if existing else None
    written: list[Path] = []
    failed: list[str] = []

    def fills_up(path: Path, arrays: dict, **options: object) -> None:
        if len(written) >= 9:
            failed.append(re.sub(r"^\.(.*)\.partial-\d+", r"\1", path.name))
            raise OSError(28, "No space left on device")
        written.append(path)
        write_datasets(path, arrays)

    monkeypatch.setattr(training_data, "fill_datasets", fills_up)
    with pytest.raises(OSError, match=r"No space left on device: .*/training_full_stacks_v\d+.h5'$") as error:
        write_training_stacks(out, DATA[:, 5:9, :7], LABEL[:, 5:9, :7])
    assert Path(error.value.filename).name in failed
    assert (out.exists() and {path.name: path.read_bytes() for path in out.iterdir()} or None) == before


@pytest.mark.parametrize("rules", [CORRECTED, ORIGINAL])
@pytest.mark.parametrize("shape", [(7, 330, 340), (7, 30, 400)])
def test_a_volume_in_files_is_the_same_as_one_in_memory(
    shape: tuple[int, int, int], rules: Rules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, label = synth(*shape), synth(*shape, 1, "bool").astype(np.uint8)
    paths = folders(tmp_path, stack, label)
    expected = write_training_stacks(
        tmp_path / "plain", fill_to_smallest_side(stack), fill_to_smallest_side(label), rules=rules
    )
    monkeypatch.setattr(mapped, "IN_MEMORY", 0)
    monkeypatch.setattr(training_data, "BLOCK_BYTES", 3 * shape[1] * shape[2])
    out = tmp_path / "deep" / "out"
    data, label = load_labelled_volume(*paths, rules=rules, scratch=out)
    for array, plain in ((data, stack), (label, label)):
        np.testing.assert_array_equal(array[:, : plain.shape[1], : plain.shape[2]], plain)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["i", "l", "plain"]
    for file, plain in zip(write_training_stacks(out, data, label, rules=rules), expected, strict=True):
        assert file.read_bytes() == plain.read_bytes()


def test_hdf5_volumes_are_read_in_parts_along_x(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = hdf5_file(tmp_path / "i.h5", DATA), hdf5_file(tmp_path / "l.h5", LABEL)
    monkeypatch.setattr(training_data, "BLOCK_BYTES", 100_000)
    for read, stack in zip(load_labelled_volume(*paths, scratch=tmp_path), (DATA, LABEL), strict=True):
        np.testing.assert_array_equal(read, stack)
        assert read.strides == (1, 2, 2 * 330)
