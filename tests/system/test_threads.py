from __future__ import annotations

import threading

import pytest

from cdeep3m.system import threads as system_threads
from cdeep3m.system.threads import Behind, ahead, begin, for_each, spread


def test_items_come_in_order_and_all():
    assert list(ahead(range(100), depth=3)) == list(range(100))


def test_an_error_comes_where_its_item_would_have_come():
    def items():
        yield 1
        raise ValueError("broken")

    made = ahead(items(), depth=2)
    assert next(made) == 1
    with pytest.raises(ValueError, match="broken"):
        next(made)


def test_no_more_than_depth_items_are_made_ahead():
    made: list[int] = []

    def items():
        for k in range(50):
            made.append(k)
            yield k

    consumer = ahead(items(), depth=2)
    assert next(consumer) == 0
    threading.Event().wait(0.3)
    assert made == [0, 1, 2]
    consumer.close()


def test_an_early_stop_ends_the_thread():
    consumer = ahead(iter(range(10**9)), depth=2)
    next(consumer)
    consumer.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "ahead"]


def test_an_error_in_the_background_reaches_the_caller():
    def fail():
        raise OSError(28, "No space left on device")

    def twice():
        with Behind(depth=1) as behind:
            behind.call(fail)
            behind.call(print)

    with pytest.raises(OSError, match="No space"):
        twice()


def test_the_last_call_s_error_is_not_lost():
    def fail():
        raise ValueError("last")

    def once():
        with Behind(depth=4) as behind:
            behind.call(fail)

    with pytest.raises(ValueError, match="last"):
        once()


@pytest.fixture(params=[1, 2, 5])
def threads(request, monkeypatch):
    monkeypatch.setattr(system_threads, "processors", lambda: request.param)
    return request.param


def test_spread_results_come_in_order(threads):
    def late_if_even(k):
        threading.Event().wait(0.002 * (k % 2 == 0))
        return k

    assert list(spread(late_if_even, range(40))) == list(range(40))
    assert list(spread(late_if_even, [])) == []


def test_spread_runs_no_further_ahead_than_it_has_threads(threads):
    begun: list[int] = []
    results = spread(begun.append, range(50))
    next(results)
    threading.Event().wait(0.1)
    assert len(begun) <= 2 * threads
    results.close()
    assert len(begun) <= 2 * threads


def test_a_spread_error_comes_in_its_place_and_ends_the_rest(threads):
    done: list[int] = []

    def call(k):
        if k == 10:
            raise ValueError("broken")
        done.append(k)

    with pytest.raises(ValueError, match="broken"):
        for_each(call, range(1000))
    assert set(range(10)) <= set(done)
    assert len(done) <= 10 + 2 * threads


def test_what_is_begun_runs_beside_and_hands_over_what_it_made_or_raised():
    waits = threading.Event()
    future = begin(waits.wait, 10)
    assert not future.done()
    waits.set()
    assert future.result() is True
    with pytest.raises(ZeroDivisionError):
        begin(divmod, 1, 0).result()
