"""Images that are not like those that a model was trained on are refused, or said."""

from __future__ import annotations

import numpy as np
import pytest

from cdeep3m.errors import InputError
from cdeep3m.runs.gray_range import NOTE, GrayRange, check_range, read_range, write_range

EIGHT = GrayRange(type="uint8", low=0, high=250)
SIXTEEN = GrayRange(type="uint16", low=100, high=60000)


def test_a_note_is_read_as_it_was_written(tmp_path):
    found = GrayRange.of(np.uint16([[3, 900]]), source="abc")
    write_range(tmp_path, found)
    assert read_range(tmp_path) == found == GrayRange(type="uint16", low=3, high=900, source="abc")


@pytest.mark.parametrize("text", ["", "[" * 100_000, "{}", '{"type": 1, "low": "x", "high": 2}', '{"low": NaN}'])
def test_a_note_that_makes_no_sense_is_none(tmp_path, text):
    (tmp_path / NOTE).write_text(text)
    assert read_range(tmp_path) is None


@pytest.mark.parametrize(("found", "trained"), [(SIXTEEN, EIGHT), (EIGHT, SIXTEEN)])
def test_sixteen_bits_and_eight_do_not_go_together(found, trained, caplog):
    with pytest.raises(InputError, match="hold uint.* the model was trained on uint"):
        check_range(found, trained, images="images")
    check_range(found, trained, images="images", refuse=False)
    assert "mean little" in caplog.text


def test_a_model_that_says_nothing_gets_a_warning_with_sixteen_bits(caplog):
    check_range(EIGHT, None, images="images")
    assert not caplog.text
    check_range(SIXTEEN, None, images="images")
    assert "far brighter" in caplog.text


def test_eight_bits_in_a_file_of_sixteen_are_eight_bits(caplog):
    check_range(GrayRange(type="uint16", low=0, high=240), EIGHT, images="images")
    assert not caplog.text


def test_far_darker_images_are_said(caplog):
    check_range(GrayRange(type="uint16", low=0, high=4095), SIXTEEN, images="images")
    assert "mean little" in caplog.text
