"""The disk of the trials: only what it is asked to stop is stopped, and at that operation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from soak import disk

BEGIN = """
import os, sys
from soak import disk
assert disk.settle()
folder = os.path.realpath(sys.argv[1])
os.chdir(folder)
"""


@pytest.fixture(scope="module")
def loaded():
    """What has a program load the library."""
    more = disk.environment()
    if not more:
        pytest.skip("no C compiler, or not Linux")
    return more


@pytest.fixture
def run(tmp_path, loaded):
    """Run a program in a folder; the library's file is kept for the next one."""

    def call(program: str) -> subprocess.CompletedProcess[str]:
        library = {"LD_PRELOAD": loaded["LD_PRELOAD"]}
        return subprocess.run(
            [sys.executable, "-c", BEGIN + program, tmp_path],
            env={**os.environ, **library, "PYTHONPATH": str(Path(__file__).parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )

    return call


def test_a_write_is_cut_short_when_the_disk_becomes_full(run, tmp_path):
    begin = "disk.arm(folder, 3, 'ENOSPC'); f = open('x', 'wb', 0); f.write(b'1234')"
    done = run(f"{begin}; print(f.write(b'5678')); f.write(b'9')")
    assert done.stdout == "2\n"
    assert "No space left on device" in done.stderr
    assert (tmp_path / "x").read_bytes() == b"123456"


def test_files_can_be_removed_from_a_full_disk(run, tmp_path):
    done = run("open('x', 'wb').close(); disk.arm(folder, 1, 'ENOSPC'); os.rename('x', 'y'); os.remove('y')")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_kill_comes_in_the_middle_of_a_write(run, tmp_path):
    done = run("disk.arm(folder, 2, 'SIGKILL'); open('x', 'wb', 0).write(b'1234')")
    assert done.returncode == -9
    assert (tmp_path / "x").read_bytes() == b"12"


@pytest.mark.parametrize("program", ["os.mkdir('x')", "open('x', 'wb')", "os.symlink('y', 'x')"])
def test_a_broken_disk_refuses(program, run):
    assert "Input/output error" in run(f"disk.arm(folder, 1, 'EIO'); {program}").stderr


def test_a_file_cannot_be_read_from_a_broken_disk(run):
    done = run(
        "open('x', 'wb').write(b'12'); disk.arm(folder, 2, disk.READING); f = open('x', 'rb', 0); f.read(1); f.read(1)"
    )
    assert "Input/output error" in done.stderr


def test_other_folders_do_not_count(run, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "x"
    done = run(f"disk.arm(folder, 1, 'SIGKILL'); open({str(other)!r}, 'wb').write(b'1'); print(disk.operations())")
    assert done.stdout == "0\n"


def test_what_hdf5_writes_counts(run):
    done = run("import h5py; disk.arm(folder, 0, ''); h5py.File('x.h5', 'w').close(); print(disk.operations())")
    assert int(done.stdout) > 3
