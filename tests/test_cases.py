"""Files, folders and habits of real users that once ended badly: each is right now.

They lie outside the repository (`CDEEP3M_CASES`, or `../shared/cases`): `cases.py` makes them and says of each whether
it is right, `damaged/` holds broken files. Where they are not at hand these tests skip; the kinds that they are members
of have tests of their own.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(os.environ.get("CDEEP3M_CASES", Path(__file__).parents[2] / "shared" / "cases"))
TABLE = re.compile(r"^\| (\d+) \| ([^|]+) \| `([^`]+)` \|", re.MULTILINE)
RUN = """
import json, re, sys
from pathlib import Path
from soak.trial import load, run

load()
found = {}
for name, words in json.loads(sys.argv[2]).items():
    ended = run(words, Path(sys.argv[1]) / name)
    said = "".join(ended.errors)
    named = ended.status == 0 or re.search(r"[\\w-]+[.]\\w+|Pkg|trained|pkg|aug", said)
    found[name] = ended.faults() + ["names no file"] * (not named)
print(json.dumps(found))
"""

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(not (CASES / "cases.py").is_file(), reason=f"no cases at {CASES} (set CDEEP3M_CASES)"),
]


def _names() -> list[str]:
    if not (CASES / "cases.py").is_file():
        return []
    return re.findall(r"^def (\w+)\(ref\)", (CASES / "cases.py").read_text(), re.MULTILINE)


def _damaged() -> dict[str, list[str]]:
    page = CASES / "damaged" / "README.md"
    rows = TABLE.findall(page.read_text()) if page.is_file() else []
    return {number: shlex.split(command) for number, _, command in rows}


@pytest.fixture(scope="module")
def said():
    """Every case's line, by its name."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "cases.py"],
        cwd=CASES,
        env={**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    return {words[1]: " ".join(words) for words in lines if words[0] in ("right", "WRONG")}


@pytest.mark.parametrize("name", _names())
def test_a_case_of_a_user_is_right(said, name):
    assert said[name].startswith("right"), said[name]


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """What was wrong with the command on each folder of damaged files."""
    home = tmp_path_factory.mktemp("damaged")
    for number in _damaged():
        shutil.copytree(CASES / "damaged" / number, home / number, symlinks=True)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(home), json.dumps(_damaged())],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("number", _damaged())
def test_a_damaged_file_ends_in_one_line_that_names_it(faults, number):
    assert faults[number] == []
