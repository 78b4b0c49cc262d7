"""How runs stand: told from events, or from markers where there are none."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from cdeep3m.runs.states import SILENCE, kind_of, prediction_events, runs_in, state_of, training_events


def write_events(path, *events):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(json.dumps({"time": time, "event": name, **values}) + "\n" for time, name, values in events)
    )


def began(time=100.0, *, host=None, pid=None, kind="prediction"):
    where = {"host": host or socket.gethostname(), "pid": os.getpid() if pid is None else pid}
    return time, "began", {"kind": kind, "engine": "embedded", **where}


def progress(time, done, total=10, name="1fm", **values):
    return time, "progress", {"name": name, "done": done, "total": total, **values}


def ended(time, status="finished", message=""):
    return time, "ended", {"status": status, "message": message}


@pytest.fixture
def dead_process():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_running_prediction_tells_its_rate_and_what_is_left(tmp_path):
    write_events(prediction_events(tmp_path), began(), progress(110, 1), progress(120, 3), progress(130, 5))
    state = state_of(tmp_path, now=132)
    assert (state.kind, state.state, state.began, state.updated) == ("prediction", "running", 100, 130)
    (job,) = state.jobs
    assert (job.name, job.done, job.total) == ("1fm", 5, 10)
    assert job.rate == pytest.approx(0.2)
    assert job.left == pytest.approx(23)


@pytest.mark.parametrize("status", ["finished", "failed", "interrupted", "stopped"])
def test_how_a_run_ended_is_told(tmp_path, status):
    write_events(prediction_events(tmp_path), began(), progress(110, 10), ended(111, status, "why"))
    (tmp_path / "DONE").touch()
    state = state_of(tmp_path, now=999)
    assert state.state == status
    assert state.message == ("why" if status == "failed" else "")
    assert state.jobs[0].left is None


def test_a_share_that_is_finished_is_not_the_whole_run(tmp_path):
    write_events(prediction_events(tmp_path), began(), progress(110, 10), ended(111))
    assert state_of(tmp_path, now=999).state == "begun"


def test_a_run_whose_process_is_gone_was_killed(tmp_path, dead_process):
    write_events(prediction_events(tmp_path), began(pid=dead_process), progress(110, 1), progress(111, 2))
    assert state_of(tmp_path, now=112).state == "killed"


@pytest.mark.parametrize(("later", "state"), [(SILENCE - 1, "running"), (SILENCE + 1, "silent")])
def test_a_run_on_another_machine_is_believed_for_a_while(tmp_path, later, state):
    write_events(prediction_events(tmp_path), began(host="elsewhere"), progress(110, 1))
    assert state_of(tmp_path, now=110 + later).state == state


def test_a_run_that_goes_on_is_told_from_its_last_attempt(tmp_path, dead_process):
    first = (began(pid=dead_process), progress(110, 1), (111, "warning", {"text": "old"}))
    again = (began(5000), (5001, "warning", {"text": "new"}), progress(5010, 4), progress(5020, 6))
    write_events(prediction_events(tmp_path), *first, *again)
    state = state_of(tmp_path, now=5020)
    assert (state.state, state.began, state.warnings) == ("running", 5000, ("new",))
    assert state.jobs[0].rate == pytest.approx(0.2)


def training(folder, *nets):
    for net in nets:
        (folder / net / "trainedmodel").mkdir(parents=True)
        (folder / net / "solver.prototxt").write_text("max_iter: 500\n")


def test_a_training_has_a_net_that_runs_and_one_that_waits(tmp_path):
    training(tmp_path, "1fm", "3fm", "5fm")
    jobs = "".join(f"{line}\n" for net in ("1fm", "3fm") for line in (*range(10), net, "folder"))
    (tmp_path / "parallel.jobs").write_text(jobs)
    write_events(
        training_events(tmp_path, "1fm"),
        began(kind="training"),
        progress(110, 3, 500, loss=0.7),
        progress(112, 5, 500, loss=0.5),
    )
    state = state_of(tmp_path, now=112)
    assert (state.kind, state.state) == ("training", "running")
    assert [(job.name, job.done, job.loss) for job in state.jobs] == [("1fm", 5, 0.5), ("3fm", 0, None)]


def test_a_training_is_finished_when_all_its_nets_are(tmp_path, dead_process):
    training(tmp_path, "1fm", "3fm")
    write_events(training_events(tmp_path, "1fm"), began(kind="training"), ended(110))
    assert state_of(tmp_path, now=111).state == "running", "its process may begin the next net"
    write_events(training_events(tmp_path, "1fm"), began(kind="training", pid=dead_process), ended(110))
    assert state_of(tmp_path, now=111).state == "begun"
    write_events(training_events(tmp_path, "3fm"), began(kind="training"), ended(111, "failed", "no"))
    assert (state_of(tmp_path, now=112).state, state_of(tmp_path, now=112).message) == ("failed", "no")
    write_events(training_events(tmp_path, "3fm"), began(kind="training"), ended(111))
    assert state_of(tmp_path, now=112).state == "finished"


@pytest.mark.parametrize(
    ("marker", "state"), [(None, "begun"), ("DONE", "finished"), ("ERROR", "failed"), ("KILL.REQUEST", "stopped")]
)
def test_a_prediction_of_others_is_told_from_its_markers(tmp_path, marker, state):
    (tmp_path / "predict.config").write_text("[default]\nmodels=1fm,3fm\nimagesize=4 x 30 x 30\n")
    (tmp_path / "1fm").mkdir()
    for z in (1, 2):
        (tmp_path / "1fm" / f"Segmented_{z:04d}.png").touch()
    if marker:
        (tmp_path / marker).write_text("something\n1\n")
    found = state_of(tmp_path)
    assert found.state == state
    assert [(job.name, job.done, job.total) for job in found.jobs] == [("1fm", 2, 4), ("3fm", 0, 4)]


def test_a_training_of_others_is_told_from_its_snapshots(tmp_path):
    training(tmp_path, "1fm")
    for iteration in (100, 200):
        (tmp_path / "1fm" / "trainedmodel" / f"1fm_classifer_iter_{iteration}.caffemodel").touch()
    (job,) = state_of(tmp_path).jobs
    assert (job.done, job.total) == (200, 500)


def test_runs_are_found_below_a_folder(tmp_path):
    training(tmp_path / "work" / "trained", "1fm")
    write_events(prediction_events(tmp_path / "predicted"), began())
    (tmp_path / "other").mkdir()
    assert [path.name for path in runs_in(tmp_path)] == ["predicted", "trained"]
    assert [path.name for path in runs_in(tmp_path / "predicted")] == ["predicted"]
    assert kind_of(tmp_path / "other") is None
    assert state_of(tmp_path / "other") is None


def test_events_of_a_strange_kind_do_not_hurt(tmp_path):
    path = prediction_events(tmp_path)
    path.parent.mkdir()
    path.write_text('[]\n{"time": "x", "event": "progress"}\nnonsense\n{"time": 1, "event": "began", "pid": "?"}\n')
    assert state_of(tmp_path, now=2).state == "silent" or state_of(tmp_path, now=2).state == "running"
