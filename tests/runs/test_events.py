"""Events of a run: whole lines, whatever happens to the run."""

from __future__ import annotations

import json
import logging
import threading

import pytest

from cdeep3m.engines.base import Progress
from cdeep3m.errors import EngineError, StoppedError
from cdeep3m.runs import events as module
from cdeep3m.runs.events import Event, Recorder, last_attempt, read_events, recorded
from cdeep3m.runs.pace import MOST, Pace


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


def names(path):
    return [event.name for event in read_events(path)]


def test_a_run_has_a_beginning_and_an_end(path):
    with recorded(path, kind="prediction", engine="identity") as recorder:
        recorder.write("images", shape=(3, 4, 5))
    began, images, ended = read_events(path)
    assert (began.name, began.values["kind"], began.values["engine"]) == ("began", "prediction", "identity")
    assert images.values == {"shape": [3, 4, 5]}
    assert ended.values["status"] == "finished"
    assert ended.values["memory"] > 1e6
    assert began.time <= ended.time


@pytest.mark.parametrize(
    ("error", "status"),
    [(EngineError("no"), "failed"), (KeyboardInterrupt(), "interrupted"), (StoppedError("kill"), "stopped")],
)
def test_how_it_ended_is_noted_and_the_error_goes_on(path, error, status):
    with pytest.raises(type(error)), recorded(path, kind="training"):
        raise error
    assert read_events(path)[-1].values["status"] == status


def release_when_interrupted():
    try:
        raise KeyboardInterrupt
    finally:
        threading.RLock().release()


def test_a_lock_that_ctrl_c_has_released_twice_is_an_interrupt(path):
    with pytest.raises(RuntimeError), recorded(path, kind="training"):
        release_when_interrupted()
    assert read_events(path)[-1].values["status"] == "interrupted"


def test_warnings_of_the_run_are_noted_and_those_after_it_are_not(path):
    logger = logging.getLogger("cdeep3m.volumes.listing")
    with recorded(path, kind="training"):
        logger.warning("Warning: %d values", 2)
        logger.info("nothing")
    logger.warning("later")
    assert [e.values["text"] for e in read_events(path) if e.name == "warning"] == ["2 values"]


def test_a_cut_line_costs_that_line_only(path):
    Recorder(path).write("one")
    with path.open("ab") as file:
        file.write(b'{"time": 1, "eve')
    Recorder(path).write("three")
    assert names(path) == ["one", "three"]


def test_progress_is_passed_on_always_and_noted_now_and_then(path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    seen = []
    report = Recorder(path).reporting(lambda name, progress: seen.append((name, progress.done)))
    for done in range(1, 101):
        now[0] += 0.1
        report("1fm", Progress(done, 100, 0.5))
    assert len(seen) == 100
    noted = read_events(path)
    assert 9 <= len(noted) <= 12
    assert noted[-1].values == {"name": "1fm", "done": 100, "total": 100, "loss": 0.5}


def test_numbers_that_json_does_not_know_are_null(path):
    Recorder(path).write("progress", loss=float("nan"), more=[float("inf"), 1.0])
    assert json.loads(path.read_text())["loss"] is None
    assert read_events(path)[0].values["more"] == [None, 1.0]


def test_a_file_that_cannot_be_written_does_not_stop_the_run(tmp_path, caplog):
    with recorded(tmp_path / "absent" / "events.jsonl", kind="training") as recorder:
        recorder.write("more")
    assert [record.message.count("cannot be written") for record in caplog.records] == [1]


def test_a_run_that_went_on_is_told_from_its_last_beginning(path):
    for _ in range(2):
        with recorded(path, kind="training") as recorder:
            recorder.write("snapshot")
    assert [event.name for event in last_attempt(read_events(path))] == ["began", "snapshot", "ended"]
    assert last_attempt([Event(1.0, "warning")]) == [Event(1.0, "warning")]
    assert read_events(path.with_name("absent")) == []


def test_pace_forgets_a_slow_start():
    pace = Pace()
    assert pace.left(10) is None
    pace.note(0, 0)
    assert pace.left(10) is None
    pace.note(30, 1)
    for second in range(31, 92):
        pace.note(second, second - 29)
    assert pace.left(1000) == pytest.approx(1000 - 62, rel=0.02)


def test_pace_stays_right_when_it_forgets_moments():
    pace = Pace()
    for step in range(MOST * 10):
        pace.note(step * 2.0, step * 3)
    assert pace.rate == pytest.approx(1.5)


def test_pace_of_a_job_that_stands_still_is_not_told():
    pace = Pace()
    pace.note(0, 5)
    pace.note(9, 5)
    assert pace.left(10) is None
