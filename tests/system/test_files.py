from __future__ import annotations

import io
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from cdeep3m.errors import CDeep3MError, InputError, RunError, describe, failing_with
from cdeep3m.system import files
from cdeep3m.system.files import LEFT_TO_SYSTEM, MOST_ON_THEIR_WAY, Settling, whole_file, write_text
from cdeep3m.volumes.hdf5 import write_datasets, write_small
from cdeep3m.volumes.png import write_plane, write_rows


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    target = tmp_path / "plane.png"
    with whole_file(target) as partial:
        assert partial.suffix == ".png"
        partial.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["plane.png"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "plane.png"
    write_text(target, "old")

    def fail():
        with whole_file(target) as partial:
            partial.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fail()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["plane.png"]


def test_a_full_disk_is_told_as_such():
    assert "disk is full" in describe(OSError(28, "No space left on device", "plane.png"))


def test_a_stage_gives_its_exit_status_to_every_error():
    with pytest.raises(CDeep3MError) as caught, failing_with(4):
        raise InputError("no images")
    assert caught.value.exit_code == 4
    with pytest.raises(RunError, match="disk is full") as caught, failing_with(10):
        raise OSError(28, "No space left on device")
    assert caught.value.exit_code == 10


def test_what_killed_processes_were_writing_is_removed_by_the_next_one(tmp_path):
    for name in (".a.partial-1.png", ".out.partial-7"):
        (tmp_path / name).mkdir() if name.endswith("7") else (tmp_path / name).touch()
    files._swept.clear()
    write_text(tmp_path / "b.txt", "b")
    assert [path.name for path in tmp_path.iterdir()] == ["b.txt"]


def test_what_a_living_process_writes_stays(tmp_path):
    with whole_file(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        assert files.sweep(tmp_path) == 0
        assert partial.exists()
    assert (tmp_path / "a.txt").read_text() == "half"


@pytest.mark.parametrize("length", [200, 250, 255])
def test_the_longest_names_can_be_written(tmp_path, length):
    write_text(tmp_path / ("n" * length), "x")
    assert (tmp_path / ("n" * length)).read_text() == "x"


def test_a_file_is_on_the_disk_before_its_name_and_its_name_before_the_end(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(files, "flush", lambda path: done.append(path.name))
    with whole_file(tmp_path / "a.txt") as partial:
        partial.write_text("x")
    assert done == [partial.name, tmp_path.name]


def test_settling_files_have_their_names_at_once_and_are_on_the_disk_at_the_end(tmp_path, monkeypatch):
    done, flush = [], files._flush

    def noted(descriptor):
        flush(descriptor)
        done.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(files, "_flush", noted)
    with Settling() as settling:
        for k in range(3 * MOST_ON_THEIR_WAY):
            write_text(tmp_path / f"{k}.txt", str(k), naming=settling)
            assert (tmp_path / f"{k}.txt").read_text() == str(k)
    assert {path.stat().st_ino for path in tmp_path.iterdir()} == set(done[:-2])
    assert set(done[-2:]) == {tmp_path.stat().st_ino, tmp_path.parent.stat().st_ino}, "names come last, once"


def test_no_more_files_are_on_their_way_than_may_be_open(tmp_path, monkeypatch):
    held, most = threading.Semaphore(0), []

    def slow(descriptor):
        most.append(len(os.listdir("/proc/self/fd")))
        held.acquire()

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(files, "_flush", slow)
    timer = threading.Timer(0.3, held.release, args=(200,))
    timer.start()
    with Settling() as settling:
        for k in range(2 * MOST_ON_THEIR_WAY):
            write_text(tmp_path / f"{k}.txt", "", naming=settling)
    timer.join()
    assert MOST_ON_THEIR_WAY <= max(most) - before <= MOST_ON_THEIR_WAY + 4


def test_a_disk_that_is_full_when_files_settle_is_told_and_leaves_no_half_file(tmp_path, monkeypatch):
    flush = files._flush

    def full(descriptor):
        if os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")) == "2.txt":
            raise OSError(28, "No space left on device")
        flush(descriptor)

    monkeypatch.setattr(files, "_flush", full)

    def write():
        with Settling() as settling:
            for k in range(3):
                write_text(tmp_path / f"{k}.txt", str(k), naming=settling)

    with pytest.raises(OSError, match="No space") as caught:
        write()
    assert caught.value.filename == str(tmp_path / "2.txt")
    assert not (tmp_path / "2.txt").exists()
    assert not [path for path in tmp_path.iterdir() if files.is_partial(path.name)]


def test_an_error_of_the_work_is_not_hidden_by_what_settles(tmp_path, monkeypatch):
    def failing(descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "_flush", failing)

    def work():
        with Settling() as settling:
            write_text(tmp_path / "a.txt", "a", naming=settling)
            raise ValueError("the work")

    with pytest.raises(ValueError, match="the work"):
        work()


def test_what_is_left_to_the_system_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_flush", lambda descriptor: pytest.fail("waited"))
    write_text(tmp_path / "a.txt", "a", naming=LEFT_TO_SYSTEM)
    assert (tmp_path / "a.txt").read_text() == "a"


@pytest.mark.parametrize("name", ["../x", "/x", "", ".", "..", ".x", "a/b", "a\0"])
def test_names_of_strangers_are_plain(name):
    with pytest.raises(InputError, match="plain name"):
        files.demand_plain_name(name, what="the net")


def test_an_output_that_is_an_input_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "link").symlink_to("images")
    with pytest.raises(RunError, match="is what is read"):
        files.demand_apart(tmp_path / "link", [tmp_path / "images"])
    files.demand_apart(tmp_path / "images" / "out", [tmp_path / "images"])


def test_a_folder_that_is_a_link_is_not_written_through(tmp_path):
    (tmp_path / "1fm").symlink_to(tmp_path)
    with pytest.raises(RunError, match="symbolic link"):
        files.own_folder(tmp_path / "1fm")


def test_who_sweeps_while_a_file_is_begun_does_no_harm(tmp_path, monkeypatch):
    opened, seen = os.open, []

    def swept(path, *arguments, **options):
        descriptor = opened(path, *arguments, **options)
        if ".partial-" in os.fspath(path) and not seen:
            seen.append(path)
            assert files.sweep(tmp_path) == 1
        return descriptor

    monkeypatch.setattr(os, "open", swept)
    files.write_text(tmp_path / "a.txt", "kept")
    assert seen
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "kept"


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: write_text(folder / "a.txt", "a"),
        lambda folder: write_plane(folder / "a.png", np.zeros((2, 3), np.uint8)),
        lambda folder: write_rows(folder / "a.png", np.zeros((2, 3), np.uint8), at_once=1),
        lambda folder: write_datasets(folder / "a.h5", {"data": np.zeros((2, 3, 4), np.float32)}),
        lambda folder: write_small(folder / "a.h5", {"data": np.zeros((2, 3, 4), np.float32)}),
    ],
    ids=["text", "plane", "rows", "stack", "small"],
)
def test_what_is_empty_is_not_cut_off_as_closing_it_would_wait_for_the_disk(tmp_path, write, monkeypatch):
    owned = files._owned

    def owned_and_full(path, flags):
        descriptor = owned(path, flags)
        os.write(descriptor, b"#" * 2**16)
        return descriptor

    monkeypatch.setattr(files, "_owned", owned_and_full)
    write(tmp_path)
    (written,) = tmp_path.iterdir()
    assert len(written.read_bytes().rstrip(b"#")) < 2**16 == written.stat().st_size


