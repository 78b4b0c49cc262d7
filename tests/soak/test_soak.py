"""The soak in small: a few trials of each kind, and every hostile situation; `make soak` goes on for hours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from soak import disk

pytestmark = pytest.mark.heavy

HERE = Path(__file__).parent
SMALL = """
import json, sys, tempfile
from pathlib import Path
from soak import disk, kinds, strangers, trial

disk.settle()
quick = ("workers", "EnsemblePredictions a b out", "cdeep3m convert images o.zarr")
kinds.SCENES = [scene for scene in kinds.SCENES if scene.name in quick]
trial.load()
reference = kinds.references()
samples = kinds.make_samples(Path(tempfile.mkdtemp(dir=sys.argv[1])))
found = {
    "kill": [kinds.kill(seed, reference) for seed in range(4)],
    "starve": [kinds.starve(seed, reference) for seed in range(2)],
    "damage": kinds.damage(range(60), samples),
}
wrong = {kind: [words for one in all_of_it for words in one.wrong] for kind, all_of_it in found.items()}
struck = {kind: sum(sum(one.struck.values()) for one in all_of_it) for kind, all_of_it in found.items()}
print(json.dumps({**wrong, "strangers": strangers.all_of_them()[1], "struck": struck}))
"""


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    folder = tmp_path_factory.mktemp("soak")
    said = subprocess.run(
        [sys.executable, "-c", SMALL, str(folder)],
        env={
            **{"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
            **disk.environment(),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr[-3000:]
    return json.loads(said.stdout.splitlines()[-1])


def test_hostile_situations_are_contained(wrong):
    assert wrong["strangers"] == []


def test_killed_jobs_go_on_and_lose_nothing(wrong):
    assert wrong["kill"] == []


def test_jobs_go_on_when_there_is_room_again(wrong):
    assert wrong["starve"] == []


def test_damaged_files_end_in_one_line(wrong):
    assert wrong["damage"] == []


def test_something_was_done_to_commands(wrong):
    assert wrong["struck"]["kill"] > 0
    assert wrong["struck"]["damage"] == 60
