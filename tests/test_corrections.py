"""Every correction has its tests: exact mode shows the defect, corrected mode is right, elsewhere both are the same.

The tests stand with what they test. A mark says which correction a test is about, and what it shows of it:

    @pytest.mark.correction(3, "exact", "corrected")

`pytest -m correction` runs them all.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

from cdeep3m.report.corrections import CORRECTIONS, CORRECTIONS2

TESTS = Path(__file__).parent
SHOWN = ("exact", "corrected", "same")
"""What a test may show: the original's behaviour, the right one, or identity where the defect does not arise."""


def marks(path: Path, name: str = "correction") -> list[tuple[int, tuple[str, ...]]]:
    """Return number and words of the correction marks on the tests of a module."""
    return [
        (number, tuple(words))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        for mark in node.decorator_list
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == f"pytest.mark.{name}"
        for number, *words in [[ast.literal_eval(argument) for argument in mark.args]]
    ]


ALL_MARKS = [mark for path in sorted(TESTS.rglob("test_*.py")) for mark in marks(path)]


MARKS2 = [mark for path in sorted(TESTS.rglob("test_*.py")) for mark in marks(path, "correction2")]


def shown(of: list[tuple[int, tuple[str, ...]]] = ALL_MARKS) -> dict[int, set[str]]:
    found: defaultdict[int, set[str]] = defaultdict(set)
    for number, words in of:
        found[number] |= set(words)
    return found


ALWAYS = 19
"""The correction of what never works in the original (Histmatch): there is no elsewhere."""


@pytest.mark.parametrize("number", [correction.number for correction in CORRECTIONS])
def test_a_correction_is_shown_in_both_modes_and_where_it_does_not_apply(number):
    assert shown()[number] == set(SHOWN) - ({"same"} if number == ALWAYS else set())


def test_marks_name_known_corrections_and_what_they_show():
    known = {correction.number for correction in CORRECTIONS}
    assert [mark for mark in ALL_MARKS if mark[0] not in known or not mark[1] or not set(mark[1]) <= set(SHOWN)] == []


def test_corrections_are_numbered_from_1_to_20():
    assert [correction.number for correction in CORRECTIONS] == list(range(1, 21))
    assert all(correction.defect.endswith(".") and correction.corrected.endswith(".") for correction in CORRECTIONS)


@pytest.mark.parametrize("number", [correction.number for correction in CORRECTIONS2])
def test_a_correction_of_the_second_edition_is_shown(number):
    assert "corrected" in shown(MARKS2)[number]


def test_marks_of_the_second_edition_name_its_32_corrections():
    assert [correction.number for correction in CORRECTIONS2] == list(range(1, 33))
    assert {number for number, _ in MARKS2} == set(range(1, 33))
    assert all(words and set(words) <= set(SHOWN) for _, words in MARKS2)
    assert all(each.defect.endswith(".") and each.corrected.endswith(".") for each in CORRECTIONS2)


def test_a_lost_test_is_noticed(tmp_path):
    path = tmp_path / "test_it.py"
    path.write_text('@pytest.mark.correction(7, "exact", "same")\ndef test_it():\n    pass\n')
    assert marks(path) == [(7, ("exact", "same"))]
    path.write_text('@pytest.mark.correction(7, "exact")\ndef it():\n    pass\n')
    assert marks(path) == []
