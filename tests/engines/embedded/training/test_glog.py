"""Log parsers that read Caffe's log read ours."""

from __future__ import annotations

import re
from datetime import datetime

from cdeep3m.engines.embedded.training.glog import GLog, format_line, number, output_line


def test_a_line_is_that_of_glog():
    time = datetime(2020, 1, 2, 3, 4, 5, 60)
    assert format_line("I", "solver.cpp:288", "Solving net", time, 12) == (
        "I0102 03:04:05.000060    12 solver.cpp:288] Solving net"
    )


def test_numbers_are_those_of_a_stream():
    assert [number(v) for v in (1.0, 0.1 + 0.2, 100000, 1e6, 5e-5, float("nan"), float("inf"))] == [
        "1", "0.3", "100000", "1e+06", "5e-05", "nan", "inf",
    ]  # fmt: skip


def test_weighted_outputs_show_their_share_of_the_loss():
    assert output_line("Train", 2, "aux", 0.5, 0.3).endswith("#2: aux = 0.5 (* 0.3 = 0.15 loss)")


def test_a_log_goes_to_the_end_of_the_file_and_to_a_stream(tmp_path, capsys):
    import sys

    (tmp_path / "out.log").write_text("before\n")
    with GLog(tmp_path / "out.log", sys.stderr) as log:
        log.info("caffe.cpp:217", "Optimization Done.")
        log.warning("caffe.cpp:1", "hot")
    first, second, third = (tmp_path / "out.log").read_text().splitlines()
    assert first == "before"
    assert re.fullmatch(r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ caffe\.cpp:217\] Optimization Done\.", second)
    assert third.startswith("W")
    assert capsys.readouterr().err.splitlines() == [second, third]