def test_all_of_a_content_is_filled_in_whatever_is_written_at_a_time(tmp_path, monkeypatch):
    class Slow(io.FileIO):
        def write(self, content):
            return super().write(content[:3])

    monkeypatch.setattr(files, "open", lambda path, mode, **options: Slow(path, "r+"), raising=False)
    write_text(tmp_path / "a.txt", "abcdefghij")
    assert (tmp_path / "a.txt").read_text() == "abcdefghij"


def test_names_in_a_list_are_those_of_the_system_whatever_the_locale(tmp_path):
    (tmp_path / "Größe").touch()
    (tmp_path / "list.txt").write_bytes(f"{tmp_path / 'Größe'}\n".encode())
    program = (
        "import os, sys; from cdeep3m.system.files import text_with_names as text; os.stat(text(sys.argv[1])[:-1])"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "list.txt"],
        env={**os.environ, **plain},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_folder_of_that_name_is_told(tmp_path):
    (tmp_path / "page.html").mkdir()
    with pytest.raises(RunError, match="page.html is a folder; expected a file"):
        write_text(tmp_path / "page.html", "text")


def test_a_file_in_place_of_a_folder_is_told(tmp_path):
    (tmp_path / "out").touch()
    for make in (lambda: (tmp_path / "out").mkdir(parents=True), lambda: write_text(tmp_path / "out" / "a.txt", "")):
        with pytest.raises(OSError, match="exists|directory") as caught:
            make()
        assert "a file is where a folder is expected" in describe(caught.value)


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    with pytest.raises(OSError, match="No such file") as caught:
        write_text(tmp_path / "nowhere" / "a.txt", "text")
    assert caught.value.filename == str(tmp_path / "nowhere" / "a.txt")


def test_a_folder_that_cannot_be_removed_is_told(tmp_path, monkeypatch):
    (tmp_path / "Pkg001").mkdir()
    (tmp_path / "Pkg001" / "plane.png").touch()
    with monkeypatch.context() as patched:
        patched.setattr(files.shutil, "rmtree", fail_to_remove)
        with pytest.raises(OSError, match="Input/output"):
            files.remove_folder(tmp_path / "Pkg001")
    files.remove_folder(tmp_path / "Pkg001")
    files.remove_folder(tmp_path / "Pkg001")
    assert list(tmp_path.iterdir()) == []


def fail_to_remove(path):
    raise OSError(5, "Input/output error", str(path))


def test_a_lock_is_not_closed_while_a_program_that_gets_it_is_started(tmp_path):
    """Nets are trained side by side: one may end while the tool of another one is started."""
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with files.locked(tmp_path / "lock"):
            entered.set()
            leave.wait(10)

    other = threading.Thread(target=hold)
    other.start()
    entered.wait(10)
    with files.locks_kept:
        (descriptor,) = files.held_locks
        leave.set()
        other.join(0.2)
        assert other.is_alive()
        os.fstat(descriptor)
    other.join(10)
    assert not files.held_locks
