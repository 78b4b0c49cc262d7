"""Every command meets every kind of trouble: `python -m soak.everywhere [--only KIND] [COMMAND ...]` prints a table."""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from soak import disk
from soak.jobs import JOBS, Job, commands_without_a_job
from soak.kinds import base, room
from soak.scenes import digest, leftovers
from soak.trial import Ended, Stop, load, own_process, run, start

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

PATIENCE = 60.0
OF_A_PROGRAM = 400.0
"""Seconds for a whole program: demos of full size take minutes where others work, too."""
ODD_NAMES = {"not UTF-8": b"pl\xe4ne", "250 bytes": b"n" * 240, "a line feed": b"line\nfeed", "spaces": b" a  b "}
NO_ROOM = ("full", "quota", "ulimit")


def something_else_in_place_of_a_file(job: Job) -> list[str]:
    """A pipe, an endless device, a link to itself, a folder or nothing lies where a file is read."""
    kinds: dict[str, Callable[[Path], object]] = {
        "pipe": os.mkfifo,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "link to itself": lambda path: path.symlink_to(path.name),
        "folder": os.mkdir,
        "nothing": lambda path: None,
    }
    wrong = []
    for read in job.reads:
        for kind, make in kinds.items():
            with _room() as folder:
                job.make(folder)
                path = folder / read
                path.unlink() if path.exists() else None
                make(path)
                ended = start(list(job.words), folder).end(patience=PATIENCE)
                faults = ended.faults()
                said_of_it = Path(read).name in ended.said or any(name in ended.said for name in job.inputs)
                may_miss = kind == "nothing" and ended.status == 0 and "/" in read  # planes 1 and 3 count on by 2
                may_miss |= read in job.optional
                faults += ["not refused, and not a word"] * (ended.status == 0 and not said_of_it and not may_miss)
                wrong += [f"{kind} as {read}: {fault}: {ended.errors[:1]}" for fault in faults]
    return wrong


def an_output_that_is_an_input(job: Job) -> list[str]:
    """The place to write to is one of those that are read."""
    wrong = []
    for out in job.writes if not job.in_place else ():
        for name in job.inputs:
            with _room() as folder:
                job.make(folder)
                if out not in job.words:
                    continue
                words = [name if word == out else word for word in job.words]
                kept = digest(folder, tuple(path.name for path in folder.iterdir()))
                ended = start(words, folder).end(patience=PATIENCE)
                faults = ended.faults() + ["not refused"] * (ended.status == 0)
                now = digest(folder, tuple(path.name for path in folder.iterdir()))
                faults += ["an input was altered"] * any(now.get(key) != value for key, value in kept.items())
                faults += [f"wrote {key}" for key in list(set(now) - set(kept))[:1] if not key.endswith(".lock")]
                wrong += [f"writes to {name}: {fault}: {ended.errors[:1]}" for fault in faults]
    return wrong


def an_empty_name(job: Job) -> list[str]:
    """One of the names is empty."""
    wrong = []
    for name in (*job.inputs, *job.writes):
        if name in job.words:
            with _room() as folder:
                job.make(folder)
                kept = digest(folder, tuple(path.name for path in folder.iterdir()))
                ended = run(["" if word == name else word for word in job.words], folder)
                now = digest(folder, tuple(path.name for path in folder.iterdir()))
                faults = ["traceback"] * ("Traceback" in ended.said) + ["not refused"] * (ended.status == 0)
                faults += ["something was written"] * (kept != now)
                wrong += [f"empty {name}: {fault}: {ended.said[-200:]}" for fault in faults]
    return wrong


