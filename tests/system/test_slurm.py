"""Boxes in jobs of a real Slurm: arrays of shares, and workers of Dask; cancelled, requeued, out of time, drained."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from box_share import BOXES
from box_work import WriteBox, boxes_in
from cdeep3m.cli.predict import main
from cdeep3m.objects.job import ObjectsRequest, find_objects
from cdeep3m.runners.slurm import OnSlurm
from cdeep3m.system.ledger import open_ledger
from cdeep3m.volumes.address import Address
from octave_cases import png_folder
from random_nets import publish_random
from slurm_machine import PrivateSlurm, find_obstacle

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(find_obstacle() is not None, reason=str(find_obstacle()))]

TESTS = Path(__file__).parents[1]
SQUARES = {box: str(box * box) for box in range(BOXES)}


@pytest.fixture(scope="module")
def slurm() -> Iterator[PrivateSlurm]:
    machine = PrivateSlurm()
    try:
        machine.start()
        yield machine
    finally:
        machine.stop()


@pytest.fixture
def commands(slurm, monkeypatch) -> PrivateSlurm:
    """Slurm's commands lead to the tests' own in this process, too."""
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, slurm.environment[name])
    return slurm


def share_script(folder: Path, *, shares: int, seconds: float) -> str:
    """A batch script whose shell becomes the command, so that Slurm's signals reach it."""
    return (
        f"#!/bin/bash\nexport PYTHONPATH={TESTS}\n"
        f"exec {sys.executable} -m box_share {folder} $SLURM_ARRAY_TASK_ID {shares} {seconds}\n"
    )


def missing_of(folder: Path) -> list[int]:
    return open_ledger(folder / "ledger", boxes=BOXES, run={}).missing().tolist()


def wait_until(done: int, folder: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while len(boxes_in(folder)) < done:
        assert time.monotonic() < deadline, f"{len(boxes_in(folder))} of {done} boxes"
        time.sleep(0.1)


def test_an_array_with_a_cancelled_share_is_completed_by_the_same_submission(slurm, tmp_path):
    script = share_script(tmp_path, shares=3, seconds=0.1)
    job = slurm.submit(script, "--array=1-3")
    wait_until(3, tmp_path)
    slurm.run("scancel", f"{job}_2")
    slurm.wait_for(job)
    assert "CANCELLED" in slurm.states(job)
    left = missing_of(tmp_path)
    assert left
    assert set(left) <= set(range(20, 40))
    again = slurm.submit(script, "--array=1-3")
    slurm.wait_for(again)
    assert missing_of(tmp_path) == []
    assert boxes_in(tmp_path) == SQUARES
    assert set(slurm.states(again)) == {"COMPLETED"}


def test_a_requeued_share_goes_on(slurm, tmp_path):
    job = slurm.submit(share_script(tmp_path, shares=1, seconds=0.1), "--array=1-1", "--requeue")
    wait_until(5, tmp_path)
    slurm.run("scontrol", "requeue", f"{job}_1")
    log = slurm.folder / f"job-{job}_1.log"
    deadline = time.monotonic() + 60
    while "goes on where this one stopped" not in log.read_text() or slurm.states(job) != ["PENDING"]:
        assert time.monotonic() < deadline, f"{slurm.states(job)}: {log.read_text()}"
        time.sleep(0.2)
    done = len(boxes_in(tmp_path))
    time.sleep(2)  # what the first try ended with must not be taken for the second one's
    slurm.run("scontrol", "update", f"JobId={job}_1", "StartTime=now")  # Slurm holds it back for two minutes
    wait_until(done + 5, tmp_path, 150)
    slurm.wait_for(job)
    assert boxes_in(tmp_path) == SQUARES
    assert missing_of(tmp_path) == []


@pytest.mark.parametrize("name", ["TERM", "USR1"])
def test_a_signal_before_the_walltime_ends_a_share_cleanly(slurm, tmp_path, name):
    script = share_script(tmp_path, shares=1, seconds=0.2)
    job = slurm.submit(script, "--array=1-1")
    wait_until(3, tmp_path)
    slurm.run("scancel", f"--signal={name}", "--batch", f"{job}_1")
    slurm.wait_for(job, 10)
    left = missing_of(tmp_path)
    assert 0 < len(left) < BOXES
    assert sorted(boxes_in(tmp_path)) == [box for box in range(BOXES) if box not in left]
    assert "goes on where this one stopped" in (slurm.folder / f"job-{job}_1.log").read_text()


def test_a_node_that_is_drained_and_resumed_completes_the_array(slurm, tmp_path):
    node = os.uname().nodename.partition(".")[0]
    job = slurm.submit(share_script(tmp_path, shares=4, seconds=0.05), "--array=1-4")
    wait_until(1, tmp_path)
    slurm.run("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    deadline = time.monotonic() + 30
    while "RUNNING" in slurm.states(job) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert "PENDING" in slurm.states(job)
    slurm.run("scontrol", "update", f"NodeName={node}", "State=RESUME")
    slurm.wait_for(job)
    assert boxes_in(tmp_path) == SQUARES
    assert missing_of(tmp_path) == []


def planes_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "3fm").glob("*.png"))}


