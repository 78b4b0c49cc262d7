"""One volume in small boxes, wherever it is computed and whatever dies: the same maps to the byte, the same objects."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cdeep3m.cli.main import main
from cdeep3m.geometry import Roi
from cdeep3m.volumes import open_volume, read_all
from cdeep3m.volumes.synthetic import synthesize
from dask_cluster import IGNORING, local_cluster
from octave_cases import png_folder
from random_nets import publish_random
from slurm_machine import PrivateSlurm, find_obstacle

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(find_obstacle() is not None, reason=str(find_obstacle())),
    IGNORING,
]

SHAPE = (12, 192, 192)
CUT = 3
"""So many planes, each a box, are there when somebody dies, or more."""


def sample() -> np.ndarray:
    """A corner of the original's own images where the reference is at hand, or of a synthetic volume."""
    reference = Path(os.environ.get("CDEEP3M_REFERENCE", "nowhere"))
    images = reference.parent / "data" / "mito_testsample" / "training" / "images"
    if images.is_dir():
        return open_volume(images).read(Roi((0, 0, 0), SHAPE))
    return synthesize(SHAPE, seed=4).image


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    publish_random(folder / "model")
    png_folder(folder / "images", sample())
    return folder


def words(lab: Path, name: str, *options: str) -> list[str]:
    given = ("--augspeed", "10", "--gpu", "-1", "--fit", "--no-report", *options)
    return ["predict", *given, str(lab / "model"), str(lab / "images"), str(lab / name)]


def maps_in(folder: Path) -> dict[str, bytes]:
    """Content of all planes of all maps, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("Segmented_*.png"))}


def threshold_of(lab: Path) -> str:
    """Return a threshold that some of the maps of random weights lie above."""
    return f"{np.quantile(read_all(open_volume(lab / 'one' / 'ensembled')), 0.8) / 255:.4f}"


def cells_of(lab: Path, name: str, *options: str) -> dict[str, bytes]:
    """Labels and tables of the objects in the maps of a run."""
    out = lab / f"{name}-cells"
    out.mkdir()
    command = ["objects", "--threshold", threshold_of(lab), *options, str(lab / name / "ensembled")]
    assert main([*command, str(out / "labels.tif")]) == 0
    return {part: (out / part).read_bytes() for part in ("labels.tif", "objects.csv", "density.csv")}


@pytest.fixture(scope="module")
def expected(lab) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """What one process makes."""
    assert main(words(lab, "one")) == 0
    maps, cells = maps_in(lab / "one"), cells_of(lab, "one")
    assert len(maps) >= SHAPE[0]
    assert cells["objects.csv"].count(b"\n") > 20
    return maps, cells


def wait_for(condition: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_processes(lab, expected):
    assert main(words(lab, "two", "--workers", "2")) == 0
    assert (maps_in(lab / "two"), cells_of(lab, "two", "--workers", "2")) == expected


def test_a_run_that_was_killed_and_goes_on(lab, expected):
    command = [sys.executable, "-m", "cdeep3m.cli.main", *words(lab, "resumed")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: len(maps_in(lab / "resumed")) >= CUT or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
    assert not (lab / "resumed" / "DONE").exists()
    assert main(words(lab, "resumed")) == 0
    assert (maps_in(lab / "resumed"), cells_of(lab, "resumed")) == expected


def test_a_cluster_of_dask_with_a_worker_killed(lab, expected):
    from distributed import Client

    with local_cluster() as address:
        with Client(address, set_as_default=False) as client:
            victim, other = client.run(os.getpid).values()

        def kill() -> None:
            wait_for(lambda: len(maps_in(lab / "dask")) >= CUT)
            os.kill(victim, signal.SIGKILL)

        killing = threading.Thread(target=kill)
        killing.start()
        assert main(words(lab, "dask", "--dask", address)) == 0
        killing.join()
        assert not os.path.exists(f"/proc/{victim}/exe")
        assert os.path.exists(f"/proc/{other}/exe")
        assert (maps_in(lab / "dask"), cells_of(lab, "dask", "--dask", address)) == expected


def test_an_array_of_slurm_with_a_job_cancelled(lab, expected):
    machine = PrivateSlurm()
    try:
        machine.start()
        command = " ".join(["-m cdeep3m.cli.main", *words(lab, "array", "--share", "$SLURM_ARRAY_TASK_ID/3")])
        script = f"#!/bin/bash\nexport OMP_NUM_THREADS=1\nexec {sys.executable} {command}\n"
        job = machine.submit(script, "--array=1-3")
        wait_for(lambda: len(maps_in(lab / "array")) >= 1)
        machine.run("scancel", f"{job}_3")
        machine.wait_for(job)
        assert "CANCELLED" in machine.states(job)
        assert not (lab / "array" / "DONE").exists()
        machine.wait_for(machine.submit(script, "--array=1-3"))
    finally:
        machine.stop()
    assert (lab / "array" / "DONE").exists()
    assert (maps_in(lab / "array"), cells_of(lab, "array")) == expected