def links_in_place_of_what_is_written(job: Job) -> list[str]:
    """A file that a command writes is there already, as a link to somebody else's file."""
    wrong = []
    with _room() as folder:
        job.make(folder)
        before = {path for path in folder.rglob("*") if path.is_file()}
        run(list(job.words), folder)
        written = sorted(
            path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path not in before
        )
    step = max(1, len(written) // 8)
    for name in written[::step]:
        with _room() as folder:
            job.make(folder)
            mine = folder.parent / "mine"
            mine.write_text("mine")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(mine)
            ended = start(list(job.words), folder).end(patience=PATIENCE)
            faults = ended.faults() + ["written through a link"] * (not mine.exists() or mine.read_text() != "mine")
            wrong += [f"a link as {name}: {fault}: {ended.errors[:1]}" for fault in faults]
    for name in sorted({str(path.parent) for path in written} - {"."}):
        with _room() as folder:
            job.make(folder)
            if (folder / name).exists() or str(name) in job.writes:
                continue
            elsewhere = folder.parent / "elsewhere"
            elsewhere.mkdir()
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(elsewhere)
            ended = start(list(job.words), folder).end(patience=PATIENCE)
            faults = ended.faults() + ["written through a link"] * any(elsewhere.iterdir())
            wrong += [f"a link as {name}: {fault}: {ended.errors[:1]}" for fault in faults]
    return wrong


def no_room(job: Job) -> list[str]:
    """A disk is full at some file, or files may not grow; then there is room again."""
    if not job.writes:
        return []
    expected, wrong = _reference(job), []
    for limit in (0, 600, 3000):
        with _room() as folder:
            job.make(folder)
            ended = run(list(job.words), folder, limits={resource.RLIMIT_FSIZE: limit})
            if len(ended.said) < limit:  # what it says is in a file as well
                wrong += [f"files of {limit} bytes: {fault}" for fault in _pause(ended)]
            wrong += [f"files of {limit} bytes: {fault}" for fault in _goes_on(job, folder, expected)]
    for at in (1, 2, 5, 11, 23):
        with _room() as folder:
            job.make(folder)
            ended = run(list(job.words), folder, stop=Stop("ENOSPC", at))
            wrong += [f"a full disk at {at}: {fault}" for fault in _pause(ended)]
            wrong += [f"a full disk at {at}: {fault}" for fault in _goes_on(job, folder, expected)]
    return wrong


def _pause(ended: Ended) -> list[str]:
    said = any(word in "".join(ended.errors) for word in NO_ROOM)
    return ended.faults() + [f"does not say that there is no room: {ended.errors[:1]}"] * (
        ended.status > 0 and not said
    )


def nobody_listens(job: Job) -> list[str]:
    """Standard output and standard error are closed, full, or read by nobody."""
    expected, wrong = _reference(job), []
    for how in ("closed", "pipe", "full"):
        with _room() as folder:
            job.make(folder)
            ended = run(list(job.words), folder, streams=how)
            wrong += [f"{how}: status {ended.status}"] * (
                ended.status not in (0, *(() if how == "closed" else (141, 1)))
            )
            if ended.status == 0:
                wrong += [f"{how}: {fault}" for fault in _same(job, folder, expected)]
            wrong += [f"{how}: {fault}" for fault in _goes_on(job, folder, expected)]
    return wrong


def odd_names(job: Job) -> list[str]:
    """Inputs and outputs have names that the system allows, and few think of."""
    tops = _names_to_change(job)
    if not tops:
        return []
    expected, wrong = _reference(job), []
    for kind, odd in {**ODD_NAMES, "a hyphen": b"-h"}.items():
        names = {name: f"{os.fsdecode(odd)}{k}{Path(name).suffix}" for k, name in enumerate(tops)}
        if any(name in job.words[: _first_name(job, tops)] for name in tops):  # values of options
            names = {name: f"{os.fsdecode(odd).lstrip('-')}{k}{Path(name).suffix}" for k, name in enumerate(tops)}
        with _room() as folder:
            job.make(folder)
            for name in tops:
                if (folder / name).exists():
                    (folder / name).rename(folder / names[name])
            ended = run(_renamed(job.words, names), folder)
            wrong += [f"{kind}: {fault}" for fault in ended.faults()]
            wrong += [f"{kind}: status {ended.status}: {ended.said[-300:]}"] * (ended.status != 0)
            for name in tops:
                if (folder / names[name]).exists():
                    (folder / names[name]).rename(folder / name)
            wrong += [f"{kind}: {fault}" for fault in _same(job, folder, expected, only_names=True)]
    return wrong


def _names_to_change(job: Job) -> list[str]:
    """Return the names on the command line that may be others; whole paths are in a predict.config."""
    tops = [name for name in dict.fromkeys((*job.inputs, *job.writes)) if name in job.words and "/" not in name]
    return [] if "predict.config" in "".join(job.reads) else [name for name in tops if name != "precomputed:"]


def _first_name(job: Job, tops: list[str]) -> int:
    """Return where the names begin that no option stands before."""
    last = max((k for k, word in enumerate(job.words) if word.startswith("-")), default=0)
    return next(k for k, word in enumerate(job.words) if k > last and word in tops)


def _renamed(words: tuple[str, ...], names: dict[str, str]) -> list[str]:
    """Return the words with `--` before the first name, after all options."""
    last = max((k for k, word in enumerate(words) if word.startswith("-")), default=0)
    first = next(k for k, word in enumerate(words) if k > last and word in names)
    return [
        *(names.get(word, word) for word in words[:first]),
        "--",
        *(names.get(word, word) for word in words[first:]),
    ]


def little_memory(job: Job) -> list[str]:
    """There is next to no memory."""
    wrong = []
    for more in (4 * 2**20, 64 * 2**20):
        with _room() as folder:
            job.make(folder)
            size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            ended = start(list(job.words), folder, limits={resource.RLIMIT_AS: size + more}).end(patience=PATIENCE)
            faults = [fault for fault in ended.faults() if not fault.startswith("memory")]
            wrong += [f"{more} bytes: {fault}: {ended.said[-300:]}" for fault in faults]
    return wrong


def first_moments(job: Job) -> list[str]:
    """Ctrl-C in the first moments of a process of its own; then the same command goes on."""
    wrong = []
    for milliseconds in (15, 40, 90, 160):
        with _room() as folder:
            job.make(folder)
            process = own_process(job.words, folder, {})
            signal.sigtimedwait([], milliseconds / 1000)
            process.send_signal(signal.SIGINT)
            try:
                said, _ = process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                wrong.append(f"{milliseconds} ms: hang")
                continue
            wrong += [f"{milliseconds} ms: {said[-300:]!r}"] * (b"Traceback" in said and b"cdeep3m/cli" in said)
            if job.small:
                continue
            ended = run(list(job.words), folder)
            wrong += [f"{milliseconds} ms: does not go on: {ended.said[-200:]}"] * (ended.status != 0 and not job.once)
            wrong += [f"{milliseconds} ms: left {left}" for left in leftovers(folder)]
    return wrong


def a_plain_locale(job: Job) -> list[str]:
    """LC_ALL=C, without Python's UTF-8 mode, and names beyond ASCII."""
    tops = [name for name in dict.fromkeys((*job.inputs, *job.writes)) if name in job.words and "/" not in name]
    names = {name: f"Größe µm{k}{Path(name).suffix}" for k, name in enumerate(tops)}
    with _room() as folder:
        job.make(folder)
        for name in tops:
            if (folder / name).exists():
                (folder / name).rename(folder / names[name])
        words = _renamed(job.words, names) if names else list(job.words)
        plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        process = own_process(words, folder, plain)
        try:
            said, _ = process.communicate(timeout=OF_A_PROGRAM)
        except subprocess.TimeoutExpired:
            process.kill()
            return ["hang"]
        return [f"status {process.returncode}: {said[-300:]!r}"] * (process.returncode != 0 or b"Traceback" in said)


def _room() -> AbstractContextManager[Path]:
    """Return a room that is always at one place, as there are paths in some files."""
    return room(base() / "room")


def _reference(job: Job) -> dict[str, str]:
    with _room() as folder:
        job.make(folder)
        ended = run(list(job.words), folder)
        if ended.status:
            print(f"WRONG {job.words} does not run: {ended.said[-400:]}", flush=True)
        return digest(folder, job.writes, contents=not job.random)


def _same(job: Job, folder: Path, expected: dict[str, str], *, only_names: bool = False) -> list[str]:
    made = digest(folder, job.writes, contents=not (job.random or only_names))
    wanted = dict.fromkeys(expected, "") if only_names else expected
    names = sorted(set(made) ^ set(wanted)) or [name for name in made if made[name] != wanted[name]]
    return [f"lost or altered: {names[:3]}"] * (made != wanted)


def _goes_on(job: Job, folder: Path, expected: dict[str, str]) -> list[str]:
    ended = run(list(job.words), folder)
    if ended.status and not (job.once and not _same(job, folder, expected)):
        return [f"does not go on: {ended.said[-200:]}"]
    return _same(job, folder, expected) + [f"left {left}" for left in leftovers(folder)]


KINDS: dict[str, Callable[[Job], list[str]]] = {
    kind.__name__: kind
    for kind in (
        something_else_in_place_of_a_file,
        an_output_that_is_an_input,
        an_empty_name,
        links_in_place_of_what_is_written,
        no_room,
        nobody_listens,
        odd_names,
        little_memory,
        first_moments,
        a_plain_locale,
    )
}


APPLIES: dict[str, Callable[[Job], bool]] = {
    "something_else_in_place_of_a_file": lambda job: bool(job.reads),
    "an_output_that_is_an_input": lambda job: not job.in_place and any(out in job.words for out in job.writes),
    "an_empty_name": lambda job: any(name in job.words for name in (*job.inputs, *job.writes)),
    "links_in_place_of_what_is_written": lambda job: bool(job.writes),
    "no_room": lambda job: bool(job.writes),
    "odd_names": lambda job: bool(_names_to_change(job)),
}
"""Which kinds there is something to try of, with which jobs; all others with all."""


def main() -> int:
    """Print what is wrong, and a table of commands and kinds."""
    parser = argparse.ArgumentParser(prog="python -m soak.everywhere", description=__doc__)
    parser.add_argument("--only", choices=KINDS, action="append", help="one kind alone")
    parser.add_argument("commands", nargs="*", help="these commands alone, by the beginnings of their names")
    options = parser.parse_args()
    disk.begin_with("soak.everywhere")
    load()
    table: dict[str, dict[str, int | None]] = {}
    for job in JOBS:
        if options.commands and not job.name.startswith(tuple(options.commands)):
            continue
        for name in options.only or KINDS:
            row = table.setdefault(job.name, {})
            if not APPLIES.get(name, bool)(job):
                row.setdefault(name, None)
                continue
            found = KINDS[name](job)
            row[name] = (row.get(name) or 0) + len(found)
            for words in found:
                print(f"WRONG {' '.join(job.words)[:60]} | {name}: {words[:400]}", flush=True)
    for command, row in table.items():
        print(f"{command:28}", " ".join("-" if count is None else str(count or ".") for count in row.values()))
    print("without a job:", commands_without_a_job() or "none")
    return int(any(any(row.values()) for row in table.values()))


if __name__ == "__main__":
    sys.exit(main())
