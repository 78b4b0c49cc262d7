"""Logs of Caffe, of the embedded engine, of several runs, and damaged ones."""

from __future__ import annotations

import math
import os
from datetime import datetime
from itertools import cycle
from typing import TYPE_CHECKING

import pytest

from cdeep3m.errors import FormatError, MissingFileError
from cdeep3m.evaluation.learning_curves import find_log, read_log
from cdeep3m.evaluation.learning_curves.caffe_log import parse_log
from cdeep3m.evaluation.learning_curves.tables import KEYS, to_csv

if TYPE_CHECKING:
    from pathlib import Path

# By hand from the log of the 1fm reference net: columns as those of parse_log.py, seconds since "Solving".
REFERENCE_TRAIN = """\
NumIters,Seconds,LearningRate,loss_deconv_all
0.0,0.074755,0.01,0.67023
1.0,0.145681,0.00864281,0.986783
2.0,0.217531,0.00722981,1.02698
3.0,0.317259,0.00574349,0.935434
4.0,0.387916,0.00415244,0.942856
5.0,0.459923,0.00238495,0.928609
"""
REFERENCE_TEST = """\
NumIters,Seconds,LearningRate,accuracy_conv,class_Acc,loss_deconv_all
3.0,0.254914,0.00574349,0.690837,0.127585,6.73665
6.0,0.506041,0.00238495,0.773655,0.0506478,7.69129
"""


class Log:
    """Writes a log as Caffe does, a second an iteration."""

    def __init__(self, begin: str = "2026-11-22 17:00:00", *, with_year: bool = False) -> None:
        self.lines: list[str] = []
        self.now = datetime.fromisoformat(begin).timestamp()
        self.with_year = with_year

    def write(self, text: str, source: str = "solver.cpp:237") -> None:
        time = datetime.fromtimestamp(self.now)
        day = f"{time:%Y%m%d}" if self.with_year else f"{time:%m%d}"
        self.lines.append(f"I{day} {time:%H:%M:%S.%f}  5892 {source}] {text}\n")

    def run(self, iterations: range, *, gain: float = 1.0, test_every: int = 0) -> Log:
        """Add a run whose loss at iteration i is gain / (i + 1)."""
        self.write("Solving net")
        for i in iterations:
            self.now += 1
            if test_every and i % test_every == 0:
                self.write(f"Iteration {i}, Testing net (#0)")
                self.write(f"    Test net output #0: accuracy = {0.5 + i / 100}")
                self.write(f"    Test net output #1: loss = {2 * gain / (i + 1)} (* 1 = 2 loss)")
            self.write(f"Iteration {i}, loss = 9")
            self.write(f"    Train net output #0: loss = {gain / (i + 1)} (* 1 = 9 loss)")
            self.write(f"Iteration {i}, lr = {0.1 / (i + 1)}", "sgd_solver.cpp:106")
        return self

    def pause(self, seconds: float) -> Log:
        self.now += seconds
        return self

    def parse(self, year: int = 2026):
        return parse_log(self.lines, year=year)


def test_the_reference_log_gives_caffe_s_own_columns_and_numbers(reference):
    curves = read_log(reference / "caffe" / "training_steps" / "1fm" / "out.log")
    assert to_csv(curves.train) == REFERENCE_TRAIN
    assert to_csv(curves.test) == REFERENCE_TEST


@pytest.mark.parametrize("net", ["1fm", "3fm", "5fm"])
def test_logs_of_all_nets_are_read(reference, net):
    curves = read_log(reference / "caffe" / "training_steps" / net)
    assert curves.train.column("NumIters") == [0, 1, 2, 3, 4, 5]
    assert curves.test.column("NumIters")[-1] == 6


@pytest.mark.parametrize("with_year", [False, True])
def test_rows_have_the_time_since_the_start_the_rate_of_their_iteration_and_the_outputs(with_year):
    curves = Log(with_year=with_year).run(range(3), test_every=2).parse()
    assert curves.train.columns == (*KEYS, "loss")
    assert curves.train.rows == ((0, 1, 0.1, 1.0), (1, 2, 0.05, 0.5), (2, 3, 0.1 / 3, 1 / 3))
    assert curves.test.columns == (*KEYS, "accuracy", "loss")
    assert curves.test.rows == ((0, 1, 0.1, 0.5, 2.0), (2, 3, 0.1 / 3, 0.52, 2 / 3))


def test_of_outputs_with_one_name_the_last_counts_as_in_caffe_s_parser():
    log = Log()
    log.write("Iteration 4, Testing net (#0)")
    for k, value in enumerate((0.9, 0.25)):
        log.write(f"    Test net output #{k}: class_Acc = {value}")
    assert log.parse().test.rows[0][-1] == 0.25
    assert log.parse().test.outputs == ("class_Acc",)


def test_a_run_that_goes_on_from_a_snapshot_replaces_what_came_after_the_snapshot():
    log = Log().run(range(8), gain=1, test_every=2).pause(1000).run(range(4, 6), gain=3, test_every=2)
    curves = log.parse()
    assert curves.train.column("NumIters") == [0, 1, 2, 3, 4, 5]
    assert curves.train.column("loss") == [1, 1 / 2, 1 / 3, 1 / 4, 3 / 5, 3 / 6]
    assert curves.test.column("loss") == [2, 2 / 3, 6 / 5]
    assert curves.train.column("Seconds") == [1, 2, 3, 4, 5, 6]


