"""Every runner does every box, whatever dies; all of them are held to one behaviour."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import Mock

import numpy as np
import pytest

from box_work import WriteBox, boxes_in, processes_in
from cdeep3m.errors import InputError, RunError
from cdeep3m.runners.base import InThisProcess, run_missing
from cdeep3m.runners.dask import OnDask
from cdeep3m.runners.processes import MOST_DEATHS, Processes, one_for_each_gpu, shares_of_cores
from cdeep3m.runners.slurm import slurm_options
from cdeep3m.system.ledger import open_ledger
from dask_cluster import IGNORING, local_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdeep3m.runners.base import Runner

pytestmark = IGNORING
SQUARES = {box: str(box * box) for box in range(12)}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a Dask cluster with two workers, each watched by a nanny."""
    with local_cluster() as address:
        yield address


@pytest.fixture(params=["here", "processes", "dask"])
def runner(request: pytest.FixtureRequest) -> Runner:
    if request.param == "dask":
        return OnDask(request.getfixturevalue("cluster"))
    return InThisProcess() if request.param == "here" else Processes([{}, {}])


def left_running(folder: Path) -> list[str]:
    """Processes that did boxes and are still there, this one left out."""
    found = {process for process, *_ in processes_in(folder)} - {str(os.getpid())}
    return [process for process in found if os.path.exists(f"/proc/{process}")]


def test_every_box_is_done_and_told_once(runner, tmp_path):
    assert sorted(runner.run(WriteBox(tmp_path), range(12))) == list(range(12))
    assert boxes_in(tmp_path) == SQUARES


def test_no_box_is_no_work(runner, tmp_path):
    assert list(runner.run(WriteBox(tmp_path), [])) == []


def test_an_error_of_a_box_is_raised(runner, tmp_path):
    with pytest.raises(InputError, match="box 3 does not fit"):
        list(runner.run(WriteBox(tmp_path, fails=3), range(12)))


def test_a_caller_that_stops_early_leaves_nothing_to_do(runner, tmp_path):
    for _ in runner.run(WriteBox(tmp_path, seconds=0.05), range(1000)):
        break
    done = -1
    while (now := len(boxes_in(tmp_path))) != done:
        done = now
        time.sleep(0.5)
    assert 0 < done < 900


PEAKS = """
import gc, sys, tracemalloc
from box_work import nothing
from cdeep3m.runners.dask import OnDask

for boxes in (200, 1500, 4500):  # the first one imports and connects
    gc.collect()
    tracemalloc.start()
    assert sum(1 for _ in OnDask(sys.argv[1]).run(nothing, range(boxes))) == boxes
    print(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
"""


