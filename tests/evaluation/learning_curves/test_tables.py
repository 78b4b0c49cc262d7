"""CSV files of learning curves: written, read, found, and refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from cdeep3m.errors import FormatError, InputError, MissingFileError
from cdeep3m.evaluation.learning_curves import Curves, Table, find_csvs, read_csv, write_csvs
from cdeep3m.evaluation.learning_curves.tables import KEYS

if TYPE_CHECKING:
    from pathlib import Path

TRAIN = Table((*KEYS, "loss"), ((0.0, 1.25, 0.01, 0.7), (3.0, 2.5, 1e-05, math.inf)))
TEST = Table((*KEYS, "accuracy", "loss"), ((3.0, 2.4, 0.01, 0.875, 0.6),))


def test_what_is_written_is_read(tmp_path: Path):
    files = write_csvs(Curves(TRAIN, TEST), tmp_path / "logs" / "out.log", tmp_path)
    assert [path.name for path in files] == ["out.log.train", "out.log.test"]
    assert [read_csv(path) for path in files] == [TRAIN, TEST]
    assert find_csvs(tmp_path) == tuple(files)


def test_a_training_without_tests_leaves_no_older_test_file(tmp_path: Path):
    write_csvs(Curves(TRAIN, TEST), tmp_path / "out.log", tmp_path)
    files = write_csvs(Curves(TRAIN, Table()), tmp_path / "out.log", tmp_path)
    assert sorted(tmp_path.iterdir()) == files
    assert find_csvs(tmp_path) == (files[0], None)


def test_columns_may_be_in_any_order_and_keys_but_the_first_missing(tmp_path: Path):
    path = tmp_path / "t.train"
    path.write_text("loss,NumIters\r\n0.5,3\r\n\r\n0.25, 6\r\n")
    table = read_csv(path)
    assert table.columns == (*KEYS, "loss")
    assert table.column("NumIters") == [3, 6]
    assert table.column("loss") == [0.5, 0.25]
    assert all(map(math.isnan, table.column("Seconds")))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "begins with nothing"),
        ("a,b\n1,2\n", "begins with a,b; expected NumIters"),
        ("NumIters,loss,loss\n1,2,3\n", "begins with NumIters,loss,loss"),
        ("NumIters,loss\n1\n", "row 1; expected 2 numbers"),
        ("NumIters,loss\n1,2,3\n", "row 1,2,3; expected 2 numbers"),
        ("NumIters,loss\n1,high\n", "row 1,high; expected 2 numbers"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path: Path, text, words):
    (tmp_path / "t.train").write_text(text)
    with pytest.raises(FormatError, match=words):
        read_csv(tmp_path / "t.train")


def test_missing_files_and_folders_of_several_trainings_are_refused(tmp_path: Path):
    with pytest.raises(MissingFileError, match="no such file"):
        read_csv(tmp_path / "nope.train")
    with pytest.raises(MissingFileError, match="runvalidation.sh"):
        find_csvs(tmp_path)
    for name in ("a.train", "b.train"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="2 trainings"):
        find_csvs(tmp_path)