def test_a_training_from_the_start_replaces_an_earlier_one():
    curves = Log().run(range(5)).pause(60).run(range(2), gain=7).parse()
    assert curves.train.rows == ((0, 1, 0.1, 7.0), (1, 2, 0.05, 3.5))


def test_seconds_never_fall_when_the_clock_is_set_back():
    log = Log()
    log.run(range(2))
    log.now -= 3600
    log.write("Iteration 2, loss = 9")
    log.write("    Train net output #0: loss = 0.1 (* 1 = 0.1 loss)")
    assert log.parse().train.column("Seconds") == [1, 2, 2]


@pytest.mark.parametrize(
    ("begin", "year"), [("2025-12-31 23:59:58", 2026), ("2023-02-28 23:59:58", 2023), ("2024-02-28 23:59:58", 2025)]
)
def test_seconds_go_on_over_the_ends_of_years_and_of_february(begin, year):
    log = Log(begin).run(range(4))
    assert log.parse(year).train.column("Seconds") == [1, 2, 3, 4]
    if "02-28" in begin and year == 2025:
        assert any(line.startswith("I0229") for line in log.lines)


def test_a_row_without_all_its_outputs_at_the_end_of_a_log_is_left_out():
    log = Log().run(range(5), test_every=2)
    cut = next(i for i, line in enumerate(log.lines) if "Iteration 4, Testing" in line) + 2
    log.lines = log.lines[:cut]
    assert log.parse().test.column("NumIters") == [0, 2]


@pytest.mark.parametrize(("text", "value"), [("nan", math.nan), ("-nan", math.nan), ("inf", math.inf), ("?", math.nan)])
def test_a_training_that_diverged_shows_it(text, value):
    log = Log().run(range(1))
    log.write("Iteration 1, loss = nan")
    log.write(f"    Train net output #0: loss = {text} (* 1 = {text} loss)")
    assert log.parse().train.rows[-1][-1] == pytest.approx(value, nan_ok=True)


def test_lines_that_are_no_log_lines_do_not_matter():
    log = Log().run(range(3))
    no_such_day = "I1399 17:00:00.000000  1 solver.cpp:1] Iteration 9, loss = 1\n"
    noise = cycle(["", "Train net output #0: loss = 5\n", no_such_day, "\0"])
    mixed = [line for pair in zip(log.lines, noise, strict=False) for line in pair]
    assert len(mixed) == 2 * len(log.lines) == 20
    assert parse_log(mixed, year=2026) == log.parse()


def test_iterations_with_a_speed_are_read_as_newer_caffes_write_them():
    log = Log()
    log.write("Iteration 40 (3.1 iter/s, 12.9s/40 iters), loss = 0.4")
    log.write("    Train net output #0: loss = 0.4 (* 1 = 0.4 loss)")
    assert log.parse().train.column("NumIters") == [40]


def test_a_log_without_rates_has_none():
    log = Log()
    log.write("Iteration 1, loss = 0.4")
    log.write("    Train net output #0: loss = 0.4 (* 1 = 0.4 loss)")
    assert math.isnan(log.parse().train.rows[0][2])


def test_the_year_of_a_log_is_that_of_its_last_change(tmp_path: Path):
    path = tmp_path / "out.log"
    path.write_text("".join(Log("2024-02-28 23:59:58").run(range(3)).lines))
    os.utime(path, (datetime(2024, 3, 1).timestamp(),) * 2)
    assert read_log(path).train.column("Seconds") == [1, 2, 3]


def test_a_folder_stands_for_its_out_log(tmp_path: Path):
    (tmp_path / "out.log").write_text("".join(Log().run(range(1)).lines))
    assert find_log(tmp_path) == tmp_path / "out.log"
    assert len(read_log(tmp_path).train.rows) == 1


def test_a_missing_log_and_a_file_that_is_none_are_refused(tmp_path: Path):
    with pytest.raises(MissingFileError, match="no such log"):
        read_log(tmp_path / "nope")
    (tmp_path / "notes.txt").write_bytes(b"\xff Iteration 5, loss = 3\n")
    with pytest.raises(FormatError, match="no output of a training"):
        read_log(tmp_path / "notes.txt")


def test_the_log_of_the_embedded_engine_is_read(tmp_path: Path):
    from cdeep3m.engines.embedded.training.glog import GLog, output_line

    with GLog(tmp_path / "out.log") as log:
        log.info("solver.cpp:288", "Solving tiny")
        for iteration in range(2):
            log.info("solver.cpp:237", f"Iteration {iteration}, loss = 0.7")
            log.info("solver.cpp:253", output_line("Train", 0, "loss", 0.5 - iteration / 8, 1.0))
            log.info("sgd_solver.cpp:106", f"Iteration {iteration}, lr = 0.01")
    assert read_log(tmp_path).train.column("loss") == [0.5, 0.375]
