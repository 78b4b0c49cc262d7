"""How the runs in some folders stand, from what they leave on disk: for other shells, machines and days.

A run that this release made tells it in its events. Of others, the original's among them, markers and maps are counted.
"""

from __future__ import annotations

import os
import re
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from cdeep3m.errors import FormatError
from cdeep3m.runs.events import EVENTS, FINISHED, Event, last_attempt, read_events
from cdeep3m.runs.names import DONE, ERROR, KILL, MAP_PLANES
from cdeep3m.runs.pace import Pace
from cdeep3m.runs.recipe import followed
from cdeep3m.system.files import small_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Kind = Literal["training", "prediction"]
State = Literal["running", "finished", "failed", "interrupted", "stopped", "killed", "silent", "begun", "unknown"]
"""silent: on another machine, and not heard of for `SILENCE`; begun: made by others, and not finished."""

SILENCE = 600.0
"""Seconds without an event after which a run on another machine is no longer said to be running."""
DEPTH = 2
"""Folders below the given one in which runs are looked for."""
_SIZE = re.compile(r"^imagesize=(\d+) x", re.MULTILINE)
_MODELS = re.compile(r"^models=(.+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class JobState:
    """One net of a run.

    Attributes
    ----------
    name : str
        The net.
    done, total : int
        Planes or iterations.
    loss : float, optional
        The last one.
    rate : float, optional
        Planes or iterations a second, lately.
    left : float, optional
        Seconds to come for this net, if it runs.
    """

    name: str
    done: int
    total: int
    loss: float | None = None
    rate: float | None = None
    left: float | None = None


@dataclass(frozen=True, kw_only=True)
class RunState:
    """One run.

    Attributes
    ----------
    folder : Path
    kind : {"training", "prediction"}
    state : str
        See `State`.
    began, updated : float, optional
        Seconds since 1970 of its last beginning, and of its last event.
    engine, host : str
        What runs it, and where; empty where that is not known.
    jobs : tuple of JobState
        Its nets, in order.
    warnings : tuple of str
        Of the last attempt.
    message : str
        What ended it, where it failed.
    recipe : str
        The recipe that a training follows, in words; empty for one that trains as the original does.
    """

    folder: Path
    kind: Kind
    state: State
    began: float | None = None
    updated: float | None = None
    engine: str = ""
    host: str = ""
    jobs: tuple[JobState, ...] = ()
    warnings: tuple[str, ...] = ()
    message: str = ""
    recipe: str = ""


@dataclass(frozen=True)
class _Part:
    """What one file of events tells: a whole prediction, or one net of a training."""

    name: str
    events: list[Event] = field(default_factory=list)


def prediction_events(folder: Path) -> Path:
    """Return where a prediction keeps its events."""
    return folder / "logs" / EVENTS


def training_events(folder: Path, net: str) -> Path:
    """Return where a training keeps the events of a net."""
    return folder / net / "log" / EVENTS


def kind_of(folder: Path) -> Kind | None:
    """Return what kind of run a folder holds, None for no run."""
    if (folder / "predict.config").is_file() or prediction_events(folder).is_file():
        return "prediction"
    nets = any(folder.glob("*/solver.prototxt"))
    return "training" if nets else None


def runs_in(folder: Path, *, depth: int = DEPTH) -> Iterator[Path]:
    """Yield the runs in a folder: itself, or those a few levels below it, by name."""
    if kind_of(folder):
        yield folder
        return
    if depth:
        try:
            below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        except OSError:
            return
        for path in below:
            yield from runs_in(path, depth=depth - 1)


def state_of(folder: Path, *, now: float | None = None) -> RunState | None:
    """Return how a run stands; None where the folder holds none.

    Parameters
    ----------
    folder : Path
    now : float, optional
        Seconds since 1970; default: the clock's.
    """
    kind = kind_of(folder)
    if kind is None:
        return None
    moment = time.time() if now is None else now
    parts = _parts(folder, kind)
    if not any(part.events for part in parts):
        return _from_markers(folder, kind)
    told = [(part, last_attempt(part.events)) for part in parts if part.events]
    states = [_state(events, moment) for _, events in told]
    waiting = [part for part in parts if not part.events]
    newest = max(told, key=lambda one: one[1][0].time)[1]
    jobs = [job for part, events in told for job in _jobs(part.name, part.events, events, moment)]
    goes_on = bool(waiting) and _alive_here(newest[0])
    waits = bool(waiting) or (kind == "prediction" and not (folder / DONE).exists())  # shares of others to come
    state: State = "running" if goes_on else _whole(states, waiting=waits)
    return RunState(
        folder=folder,
        kind=kind,
        state=state,
        began=min(events[0].time for _, events in told),
        updated=max(events[-1].time for _, events in told),
        engine=str(newest[0].values.get("engine", "")),
        host=str(newest[0].values.get("host", "")),
        jobs=(*jobs, *(JobState(name=part.name, done=0, total=0) for part in waiting)),
        warnings=tuple(str(e.values.get("text", "")) for _, events in told for e in events if e.name == "warning"),
        message=next((str(es[-1].values.get("message", "")) for _, es in told if _failed(es)), ""),
        recipe=_recipe(folder),
    )


def _recipe(folder: Path) -> str:
    try:
        found = followed(folder)
    except FormatError:
        return ""
    return found.words if found else ""


def _failed(events: Sequence[Event]) -> bool:
    return events[-1].name == "ended" and events[-1].values.get("status") == "failed"


def _parts(folder: Path, kind: Kind) -> list[_Part]:
    if kind == "prediction":
        return [_Part("", read_events(prediction_events(folder)))]
    nets = sorted(path.parent.name for path in folder.glob("*/solver.prototxt"))
    parts = [_Part(net, read_events(training_events(folder, net))) for net in nets]
    wanted = _nets_asked_for(folder)
    return [part for part in parts if part.events or not wanted or part.name in wanted]


def _nets_asked_for(folder: Path) -> set[str]:
    """Return the nets in parallel.jobs, where it is there: every twelfth line but one."""
    try:
        return set(small_text(folder / "parallel.jobs", errors="replace").splitlines()[10::12])
    except (OSError, ValueError):
        return set()


def _state(events: Sequence[Event], now: float) -> State:
    last = events[-1]
    if last.name == "ended":
        said = last.values.get("status")
        return said if said in ("finished", "failed", "interrupted", "stopped") else "unknown"
    if events[0].values.get("host") == socket.gethostname():
        return "running" if _alive_here(events[0]) else "killed"
    return "running" if now - last.time < SILENCE else "silent"


def _alive_here(began: Event) -> bool:
    pid = began.values.get("pid")
    if began.values.get("host") != socket.gethostname() or not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _whole(states: Sequence[State], *, waiting: bool) -> State:
    """Return the state of a run from those of its parts: the liveliest, or else the worst."""
    for state in ("running", "failed", "killed", "silent", "stopped", "interrupted", "unknown"):
        if state in states:
            return state
    return "begun" if waiting else FINISHED


def _jobs(name: str, events: Sequence[Event], attempt: Sequence[Event], now: float) -> Iterator[JobState]:
    """Yield the nets that progress was noted of, in their order; rates come from the last attempt alone."""
    names = list(dict.fromkeys(str(e.values.get("name")) for e in events if e.name == "progress"))
    if not names and name:
        yield JobState(name=name, done=0, total=0)
    for job in names:
        noted = [e for e in events if e.name == "progress" and e.values.get("name") == job]
        pace = Pace()
        for event in attempt:
            if event.name == "progress" and event.values.get("name") == job:
                pace.note(event.time, int(event.values.get("done", 0)))
        last = noted[-1].values
        done, total = int(last.get("done", 0)), int(last.get("total", 0))
        left = pace.left(total)
        runs = left is not None and done < total and attempt[-1].name != "ended"
        yield JobState(
            name=job,
            done=done,
            total=total,
            loss=last.get("loss"),
            rate=pace.rate,
            left=max(0.0, left - (now - noted[-1].time)) if runs and left is not None else None,
        )


def _from_markers(folder: Path, kind: Kind) -> RunState:
    """Return what markers, maps and snapshots tell of a run that left no events."""
    if kind == "training":
        nets = sorted(path.parent.name for path in folder.glob("*/solver.prototxt"))
        jobs = tuple(_snapshots(folder, net) for net in nets)
        return RunState(folder=folder, kind=kind, state="unknown", jobs=jobs, recipe=_recipe(folder))
    config = _text(folder / "predict.config")
    size, models = _SIZE.search(config), _MODELS.search(config)
    total = int(size[1]) if size else 0
    jobs = tuple(
        JobState(name=net, done=sum(1 for _ in (folder / net).glob(MAP_PLANES)), total=total)
        for net in (models[1].strip().split(",") if models else [])
    )
    state: State = "begun"
    if (folder / ERROR).exists():
        state = "failed"
    elif (folder / KILL).exists():
        state = "stopped"
    elif (folder / DONE).exists():
        state = FINISHED
    message = _text(folder / ERROR).split("\n", 1)[0]
    return RunState(folder=folder, kind=kind, state=state, jobs=jobs, message=message)


def _snapshots(folder: Path, net: str) -> JobState:
    numbers = [int(match[1]) for path in (folder / net / "trainedmodel").glob("*_iter_*.caffemodel")
               if (match := re.search(r"_iter_(\d+)$", path.stem))]  # fmt: skip
    total = re.search(r"^max_iter: (\d+)", _text(folder / net / "solver.prototxt"), re.MULTILINE)
    return JobState(name=net, done=max(numbers, default=0), total=int(total[1]) if total else 0)


def _text(path: Path) -> str:
    try:
        return small_text(path, errors="replace")
    except (OSError, ValueError):
        return ""
