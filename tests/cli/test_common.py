"""How commands end: signals, errors, statuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from cdeep3m.cli import common
from cdeep3m.errors import EngineError

LONG = """
import time
from cdeep3m.cli.common import run

def work():
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("tidied up", flush=True)

raise SystemExit(run(work, debug=False))
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_command_that_is_asked_to_stop_tidies_up_and_says_so(number, status):
    command = subprocess.Popen(
        [sys.executable, "-c", LONG], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert command.stdout.readline() == "begun\n"
    command.send_signal(number)
    out, err = command.communicate(timeout=30)
    assert (out, command.returncode) == ("tidied up\n", status)
    assert err == "Interrupted. The same command goes on where this one stopped.\n"


def test_hangup_that_nohup_has_ignored_stays_ignored():
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert common.run(lambda: os.kill(os.getpid(), signal.SIGHUP), debug=False) == 0
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_handlers_are_as_before_after_a_command():
    before = [signal.getsignal(number) for number in common.TO_STOP]
    common.run(lambda: time.sleep(0), debug=False)
    assert [signal.getsignal(number) for number in common.TO_STOP] == before


def test_error_is_one_line_with_its_status(capsys):
    def fail():
        raise EngineError("no GPU: buy one")

    assert common.run(fail, debug=False) == 1
    assert capsys.readouterr().err == "ERROR, no GPU: buy one\n"
