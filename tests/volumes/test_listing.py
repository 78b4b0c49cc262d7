"""Which files are planes, and in which order."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from cdeep3m.errors import InputError
from cdeep3m.rules import CORRECTED, ORIGINAL, Rules
from cdeep3m.volumes.listing import image_files

if TYPE_CHECKING:
    from pathlib import Path

UNPADDED = ["img10.png", "img2.png", "img1.png"]


def touch(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).touch()
    return folder


def listed(folder: Path, *, rules: Rules = CORRECTED) -> list[str]:
    return [path.name for path in image_files(folder, rules=rules)]


@pytest.mark.correction(18, "exact")
def test_exact_mode_keeps_the_bytewise_order(tmp_path: Path) -> None:
    touch(tmp_path, ["img1.png", "img10.png", "Img3.png", "img2.png", "a.png"])
    assert listed(tmp_path, rules=ORIGINAL) == ["Img3.png", "a.png", "img1.png", "img10.png", "img2.png"]


@pytest.mark.correction(18, "corrected")
def test_unpadded_numbers_are_read_in_natural_order_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, UNPADDED)
    assert listed(tmp_path) == ["img1.png", "img2.png", "img10.png"]
    assert "natural order (img2.png before img10.png)" in caplog.text


@pytest.mark.correction(18, "same")
@pytest.mark.parametrize(
    "names",
    [["img01.png", "img02.png", "img10.png"], ["img.png", "img1.png", "img_.png"], ["a7.png", "b6.png"]],
)
def test_where_both_orders_agree_there_is_no_warning(
    names: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, names)
    with caplog.at_level(logging.WARNING):
        assert listed(tmp_path) == listed(tmp_path, rules=ORIGINAL) == names
    assert not caplog.text


def test_only_visible_files_of_known_kinds_count_and_case_does_not(tmp_path: Path) -> None:
    touch(tmp_path, ["a.PNG", "b.png", ".c.png", "d.txt", "e.tif"])
    (tmp_path / "f.png").mkdir()
    assert listed(tmp_path) == ["a.PNG", "b.png"]


def test_as_many_tif_as_png_means_tif(tmp_path: Path) -> None:
    touch(tmp_path, ["a.png", "b.tif"])
    assert listed(tmp_path) == listed(tmp_path, rules=ORIGINAL) == ["b.tif"]


def test_tiff_counts_only_where_there_is_nothing_else(tmp_path: Path) -> None:
    touch(tmp_path, ["a.tiff", "b.tiff"])
    with pytest.raises(InputError, match="no images"):
        listed(tmp_path, rules=ORIGINAL)
    assert listed(tmp_path) == ["a.tiff", "b.tiff"]
    touch(tmp_path, ["c.png"])
    assert listed(tmp_path) == ["c.png"]


def test_a_folder_without_images_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    touch(tmp_path, ["notes.txt"])
    with pytest.raises(InputError, match=r"no images in .*: 1 files, none of them .png or .tif. Convert"):
        listed(tmp_path)
