"""Which files are planes, and in which order."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest

from cdeep3m.errors import InputError, MissingFileError
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


def test_tif_and_tiff_are_one_kind_but_not_in_exact_mode(tmp_path: Path) -> None:
    touch(tmp_path, ["a.tiff", "b.tiff"])
    with pytest.raises(InputError, match=r"no images .*a\.tiff"):
        listed(tmp_path, rules=ORIGINAL)
    assert listed(tmp_path) == ["a.tiff", "b.tiff"]
    touch(tmp_path, ["c.TIF"])
    assert listed(tmp_path) == ["a.tiff", "b.tiff", "c.TIF"]


@pytest.mark.parametrize(
    ("names", "left_out"),
    [
        (["s1.png", "s2.png", "s3.png", "s4.tif"], "s4.tif is left out"),
        (["s1.png", "s2.png", "s3.jpg"], "s3.jpg is left out"),
        (["s1.png", "s2.png", "s3.png.part", "s4.PNG.gz"], "s3.png.part, s4.PNG.gz are left out"),
    ],
)
@pytest.mark.parametrize("rules", [CORRECTED, ORIGINAL])
def test_images_that_are_left_out_are_named(tmp_path: Path, caplog, names, left_out, rules) -> None:
    listed(touch(tmp_path, names), rules=rules)
    assert left_out in caplog.text


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    touch(tmp_path, ["s1.png"])
    (tmp_path / "s2.png").symlink_to("elsewhere/s2.png")
    with pytest.raises(MissingFileError, match=r"s2\.png is a link to elsewhere/s2\.png"):
        listed(tmp_path)


def test_a_pipe_among_the_images_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    touch(tmp_path, ["s1.png"])
    os.mkfifo(tmp_path / "s2.png")
    with pytest.raises(InputError, match=r"s2\.png is a pipe"):
        listed(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ["s1.png", "s1 (copy).png"],
        ["s1.png", "s1 (1).png"],
        ["s1.tif", "s1.tiff"],
        ["s1.png", "s01.png"],
        ["a.png", "A copy.png", "a copy 2.png"],
        ["s1.png", "Copy of s1.png"],
    ],
)
def test_two_files_for_one_plane_are_refused(tmp_path: Path, names) -> None:
    with pytest.raises(InputError, match="two files for one plane"):
        listed(touch(tmp_path, names))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([f"s{n}.png" for n in (1, 2, 4, 5)], "no file has the number 3"),
        ([f"s{n:03d}_ch{c}.png" for n in range(3) for c in range(2)], "2 series, such as channels"),
        ([f"{c}_{n}.png" for n in range(3) for c in ("gray", "mask")], "those of 2 series"),
        (["s1.png", "s2.png", "s3.png", "overview.png"], "overview.png is named unlike the others"),
    ],
)
def test_what_does_not_look_like_one_volume_is_said(tmp_path: Path, caplog, names, words) -> None:
    assert sorted(listed(touch(tmp_path, names))) == sorted(names)
    assert words in caplog.text


@pytest.mark.parametrize(
    "names",
    [
        ["z-1.5.png", "z-0.5.png", "z0.5.png", "z1.25.png"],
        ["z_-10.png", "z_-9.png", "z_0.png", "z_11.png"],
        ["-2.png", "-1.png", "0.png", "+1.png"],
        ["z0.5.png", "z1.25.png", "z1.5.png", "z10.0.png"],
        ["s003_z\u22122um.png", "s003_z1um.png"],
        ["s-1.png", "s-2.png", "s-10.png"],
    ],
)
def test_positions_with_sign_and_fraction_are_numbers(tmp_path: Path, names) -> None:
    assert listed(touch(tmp_path, names)) == names


def test_a_folder_without_images_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    touch(tmp_path, ["notes.txt"])
    with pytest.raises(InputError, match=r"no images in .*: 1 files, none of them .png or .tif. Convert"):
        listed(tmp_path)
