"""The idle watch, with processes of its own and a clock that is moved."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cloud.scripts import CLOUD, load

IDLE = CLOUD / "idle.py"

BUSY = {
    "a command": ["/opt/cdeep3m/bin/python3", "-m", "cdeep3m.cli.runprediction", "trained", "images", "predicted"],
    "a command by its script": ["/bin/sh", "/usr/local/bin/cdeep3m-python", "-m", "cdeep3m.cli.main"],
    "Caffe's tool": ["/opt/cdeep3m/bin/python3", "/opt/cdeep3m/bin/caffe.bin", "train"],
    "a job": ["/usr/bin/python3", "/usr/local/bin/cdeep3m-job", "mito", "runprediction.sh"],
    "the installation": ["/usr/bin/python3", "/usr/local/sbin/cdeep3m-boot"],
    "ssh": ["sshd: ubuntu@pts/0"],
    "a newer ssh": ["sshd-session: ubuntu@notty"],
    "a console": ["login -- ubuntu"],
    "the session manager": ["/usr/bin/ssm-session-worker", "me-0123456789abcdef0"],
    "the session manager as a snap": ["/snap/amazon-ssm-agent/9881/ssm-session-worker", "me-0123"],
}
IDLE_WORDS = {
    "the kernel's own": [""],
    "the watch": ["/usr/bin/python3", "/usr/local/sbin/cdeep3m-idle", "30"],
    "ssh that listens": ["sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups"],
    "ssh before the password": ["sshd: [accepted]"],
    "the session manager's agent": ["/usr/bin/amazon-ssm-agent"],
    "a console without anybody": ["/sbin/agetty", "-o", "-p -- \\u", "--noclear", "tty1", "linux"],
    "a reader of our log": ["less", "/var/log/cdeep3m-boot.log"],
    "updates": ["/usr/bin/python3", "/usr/bin/unattended-upgrade"],
    "cloud-init": ["/usr/bin/python3", "/usr/bin/cloud-init", "modules", "--mode=final"],
}


@pytest.fixture
def idle(tmp_path):
    """The program, with the processes of `tmp_path/proc` and a clock that stands at `clock[0]` seconds."""
    (tmp_path / "proc").mkdir()
    program = load("idle")
    clock = [1000.0]
    stopped: list[list[str]] = []
    looking = program.find_work
    names = program.main.__globals__
    names["time"] = type("Clock", (), {"CLOCK_BOOTTIME": 7, "clock_gettime": staticmethod(lambda _: clock[0])})
    names["find_work"] = lambda _: looking(tmp_path / "proc")
    names["subprocess"] = type("Stop", (), {"call": staticmethod(lambda words: stopped.append([*words]) or 0)})
    program.clock, program.stopped = clock, stopped
    program.look = lambda minutes="30": program.main([minutes, str(tmp_path / "state"), "stop"])
    return program


@pytest.fixture
def process(tmp_path):
    """Function that starts a process of the folder's own, and ends it when it is called without words."""

    def set_words(words: list[str] | None) -> None:
        folder = tmp_path / "proc" / "4711"
        shutil.rmtree(folder, ignore_errors=True)
        if words is not None:
            folder.mkdir(parents=True)
            (folder / "cmdline").write_bytes("".join(f"{word}\0" for word in words).encode())

    return set_words


@pytest.mark.parametrize("name", BUSY)
def test_machine_stays_on_while_something_of_ours_or_a_login_is_there(idle, process, name):
    process(BUSY[name])
    for _ in range(10):
        idle.clock[0] += 3600
        assert idle.look() == 0
    assert idle.stopped == []


@pytest.mark.parametrize("name", IDLE_WORDS)
def test_machine_stops_while_nothing_but_this_is_there(idle, process, name):
    process(IDLE_WORDS[name])
    idle.look()
    idle.clock[0] += 30 * 60
    idle.look()
    assert idle.stopped == [["stop"]]


def test_machine_stops_after_the_minutes_and_not_before(idle):
    idle.look()
    idle.clock[0] += 30 * 60 - 1
    idle.look()
    assert idle.stopped == []
    idle.clock[0] += 1
    idle.look()
    assert idle.stopped == [["stop"]]


def test_minutes_count_from_the_end_of_the_last_work(idle, process):
    idle.look()
    process(BUSY["a job"])
    idle.clock[0] += 25 * 60
    idle.look()
    process(None)
    idle.clock[0] += 25 * 60
    idle.look()
    assert idle.stopped == []
    idle.clock[0] += 5 * 60
    idle.look()
    assert idle.stopped == [["stop"]]


def test_machine_that_has_just_started_is_not_idle_whatever_a_note_says(idle, tmp_path):
    (tmp_path / "state").write_text("90000.0\n")
    idle.clock[0] = 5.0
    idle.look()
    assert idle.stopped == []
    assert float((tmp_path / "state").read_text()) == 5.0


@pytest.mark.parametrize("note", ["", "rubbish", "nan\n"])
def test_note_that_says_nothing_begins_anew(idle, tmp_path, note):
    (tmp_path / "state").write_text(note)
    idle.look()
    assert idle.stopped == []
    idle.clock[0] += 30 * 60
    idle.look()
    assert idle.stopped == [["stop"]]


@pytest.mark.parametrize("words", [[], ["0"], ["-5"], ["soon"]])
def test_wrong_minutes_are_one_line(capsys, words):
    assert load("idle").main(words) == 1
    assert capsys.readouterr().err.count("\n") == 1


NAMESPACES = ("unshare", "--time", "--pid", "--mount", "--mount-proc", "--fork")


def look_really(state: Path, *, after: int, clock: str = "--boottime") -> str:
    """Run the program itself, alone on its machine, where that clock of the kernel's is `after` seconds ahead."""
    command = [sys.executable, IDLE, "60", state, "touch", f"{state}.stopped"]
    done = subprocess.run([*NAMESPACES, clock, str(after), *command], capture_output=True, text=True, check=False)
    if done.stderr.startswith("unshare: "):
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can move the kernel's clocks")
def test_kernel_s_own_clock_moved_ahead_stops_the_machine(tmp_path):
    state = tmp_path / "state"
    assert look_really(state, after=0).startswith("busy: ")
    since = float(state.read_text())
    assert since == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=60)
    assert look_really(state, after=3400).startswith("idle for ")
    assert not Path(f"{state}.stopped").exists()
    assert "stopping this machine" in look_really(state, after=3700)
    assert Path(f"{state}.stopped").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can move the kernel's clocks")
def test_other_clocks_of_the_kernel_do_not_count(tmp_path):
    state = tmp_path / "state"
    look_really(state, after=0)
    assert "stopping" not in look_really(state, after=3700, clock="--monotonic")
