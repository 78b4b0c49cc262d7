"""Tables of a training, and the CSV files of Caffe's tools/extra/parse_log.py: `<log>.train` and `<log>.test`."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.errors import FormatError, InputError, MissingFileError
from cdeep3m.system.files import write_text

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

ITERATION, SECONDS, RATE = "NumIters", "Seconds", "LearningRate"
KEYS = (ITERATION, SECONDS, RATE)
TRAIN, TEST = ".train", ".test"
"""What the names of the files end with."""
NAN = float("nan")


@dataclass(frozen=True)
class Table:
    """Rows of numbers under named columns.

    Attributes
    ----------
    columns : tuple of str
        NumIters, Seconds, LearningRate, then the outputs of the net.
    rows : tuple of tuple of float
        By rising iteration; as long as `columns`.
    """

    columns: tuple[str, ...] = KEYS
    rows: tuple[tuple[float, ...], ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the net's outputs."""
        return self.columns[len(KEYS) :]

    def column(self, name: str) -> list[float]:
        """Return the values of a column."""
        at = self.columns.index(name)
        return [row[at] for row in self.rows]


@dataclass(frozen=True)
class Curves:
    """What a training's log tells.

    Attributes
    ----------
    train, test : Table
        Rows of the training itself, and of the tests during it; either may be empty.
    """

    train: Table
    test: Table


def write_csvs(curves: Curves, log: Path, out: Path) -> list[Path]:
    """Write `<log>.train` and `<log>.test` to a folder, those that have rows; an older one of the other is removed.

    Parameters
    ----------
    curves : Curves
    log : Path
        Gives the files their names.
    out : Path
        The folder, which exists.

    Returns
    -------
    list of Path
        The files written.
    """
    files = {out / f"{log.name}{TRAIN}": curves.train, out / f"{log.name}{TEST}": curves.test}
    for path, table in files.items():
        if table.rows:
            write_text(path, to_csv(table))
        else:
            path.unlink(missing_ok=True)
    return [path for path, table in files.items() if table.rows]


def to_csv(table: Table) -> str:
    r"""Return a table as CSV, numbers as Python writes them.

    Examples
    --------
    >>> to_csv(Table((*KEYS, "loss"), ((0.0, 2.5, 0.01, 0.67),)))
    'NumIters,Seconds,LearningRate,loss\n0.0,2.5,0.01,0.67\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.columns, *table.rows])
    return text.getvalue()


def read_csv(path: str | os.PathLike[str]) -> Table:
    """Read a table; its columns may be in any order, and Seconds and LearningRate may be missing.

    Raises
    ------
    MissingFileError
        When there is no such file.
    FormatError
        When it is no such table.
    """
    if not Path(path).is_file():
        raise MissingFileError(f"no such file: {path}. Expected what runvalidation.sh writes, such as out.log{TRAIN}")
    with Path(path).open(encoding="utf-8", errors="replace", newline="") as file:
        names, *rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row] or [[]]
    if ITERATION not in names or len(set(names)) < len(names):
        found = ",".join(names)[:80] or "nothing"
        raise FormatError(f"{path} begins with {found}; expected {','.join(KEYS)} and outputs. Make it again")
    columns = (*KEYS, *(name for name in names if name not in KEYS))
    return Table(columns, tuple(_numbers(path, names, row, columns) for row in rows))


def find_csvs(folder: str | os.PathLike[str]) -> tuple[Path, Path | None]:
    """Return the `.train` file of a folder, and the `.test` file beside it if there is one.

    Raises
    ------
    MissingFileError
        When there is no such folder, or no `.train` file in it.
    InputError
        When there are several.
    """
    found = sorted(Path(folder).glob(f"*{TRAIN}"))
    if not found:
        raise MissingFileError(f"no file *{TRAIN} in {folder}. Make it with runvalidation.sh LOG {folder}")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(f"{folder} holds {len(found)} trainings ({names}); expected one. Name TRAIN.csv and TEST.csv")
    test = found[0].with_suffix(TEST)
    return found[0], test if test.is_file() else None


def _numbers(
    path: str | os.PathLike[str], names: Sequence[str], row: Sequence[str], columns: Sequence[str]
) -> tuple[float, ...]:
    """Return the numbers of a row in the order of `columns`; nan for columns that the file has not."""
    try:
        numbers = dict(zip(names, map(float, row), strict=True))
    except ValueError:
        raise FormatError(
            f"{path} holds the row {','.join(row)[:80]}; expected {len(names)} numbers. Make it again"
        ) from None
    return tuple(numbers.get(name, NAN) for name in columns)
