"""What must be done whole is, however often somebody presses Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from cdeep3m.system.interrupts import SIGNALS, uninterrupted


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