def test_predictions_by_an_array_with_a_cancelled_share_are_those_of_one_process(slurm, tmp_path):
    publish_random(tmp_path / "model")
    images = png_folder(tmp_path / "images", np.random.default_rng(0).integers(0, 256, (12, 64, 64)).astype(np.uint8))
    words = ["--augspeed", "2", "--gpu", "-1", "--fit", str(tmp_path / "model"), str(images)]
    command = " ".join(["-m cdeep3m.cli.predict --share $SLURM_ARRAY_TASK_ID/3", *words, str(tmp_path / "array")])
    script = f"#!/bin/bash\nexport OMP_NUM_THREADS=1\nexec {sys.executable} {command}\n"
    job = slurm.submit(script, "--array=1-3")
    deadline = time.monotonic() + 60
    while not planes_in(tmp_path / "array") and time.monotonic() < deadline:
        time.sleep(0.1)
    slurm.run("scancel", f"{job}_1")
    slurm.wait_for(job)
    assert not (tmp_path / "array" / "DONE").exists()
    assert len(planes_in(tmp_path / "array")) < 12
    slurm.wait_for(slurm.submit(script, "--array=1-3"))
    assert (tmp_path / "array" / "DONE").exists()
    assert main([*words, str(tmp_path / "one")]) == 0
    assert planes_in(tmp_path / "array") == planes_in(tmp_path / "one")


def options_in(folder: Path) -> dict[str, str]:
    """Jobs of one core each, whose workers find the tests' modules."""
    return {
        "jobs": "2",
        "cores": "1",
        "memory": "1GiB",
        "queue": "main",
        "interface": "lo",
        "python": sys.executable,
        "log_directory": str(folder),
        "local_directory": str(folder / "scratch"),
    }


@pytest.mark.filterwarnings("ignore")
def test_jobs_that_are_cancelled_are_replaced(commands, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS))

    def cancel_one() -> None:
        wait_until(5, tmp_path)
        commands.run("scancel", commands.run("squeue", "--noheader", "--format=%A", "--states=R").split()[0])

    cancelling = threading.Thread(target=cancel_one)
    cancelling.start()
    done = list(OnSlurm(options_in(tmp_path)).run(WriteBox(tmp_path, seconds=0.15), range(BOXES)))
    cancelling.join()
    assert sorted(done) == list(range(BOXES))
    assert boxes_in(tmp_path) == SQUARES


@pytest.mark.filterwarnings("ignore")
def test_objects_are_the_same_through_slurm(commands, tmp_path):
    maps = (np.random.default_rng(0).random((8, 20, 20)) < 0.3).astype(np.uint8) * 255
    png_folder(tmp_path / "maps", maps)
    (tmp_path / "jobs").mkdir()
    for name, runner in (("here", None), ("slurm", OnSlurm(options_in(tmp_path / "jobs")))):
        request = ObjectsRequest(maps=Address.of(tmp_path / "maps"), out=tmp_path / name, most_voxels=800)
        find_objects(request, runner=runner)
    for name in ("labels.tif", "objects.csv", "density.csv"):
        assert (tmp_path / "slurm" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
