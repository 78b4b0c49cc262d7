from __future__ import annotations

import threading

import pytest

from cdeep3m.background import Background, ahead


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
    assert len(made) <= 5
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
        with Background(depth=1) as background:
            background.call(fail)
            background.call(print)

    with pytest.raises(OSError, match="No space"):
        twice()


def test_the_last_call_s_error_is_not_lost():
    def fail():
        raise ValueError("last")

    def once():
        with Background(depth=4) as background:
            background.call(fail)

    with pytest.raises(ValueError, match="last"):
        once()
