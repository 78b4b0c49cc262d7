"""Progress as plain lines and as bars, of one job or of several at a time."""

from __future__ import annotations

import sys

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
