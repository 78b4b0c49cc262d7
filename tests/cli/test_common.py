"""How commands end: signals, errors, statuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from cdeep3m.cli import common
from cdeep3m.errors import EngineError, InputError

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


def test_what_nobody_foresaw_is_one_line_without_a_traceback(capsys):
    def fail():
        raise KeyError("odd\n\x1b[2J" + "x" * 9000)

    assert common.run(fail, debug=False) == 1
    said = capsys.readouterr().err
    assert said.startswith("ERROR, unexpected KeyError")
    assert said.count("\n") == 1
    assert len(said) <= 501
    assert "\x1b" not in said


@pytest.mark.parametrize(
    "error", [MemoryError(), RecursionError(), OSError(28, "No space left on device", b"pl\xe4ne")]
)
def test_every_error_has_words(capsys, error):
    def fail():
        raise error

    assert common.run(fail, debug=False) == 1
    assert capsys.readouterr().err.startswith("ERROR, ")


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (RuntimeError("cannot release un-acquired lock"), common.INTERRUPTED, "Interrupted."),
        (InputError("the disk is full"), 1, "ERROR, the disk is full"),
    ],
)
def test_what_becomes_of_ctrl_c_is_an_interrupt_but_errors_that_say_something(error, status, said, capsys):
    def work():
        try:
            raise KeyboardInterrupt
        finally:
            raise error

    assert common.run(work, debug=False) == status
    assert capsys.readouterr().err.startswith(said)


def test_a_library_without_memory_is_no_defect(capsys):
    def work():
        raise RuntimeError("could not create a primitive")

    assert common.run(work, debug=False) == 1
    assert capsys.readouterr().err.startswith("ERROR, out of memory: ")


def test_names_after_two_hyphens_may_begin_with_one():
    parser = common.CommandParser("x")
    parser.add_argument("--gpu")
    for name in ("images", "out", "number"):
        parser.add_argument(name, type=int if name == "number" else str)
    options = parser.parse(["--gpu", "-1", "--", "-images", "--out", "-3"])
    assert (options.gpu, options.images, options.out, options.number) == ("-1", "-images", "--out", -3)


def test_an_empty_name_is_refused(capsys):
    parser = common.CommandParser("x")
    parser.add_argument("out", metavar="OUT")
    with pytest.raises(SystemExit) as ended:
        parser.parse([""])
    assert ended.value.code == 1
    assert "an empty name for OUT" in capsys.readouterr().err


@pytest.mark.parametrize("closed", ["2>&-", "1>&-", "0<&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_do_not_matter(tmp_path, closed):
    code = (
        "from cdeep3m.cli.common import run\n"
        f"def work():\n    open({str(tmp_path / 'made')!r}, 'w').write('x'); print('done')\n"
        "raise SystemExit(run(work, debug=False))"
    )
    ended = subprocess.run(["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code], check=False)
    assert ended.returncode == 0
    assert (tmp_path / "made").read_text() == "x"