@pytest.mark.heavy
def test_memory_here_does_not_grow_with_the_boxes_of_a_cluster(cluster):
    """A future that was kept would take some kilobytes; 100,000 boxes have to fit as well as 4,500 do."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", PEAKS, cluster],  # the scheduler is in this process, and has a memory of its own
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    _, few, many = map(int, done.stdout.split())
    assert (many - few) / 3000 < 200


def test_a_box_whose_process_is_killed_is_done_by_another(cluster, tmp_path):
    for name, runner in (("processes", Processes([{}, {}])), ("dask", OnDask(cluster))):
        (tmp_path / name).mkdir()
        assert sorted(runner.run(WriteBox(tmp_path / name, kills=4), range(12))) == list(range(12))
        assert boxes_in(tmp_path / name) == SQUARES


def test_a_box_that_kills_every_process_is_named(tmp_path):
    with pytest.raises(RunError, match=rf"box 4 ended its process {MOST_DEATHS} times \(signal 9\)"):
        list(Processes([{}, {}]).run(WriteBox(tmp_path, kills=4, always=True), range(12)))
    assert left_running(tmp_path) == []


def test_processes_have_their_own_settings(tmp_path):
    settings = [
        {**threads, **gpu} for threads, gpu in zip(shares_of_cores(2, 3), one_for_each_gpu([5, 7]), strict=True)
    ]
    list(Processes(settings).run(WriteBox(tmp_path, seconds=0.1), range(12)))
    found = {tuple(rest) for _, *rest in processes_in(tmp_path)}
    assert found == {("2", "5"), ("1", "7")}
    assert left_running(tmp_path) == []


def test_a_ledger_leaves_out_what_is_done(runner, tmp_path):
    ledger = open_ledger(tmp_path / "ledger", boxes=12, run={})
    ledger.mark(0, 5, 11)
    told = []
    assert run_missing(WriteBox(tmp_path), ledger, runner=runner, on_done=lambda *counts: told.append(counts))
    assert sorted(boxes_in(tmp_path)) == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert told == [(done, 12) for done in range(4, 13)]


def test_a_box_that_is_stopped_is_not_marked(tmp_path):
    ledger = open_ledger(tmp_path / "ledger", boxes=2, run={})
    with pytest.raises(KeyboardInterrupt):
        run_missing(Mock(side_effect=[None, KeyboardInterrupt]), ledger)
    assert ledger.missing().tolist() == [1]


class Forgetful(InThisProcess):
    """Says that box 4 is done."""

    def run(self, work, boxes):
        for box in boxes:
            if box != 4:
                work(box)
            yield box


def test_a_box_that_is_not_in_the_ledger_is_missed(tmp_path):
    ledger = open_ledger(tmp_path / "ledger", boxes=12, run={})
    with pytest.raises(RunError, match="1 of 12 are not finished: box 4. Run the same command again"):
        run_missing(WriteBox(tmp_path), ledger, runner=Forgetful())


def test_shares_do_their_own_boxes_and_say_when_all_are_done(tmp_path):
    ledger = open_ledger(tmp_path / "ledger", boxes=12, run={})
    done = [
        run_missing(WriteBox(tmp_path), ledger, share=lambda missing, k=k: missing[missing % 3 == k]) for k in range(3)
    ]
    assert done == [False, False, True]
    assert boxes_in(tmp_path) == SQUARES


SCRIPT = """
import sys
from pathlib import Path
from box_work import WriteBox
from cdeep3m.cli.common import run
from cdeep3m.runners.base import run_missing
from cdeep3m.runners.processes import Processes
from cdeep3m.system.ledger import open_ledger

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    ledger = open_ledger(folder / "ledger", boxes=400, run={})
    command = lambda: run_missing(WriteBox(folder, seconds=0.01), ledger, runner=Processes([{}, {}])) and None
    sys.exit(run(command, debug=False))
"""


def started(folder: Path) -> subprocess.Popen[str]:
    (folder / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__) + "/.."}
    process = subprocess.Popen(
        [sys.executable, folder / "script.py", folder], env=environment, stderr=subprocess.PIPE, text=True
    )
    while len(boxes_in(folder)) < 5:
        assert process.poll() is None
        time.sleep(0.02)
    return process


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_signal_ends_all_processes_and_the_next_call_goes_on(tmp_path, number, status):
    process = started(tmp_path)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == status
    assert number == signal.SIGKILL or errors.strip().endswith("goes on where this one stopped.")
    deadline = time.monotonic() + 10
    while left_running(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left_running(tmp_path) == []
    ledger = open_ledger(tmp_path / "ledger", boxes=400, run={})
    finished = np.flatnonzero(ledger.finished())
    assert 0 < len(finished) < 400
    assert set(finished.tolist()) <= set(boxes_in(tmp_path))


def test_a_scheduler_that_is_not_there_is_told(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("cdeep3m.runners.dask.SECONDS_TO_CONNECT", 0.3)
    with pytest.raises(RunError, match="no Dask scheduler at tcp://127.0.0.1:9"):
        list(OnDask("tcp://127.0.0.1:9").run(WriteBox(tmp_path), range(3)))


@pytest.mark.parametrize(
    "text", ["", "jobs=2", "jobs=0,cores=1,memory=1GiB", "jobs=x,cores=1,memory=1GiB", "jobs=2,cores=1,memory"]
)
def test_slurm_options_that_lack_something_are_refused(text):
    with pytest.raises(InputError, match="--slurm: found .*expected jobs, cores, memory"):
        slurm_options(text)
