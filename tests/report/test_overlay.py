"""Colours of agreement, pixel by pixel; and volumes laid over each other."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cdeep3m.errors import InputError
from cdeep3m.report.overlay import FOUND, INVENTED, MISSED, compare, overlay_volumes
from octave_cases import png_folder, synth, tiff_stack

IMAGE = np.arange(100, 104, dtype=np.uint8)[None]
LABEL = np.array([[True, False, True, False]])
SEGMENTATION = np.array([[True, True, False, False]])


def test_full_strength_shows_the_colours_themselves():
    picture = compare(IMAGE, LABEL, SEGMENTATION, strength=1, outline=0)
    assert picture.tolist() == [[list(FOUND), list(INVENTED), list(MISSED), [103, 103, 103]]]
    assert picture.dtype == np.uint8


def test_no_strength_leaves_the_image():
    picture = compare(IMAGE, LABEL, SEGMENTATION, strength=0, outline=0)
    np.testing.assert_array_equal(picture, np.stack([IMAGE] * 3, -1))


@pytest.mark.parametrize("width", [1, 2])
def test_outline_is_white_and_inside_the_ground_truth(width):
    label = np.zeros((9, 9), bool)
    label[1:8, 1:8] = True
    white = (compare(np.full((9, 9), 50, np.uint8), label, label, outline=width) == 255).all(-1)
    expected = label.copy()
    expected[1 + width : 8 - width, 1 + width : 8 - width] = False
    np.testing.assert_array_equal(white, expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_planes_are_laid_over_each_other_in_order(tmp_path, dtype):
    raw, segmented = synth(3, 8, 9, 1), synth(3, 8, 9, 2)
    scale = 257 if dtype == "uint16" else 1
    count = overlay_volumes(
        png_folder(tmp_path / "raw", raw.astype(dtype) * np.array(scale, dtype)),
        tiff_stack(tmp_path / "maps.tif", segmented),
        tmp_path / "out",
    )
    assert count == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"Overlay_000{k}.png" for k in (1, 2, 3)]
    for z in range(3):
        picture = np.asarray(Image.open(tmp_path / "out" / f"Overlay_000{z + 1}.png"))
        np.testing.assert_array_equal(picture, np.rint(0.45 * segmented[z] + 0.55 * raw[z]).astype(np.uint8))


@pytest.mark.parametrize("last", [1, 2])
def test_labels_of_0_and_1_show_but_probabilities_as_low_as_that_do_not(tmp_path, last):
    raw, maps = synth(2, 8, 9, 1), synth(2, 8, 9, 2) & 1
    maps[-1, -1, -1] = last
    overlay_volumes(png_folder(tmp_path / "raw", raw), png_folder(tmp_path / "maps", maps), tmp_path / "out")
    picture = np.asarray(Image.open(tmp_path / "out" / "Overlay_0001.png"))
    white = 255 if last == 1 else 1
    np.testing.assert_array_equal(picture, np.rint(0.45 * white * maps[0] + 0.55 * raw[0]).astype(np.uint8))


def test_volumes_of_different_size_are_refused(tmp_path):
    raw, maps = png_folder(tmp_path / "raw", synth(1, 8, 9, 1)), png_folder(tmp_path / "maps", synth(2, 8, 9, 2))
    with pytest.raises(InputError, match=r"\(1, 8, 9\).*\(2, 8, 9\)"):
        overlay_volumes(raw, maps, tmp_path / "out")
