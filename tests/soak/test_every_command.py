"""A few commands meet every kind of trouble, and every command is in the table; `make soak-table` runs them all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from soak.everywhere import KINDS
from soak.jobs import JOBS, commands_without_a_job

COMMANDS = ("EnsemblePredictions", "PreprocessTrainingData", "PreprocessImageData", "cdeep3m score")
"""Those that take a moment, and write in different ways."""


def test_every_command_has_a_job():
    assert commands_without_a_job() == set()


def test_jobs_name_what_they_read():
    assert [job.words for job in JOBS if job.reads and not job.inputs and "=" not in "".join(job.words)] == []


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
def test_commands_stand(kind):
    done = subprocess.run(
        [sys.executable, "-m", "soak.everywhere", "--only", kind, *COMMANDS],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
