"""Progress as plain lines and as bars, of one job or of several at a time."""

from __future__ import annotations

import re
import sys

from cdeep3m.cli import progress as module
from cdeep3m.cli.progress import ProgressDisplay
from cdeep3m.engines.base import Progress


def test_first_and_last_step_of_every_job_are_lines_even_side_by_side(capsys):
    with ProgressDisplay("iteration") as show:
        for k in range(1, 6):
            show("1fm", Progress(k, 5, 1 / k))
            show("3fm", Progress(k, 10))
    assert capsys.readouterr().err.splitlines() == [
        "1fm: iteration 1 of 5, loss 1",
        "3fm: iteration 1 of 10",
        "1fm: iteration 5 of 5, loss 0.2",
    ]


def test_terminal_shows_a_bar_for_each_job(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with ProgressDisplay("plane") as show:
        show("1fm", Progress(1, 4))
        show("3fm", Progress(2, 4, 0.25))
        show("1fm", Progress(4, 4))
    drawn = capsys.readouterr().err
    assert "1fm: 100%" in drawn
    assert "3fm:  50%" in drawn
    assert "loss 0.25" in drawn


def test_rate_and_time_to_come_are_those_of_the_later_half(capsys, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with ProgressDisplay("plane") as show:
        for done, seconds in ((0, 0), (1, 50), (2, 1), (3, 1), (4, 1), *((done, 1) for done in range(5, 61))):
            now[0] += seconds
            show("1fm", Progress(done, 200))
    last = capsys.readouterr().err.splitlines()[-1]
    assert "plane" in last
    assert "1 planes/s" in last
    left = re.search(r"about (\d) min left", last)
    assert left is not None
    assert int(left[1]) <= 3


def test_jobs_of_unknown_length_tell_their_rate_alone(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with ProgressDisplay("plane") as show:
        for done in range(3):
            now[0] += 30
            show("1fm", Progress(done, 0))
    assert capsys.readouterr().err.splitlines()[-1] == "1fm: plane 2, 2 planes/min"
