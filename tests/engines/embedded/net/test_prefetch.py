"""Reading ahead changes when a batch is made, never which."""

from __future__ import annotations

import threading

import pytest

from cdeep3m.engines.embedded.net.prefetch import Prefetch


def test_batches_come_in_order_and_from_another_thread():
    makers = set()

    def make(number):
        makers.add(threading.get_ident())
        return number

    batches = Prefetch(make)
    assert [batches.next() for _ in range(10)] == list(range(10))
    assert len(makers) == 1
    assert threading.get_ident() not in makers
    batches.close()


def test_seeking_goes_on_there():
    batches = Prefetch(str)
    assert batches.next() == "0"
    batches.seek(7)
    assert [batches.next(), batches.next()] == ["7", "8"]
    batches.close()
    assert batches.next() == "9"
    batches.close()


def test_errors_reach_the_caller():
    batches = Prefetch(lambda number: 1 // number)
    with pytest.raises(ZeroDivisionError):
        batches.next()
    batches.close()
