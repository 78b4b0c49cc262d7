"""A ledger of finished boxes, and what it must survive."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import pickle
import signal
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdeep3m.errors import FormatError, RunError
from cdeep3m.runs.ledger import ENTRY, HEADER, SUFFIX, Ledger, open_ledger, share_of

if TYPE_CHECKING:
    from pathlib import Path

RUN = {"volume": "cells.tif 10 x 20 x 30", "nets": "1fm,3fm"}


def opened(folder: Path, *, boxes: int = 10, **other: str) -> Ledger:
    return open_ledger(folder, boxes=boxes, run=RUN | other)


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def test_a_new_ledger_misses_every_box(tmp_path):
    ledger = opened(tmp_path / "new" / "ledger")
    assert ledger.missing().tolist() == list(range(10))
    assert not ledger.finished().any()


def test_marked_boxes_are_finished_for_whoever_opens_it_next(tmp_path):
    writer = opened(tmp_path).writer()
    writer.mark(3)
    writer.mark(7, 0)
    assert opened(tmp_path).missing().tolist() == [1, 2, 4, 5, 6, 8, 9]


def test_a_box_may_be_marked_again_by_anyone(tmp_path):
    for _ in range(3):
        opened(tmp_path).writer().mark(4, 4)
    assert np.flatnonzero(opened(tmp_path).finished()).tolist() == [4]


def test_two_writers_never_share_a_file(tmp_path):
    ledger = opened(tmp_path)
    first, second = ledger.writer(), ledger.writer()
    first.mark(1)
    second.mark(2)
    assert len(shards(tmp_path)) == 2


@pytest.mark.parametrize("box", [-1, 10, 2**63])
def test_a_box_that_is_not_there_is_refused(tmp_path, box):
    writer = opened(tmp_path).writer()
    with pytest.raises(ValueError, match=f"no box {box} among 10"):
        writer.mark(0, box)
    assert len(opened(tmp_path).missing()) == 10


@given(kept=st.integers(0, 5 * ENTRY.itemsize))
def test_entries_count_up_to_wherever_a_file_is_cut(tmp_path_factory, kept):
    folder = tmp_path_factory.mktemp("cut")
    opened(folder).writer().mark(5, 6, 7, 8, 9)
    (shard,) = shards(folder)
    os.truncate(shard, kept)
    assert np.flatnonzero(opened(folder).finished()).tolist() == [5, 6, 7, 8, 9][: kept // ENTRY.itemsize]


@given(at=st.integers(0, 3 * ENTRY.itemsize - 1), bit=st.integers(0, 7))
def test_an_entry_with_a_wrong_bit_does_not_count(tmp_path_factory, at, bit):
    folder = tmp_path_factory.mktemp("bit")
    opened(folder).writer().mark(5, 6, 7)
    (shard,) = shards(folder)
    content = bytearray(shard.read_bytes())
    content[at] ^= 1 << bit
    shard.write_bytes(content)
    expected = [5, 6, 7]
    del expected[at // ENTRY.itemsize]
    assert np.flatnonzero(opened(folder).finished()).tolist() == expected


def test_zeros_that_a_crash_left_do_not_count(tmp_path):
    opened(tmp_path)
    (tmp_path / f"crashed{SUFFIX}").write_bytes(bytes(10 * ENTRY.itemsize))
    assert len(opened(tmp_path).missing()) == 10


def test_after_a_full_disk_later_entries_count(tmp_path, monkeypatch):
    write = os.write
    writer = opened(tmp_path).writer()
    monkeypatch.setattr(os, "write", lambda file, content: write(file, content[:5]))
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        writer.mark(1)
    monkeypatch.undo()
    writer.mark(2)
    assert np.flatnonzero(opened(tmp_path).finished()).tolist() == [2]


def test_entries_of_another_run_do_not_count(tmp_path):
    opened(tmp_path / "a").writer().mark(1)
    opened(tmp_path / "b", nets="5fm")
    (shard,) = shards(tmp_path / "a")
    shard.rename(tmp_path / "b" / shard.name)
    assert len(opened(tmp_path / "b", nets="5fm").missing()) == 10


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"nets": "5fm"}, "expected nets 5fm, found 1fm,3fm"), ({"boxes": 11}, "expected boxes 11, found 10")],
)
def test_the_ledger_of_another_run_is_refused(tmp_path, changed, named):
    opened(tmp_path)
    with pytest.raises(RunError, match=named):
        opened(tmp_path, **changed)


def test_a_run_with_less_to_it_is_another_one(tmp_path):
    opened(tmp_path, precision="fast")
    with pytest.raises(RunError, match="expected precision not given, found fast"):
        opened(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]"])
def test_a_damaged_header_is_refused(tmp_path, content):
    (tmp_path / HEADER).write_bytes(content)
    with pytest.raises(FormatError, match=HEADER):
        opened(tmp_path)


def test_a_header_is_whole_or_not_there(tmp_path, monkeypatch):
    def stopped(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", stopped)
    with pytest.raises(KeyboardInterrupt):
        opened(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_of_two_runs_that_begin_at_once_the_second_is_refused(tmp_path, monkeypatch):
    link = os.link

    def overtaken(source: object, target: object) -> None:
        (tmp_path / HEADER).write_text(json.dumps({"boxes": "9", **RUN}))
        link(source, target)

    monkeypatch.setattr(os, "link", overtaken)
    with pytest.raises(RunError, match="expected boxes 10, found 9"):
        opened(tmp_path)


def mark_every_third(folder: Path, first: int, boxes: int) -> None:
    writer = opened(folder, boxes=boxes).writer()
    for box in range(first, boxes, 3):
        writer.mark(box)


def test_processes_mark_at_the_same_time(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=mark_every_third, args=(tmp_path, k, 600)) for k in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(opened(tmp_path, boxes=600).missing()) == 0
    assert len(shards(tmp_path)) == 3


def test_a_writer_that_was_forked_takes_a_file_of_its_own(tmp_path):
    writer = opened(tmp_path).writer()
    process = multiprocessing.get_context("fork").Process(target=writer.mark, args=(1,))
    process.start()
    process.join()
    writer.mark(2)
    assert len(shards(tmp_path)) == 2
    assert np.flatnonzero(opened(tmp_path).finished()).tolist() == [1, 2]


def test_a_writer_that_was_sent_takes_a_file_of_its_own(tmp_path):
    writer = opened(tmp_path).writer()
    writer.mark(1)
    pickle.loads(pickle.dumps(writer)).mark(2)
    assert len(shards(tmp_path)) == 2


def test_a_thread_keeps_its_writer_of_a_ledger(tmp_path):
    for box in range(5):
        pickle.loads(pickle.dumps(opened(tmp_path))).mark(box)
    assert len(shards(tmp_path)) == 1
    threads = [threading.Thread(target=opened(tmp_path).mark, args=(box,)) for box in (5, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened(tmp_path).missing().tolist() == [7, 8, 9]


def mark_and_tell(folder: Path, told: Path) -> None:
    writer = opened(folder, boxes=10**6).writer()
    with told.open("ab", buffering=0) as file:
        for box in range(10**6):
            writer.mark(box)
            file.write(box.to_bytes(4, "little"))


def test_what_was_marked_before_a_kill_is_finished(tmp_path):
    told = tmp_path / "told"
    process = multiprocessing.get_context("fork").Process(target=mark_and_tell, args=(tmp_path / "ledger", told))
    process.start()
    while not told.exists() or told.stat().st_size < 400:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    marked = told.stat().st_size // 4
    finished = np.flatnonzero(opened(tmp_path / "ledger", boxes=10**6).finished())
    assert finished.tolist() in (list(range(marked)), list(range(marked + 1)))


@given(boxes=st.integers(0, 50), of=st.integers(1, 60))
def test_every_box_is_in_one_share(boxes, of):
    numbers = np.arange(boxes) * 2
    shares = [share_of(numbers, number=k, of=of) for k in range(1, of + 1)]
    np.testing.assert_array_equal(np.concatenate(shares), numbers)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("number", [0, 4])
def test_a_share_that_is_not_there_is_refused(number):
    with pytest.raises(ValueError, match=f"share {number} of 3"):
        share_of(np.arange(5), number=number, of=3)
