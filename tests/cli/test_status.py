"""`cdeep3m status`: lines for people, JSON for programs."""

from __future__ import annotations

import json

import pytest

from cdeep3m.cli.status import main
from cdeep3m.engines.base import Progress
from cdeep3m.runs.events import recorded
from cdeep3m.runs.states import prediction_events
from example_runs import make_prediction


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    make_prediction(root, shape=(2, 64, 70))
    return root


def test_a_finished_run_is_told_in_lines(folder, capsys):
    assert main([str(folder)]) == 0
    first, *jobs = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{folder / 'predicted'}: prediction finished, last heard of ")
    assert jobs == ["  1fm: plane 2 of 2"]


def test_json_has_the_keys_that_the_guide_names(folder, capsys):
    assert main(["--json", str(folder)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"schema", "time", "runs"}
    (run,) = told["runs"]
    assert list(run) == [
        *("folder", "kind", "state", "began", "updated", "engine", "host", "message", "recipe", "warnings", "jobs"),
    ]
    assert run["jobs"] == [{"name": "1fm", "done": 2, "total": 2, "loss": None, "rate": None, "left": None}]


def test_a_run_is_seen_while_it_runs(tmp_path, capsys):
    path = prediction_events(tmp_path)
    path.parent.mkdir()
    with recorded(path, kind="prediction", engine="embedded") as recorder:
        recorder.progress("1fm", Progress(3, 9))
        recorder.write("warning", text="labels?")
        main([str(tmp_path)])
    shown = capsys.readouterr().out
    assert "prediction running on " in shown
    assert "1fm: plane 3 of 9" in shown
    assert "warning: labels?" in shown


def test_watching_ends_when_nothing_runs_any_more(folder, capsys):
    assert main(["--watch", str(folder)]) == 0
    assert capsys.readouterr().out.count("finished") == 1


def test_folders_without_runs_say_so(tmp_path, capsys):
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "no run here\n"
    assert main([str(tmp_path / "absent")]) == 1
    assert "is no folder; expected" in capsys.readouterr().err
