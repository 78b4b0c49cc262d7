"""Parts of a soak are added up, and shown by command."""

from __future__ import annotations

from soak.counts import add_up, of_kind, summary, table


def test_parts_add_up_in_one_table():
    parts = [{"kill": {"struck": {"caffe": 2, "cdeep3m train": 1}}}, {"damage": {"struck": {"caffe": 5}}}]
    assert table(add_up(parts)) == [
        "| command | kill | damage |",
        "| --- | --- | --- |",
        "| caffe | 2 | 5 |",
        "| cdeep3m train | 1 | 0 |",
        "| in all | 3 | 5 |",
    ]


def test_new_counts_begin_at_their_seed():
    counts = {}
    of_kind(counts, "kill", 700)["trials"] += 3
    assert summary(counts) == ["kill: 3 trials from seed 700, struck 0 times, 0 wrong, 0 s"]
