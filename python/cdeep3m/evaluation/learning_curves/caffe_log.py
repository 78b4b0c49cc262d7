"""From the log of `caffe train` to tables, as Caffe's tools/extra/parse_log.py makes them.

Of several outputs with one name (the recalls of class_Acc) the last one counts, as there. Deviations: a row has the
learning rate of its own iteration, where parse_log.py gives it that of the row before; losses that are nan or infinite
are kept; and a log to which several runs were appended makes one curve.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.errors import FormatError, MissingFileError
from cdeep3m.evaluation.learning_curves.tables import KEYS, NAN, Curves, Table

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

LOG = "out.log"

# I1122 17:47:32.295583  5892 solver.cpp:237] Iteration 0, loss = 0.676821      with or without the year
LINE = re.compile(r"[IWEF](\d{4})?(\d{4}) ([\d:]{8}\.\d{6}) +\d+ [^ \]]+\] *(.*)")
RUN = re.compile(r"Solving\b")
ITERATION = re.compile(r"Iteration (\d+)\b")
RATE = re.compile(r"Iteration (\d+), lr = (\S+)")
OUTPUT = re.compile(r"(Train|Test) net output #\d+: (\S+) = (\S+)")
LEAP_DAY = "0229"


def read_log(path: str | os.PathLike[str]) -> Curves:
    """Read a log file; or `out.log` in a folder.

    Raises
    ------
    MissingFileError
        When there is none.
    FormatError
        When it holds no rows of a training.
    """
    log = find_log(path)
    year = datetime.fromtimestamp(log.stat().st_mtime).year
    with log.open(encoding="utf-8", errors="replace") as lines:
        curves = parse_log(lines, year=year)
    if not curves.train.rows and not curves.test.rows:
        raise FormatError(
            f"{log} holds no output of a training (Train net output #0: ...); expected the log of caffe train, such as "
            "1fm/log/out.log. Choose another one, or train first"
        )
    return curves


def find_log(path: str | os.PathLike[str]) -> Path:
    """Return the log file that `path` means: itself, or `out.log` in a folder.

    Raises
    ------
    MissingFileError
        When there is none.
    """
    log = Path(path) / LOG if Path(path).is_dir() else Path(path)
    if not log.is_file():
        raise MissingFileError(f"no such log: {log}. Expected what caffetrain.sh writes, such as 1fm/log/{LOG}")
    return log


def parse_log(lines: Iterable[str], *, year: int) -> Curves:
    """Read the log of `caffe train`, as glog writes it; other lines in it do not matter.

    A log may hold several runs. Where one goes on from a snapshot, its rows replace those that an earlier run wrote
    from that iteration on, and Seconds go on from the last row that stays: neither lost work nor the time between runs
    counts.

    Parameters
    ----------
    lines : iterable of str
    year : int
        Of the log, as most lines have only month and day.

    Returns
    -------
    Curves

    Examples
    --------
    >>> curves = parse_log([
    ...     "I1122 17:47:32.000000  5892 solver.cpp:288] Solving net",
    ...     "I1122 17:47:34.500000  5892 solver.cpp:237] Iteration 0, loss = 0.7",
    ...     "I1122 17:47:34.500000  5892 solver.cpp:253]     Train net output #0: loss = 0.67 (* 1 = 0.67 loss)",
    ...     "I1122 17:47:34.600000  5892 sgd_solver.cpp:106] Iteration 0, lr = 0.01",
    ... ], year=2020)
    >>> curves.train
    Table(columns=('NumIters', 'Seconds', 'LearningRate', 'loss'), rows=((0.0, 2.5, 0.01, 0.67),))
    """
    matches = [match for line in lines if (match := LINE.match(line))]
    if any(match[2] == LEAP_DAY for match in matches):
        year -= year % 4
    log = _Log()
    for match in matches:
        if time := _time(match[1] or str(year), match[2], match[3]):
            log.add(time, match[4])
    rates = _Rates(log.rates)
    return Curves(_table(log.rows["Train"], rates), _table(log.rows["Test"], rates))


@dataclass
class _Row:
    iteration: float
    elapsed: timedelta
    outputs: dict[str, float]


class _Log:
    """What was read so far: a row an iteration and kind, the rates, and how long the training took."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[int, _Row]] = {"Train": {}, "Test": {}}
        self.rates: dict[int, float] = {}
        self._iteration: int | None = None
        self._elapsed = timedelta()
        self._last: datetime | None = None

    def add(self, time: datetime, text: str) -> None:
        if RUN.match(text):
            self._iteration, self._elapsed, self._last = None, timedelta(), time
            return
        self._advance(time)
        if iteration := ITERATION.match(text):
            self._reach(int(iteration[1]))
        if rate := RATE.match(text):
            self.rates[int(rate[1])] = _number(rate[2])
        if (output := OUTPUT.match(text)) and self._iteration is not None:
            self._put(output[1], self._iteration, output[2], _number(output[3]))

    def _advance(self, time: datetime) -> None:
        if self._last is not None:
            self._elapsed += max(timedelta(), _between(self._last, time))
        self._last = time

    def _reach(self, iteration: int) -> None:
        """Note the iteration; where it is the first one of a run, forget what an earlier run did from there on."""
        if self._iteration is None:
            for kind, rows in self.rows.items():
                self.rows[kind] = {number: row for number, row in rows.items() if number < iteration}
            kept = (row.elapsed for rows in self.rows.values() for row in rows.values())
            self._elapsed += max(kept, default=timedelta())
        self._iteration = iteration

    def _put(self, kind: str, iteration: int, name: str, value: float) -> None:
        row = self.rows[kind].setdefault(iteration, _Row(float(iteration), self._elapsed, {}))
        row.outputs[name] = value


class _Rates:
    """Learning rates by iteration, of which a log has only some."""

    def __init__(self, rates: dict[int, float]) -> None:
        self._iterations = sorted(rates)
        self._rates = [rates[iteration] for iteration in self._iterations]

    def at(self, iteration: float) -> float:
        """Return the rate of an iteration; of the last one before that has any, or else of the first one."""
        if not self._rates:
            return NAN
        return self._rates[max(0, bisect_right(self._iterations, iteration) - 1)]


def _table(rows: dict[int, _Row], rates: _Rates) -> Table:
    """Make a table of the rows that have all outputs; a log that was cut off may end with one that has not."""
    names = max((tuple(row.outputs) for row in rows.values()), key=len, default=())
    whole = [row for _, row in sorted(rows.items()) if row.outputs.keys() == set(names)]
    return Table(
        (*KEYS, *names),
        tuple(
            (row.iteration, row.elapsed.total_seconds(), rates.at(row.iteration), *map(row.outputs.__getitem__, names))
            for row in whole
        ),
    )


def _time(year: str, day: str, time: str) -> datetime | None:
    try:
        return datetime.strptime(f"{year}{day} {time}", "%Y%m%d %H:%M:%S.%f")
    except ValueError:
        return None


def _between(begin: datetime, end: datetime) -> timedelta:
    """Return the time between two lines, the second of which may be of the next year without saying so."""
    if begin.month == 12 and end.month == 1 and end.year == begin.year:
        end = end.replace(year=end.year + 1)
    return end - begin


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return NAN
