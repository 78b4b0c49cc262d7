"""`cdeep3m status`: what runs here, how far it is, and when it will be done."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdeep3m.cli.common import CommandParser, run
from cdeep3m.cli.progress import duration, speed

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from cdeep3m.runs.states import JobState, RunState

DESCRIPTION = """\
Say what runs in the given folders, how far it is and when it will be done; also from another shell or machine, and of
runs that are finished, failed or killed.

  RUN  folder of a training or a prediction, or a folder with some below it (default: this one)
"""

SECONDS = 2.0
"""Between two looks with --watch."""
SCHEMA = 1
"""Version of what --json prints; a key that goes or changes its meaning raises it."""
CLEAR = "\x1b[H\x1b[J"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("cdeep3m status", description=DESCRIPTION)
    parser.add_argument("--json", action="store_true", help="print JSON, one line a look")
    parser.add_argument("--watch", action="store_true", help="look again every 2 s, until nothing runs any more")
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN")
    options = parser.parse(argv)
    return run(lambda: _status(options), debug=options.debug, how_to_go_on="The runs go on.")


def _status(options: argparse.Namespace) -> None:
    from cdeep3m.errors import MissingFileError

    folders = options.runs or [Path()]
    for folder in folders:
        if not folder.is_dir():
            raise MissingFileError(f"{folder} is no folder; expected that of a training or a prediction, or one above")
    while True:
        states = _states(folders)
        shown = json.dumps(as_json(states)) if options.json else _lines(states)
        clear = CLEAR if options.watch and not options.json and sys.stdout.isatty() else ""
        print(clear + shown, flush=True)
        if not options.watch or all(state.state not in ("running", "begun") for state in states):
            return
        time.sleep(SECONDS)


def _states(folders: Sequence[Path]) -> list[RunState]:
    from cdeep3m.runs.states import runs_in, state_of

    found = [state_of(run) for folder in folders for run in runs_in(folder)]
    return [state for state in found if state]


def as_json(states: Sequence[RunState]) -> dict[str, Any]:
    """Return what `--json` prints; docs/user-guide.md describes the keys."""
    return {"schema": SCHEMA, "time": round(time.time(), 3), "runs": [_run(state) for state in states]}


def _run(state: RunState) -> dict[str, Any]:
    names = ("kind", "state", "began", "updated", "engine", "host", "message", "recipe")
    return {
        "folder": str(state.folder),
        **{name: getattr(state, name) for name in names},
        "warnings": list(state.warnings),
        "jobs": [_job(job) for job in state.jobs],
    }


def _job(job: JobState) -> dict[str, Any]:
    rounded = {name: None if (value := getattr(job, name)) is None else round(value, 4) for name in ("rate", "left")}
    return {"name": job.name, "done": job.done, "total": job.total, "loss": job.loss, **rounded}


def _lines(states: Sequence[RunState]) -> str:
    return "\n".join(line for state in states for line in _run_lines(state)) or "no run here"


def _run_lines(state: RunState) -> list[str]:
    ago = f", last heard of {duration(max(0.0, time.time() - state.updated))} ago" if state.updated else ""
    where = f" on {state.host}" if state.host and state.state in ("running", "silent") else ""
    lines = [f"{state.folder}: {state.kind} {state.state}{where}{ago}"]
    if state.recipe:
        lines.append(f"  recipe {state.recipe}")
    unit = "iteration" if state.kind == "training" else "plane"
    lines += [f"  {_job_line(job, unit)}" for job in state.jobs]
    if state.warnings:
        more = f" (and {len(state.warnings) - 1} more)" if len(state.warnings) > 1 else ""
        lines.append(f"  warning: {state.warnings[-1]}{more}")
    return [*lines, f"  {state.message}"] if state.message else lines


def _job_line(job: JobState, unit: str) -> str:
    if not job.total:
        return f"{job.name}: waits" if not job.done else f"{job.name}: {unit} {job.done}"
    parts = [f"{job.name}: {unit} {job.done} of {job.total}"]
    if job.loss is not None:
        parts.append(f"loss {job.loss:.4g}")
    if job.rate and job.done < job.total:
        parts.append(speed(job.rate, unit))
    if job.left is not None:
        parts.append(f"about {duration(job.left)} left")
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
