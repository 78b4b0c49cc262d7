"""Freed memory is kept while it is wanted, and given back afterwards."""

from __future__ import annotations

import pytest

from cdeep3m.system import memory
from cdeep3m.system import threads as background
from cdeep3m.system.memory import GLIBCS_OWN, KEEP, kept_memory
from cdeep3m.system.threads import for_each


@pytest.fixture
def told(monkeypatch):
    """What the C library was told."""
    told = []
    monkeypatch.setattr(memory, "_set", told.append)
    return told


def test_blocks_that_overlap_keep_it_until_the_last_one_ends(told):
    first, second = kept_memory(), kept_memory()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert told == [KEEP]
    second.__exit__(None, None, None)
    assert told == [KEEP, GLIBCS_OWN]


def test_an_error_gives_it_back(told):
    with pytest.raises(OSError, match="full"), kept_memory():
        raise OSError("full")
    assert told == [KEEP, GLIBCS_OWN]


@pytest.mark.parametrize("processors", [1, 3])
def test_it_is_kept_from_one_item_to_the_next(processors, told, monkeypatch):
    monkeypatch.setattr(background, "processors", lambda: processors)
    seen = []
    for_each(lambda _: seen.append(list(told)), range(4))
    assert seen == [[KEEP]] * 4
    assert told == [KEEP, GLIBCS_OWN]
