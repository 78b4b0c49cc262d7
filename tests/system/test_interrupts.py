"""What must be done whole is, however often somebody presses Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest

from cdeep3m.system.interrupts import SIGNALS, interrupting_again, uninterrupted


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_waits_for_the_end_of_the_block_and_is_not_lost():
    done = []

    @uninterrupted()
    def work():
        press_ctrl_c()
        press_ctrl_c()
        done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all of it"]


def test_blocks_may_lie_within_each_other():
    done = []

    @uninterrupted()
    def work():
        with uninterrupted():
            press_ctrl_c()
            done.append("inner")
        done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["inner", "outer"]


def test_error_of_the_block_comes_out_and_handlers_are_as_before():
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ValueError, match="its own"), uninterrupted():
        raise ValueError("its own")
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_other_threads_are_never_interrupted_anyway():
    done = []

    def work():
        with uninterrupted():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


class Going:
    """Is interrupted as it goes, where Python ignores what is raised."""

    def __del__(self):
        press_ctrl_c()


def test_an_interrupt_that_python_ignores_comes_again_without_a_traceback(capsys):
    def work():
        with interrupting_again():
            Going()
            time.sleep(10)

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        work()
    assert time.monotonic() - begin < 5
    assert capsys.readouterr().err == ""
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_other_errors_that_python_ignores_are_shown(monkeypatch):
    class Failing:
        def __del__(self):
            raise ValueError("its own")

    shown = []
    monkeypatch.setattr(sys, "unraisablehook", lambda ignored: shown.append(str(ignored.exc_value)))
    with interrupting_again():
        Failing()
    assert shown == ["its own"]


def test_an_alarm_of_somebody_else_s_is_left_alone():
    mine = lambda number, frame: None  # noqa: E731
    signal.signal(signal.SIGALRM, mine)
    try:
        with interrupting_again():
            assert signal.getsignal(signal.SIGALRM) is mine
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
