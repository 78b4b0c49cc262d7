"""All benchmarks in one run: a table, and JSON. See `--help`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, amount, table, table_of
from benchmarks.settings import HERE, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

GROUPS = {
    "start-up": "benchmarks.bench_startup",
    "files": "benchmarks.bench_files",
    "prediction": "benchmarks.bench_prediction",
    "training": "benchmarks.bench_training",
    "scaling": "benchmarks.bench_scaling",
    "pipeline": "benchmarks.bench_pipeline",
    "scale": "benchmarks.bench_scale",
    "foresight": "benchmarks.bench_foresight",
    "formats": "benchmarks.bench_formats",
    "gpu": "benchmarks.bench_gpu",
}
"""Name of each group: its module, whose `figures(settings)` yields what it measured. A missing one is left out."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure this checkout, or compare another revision with it."""
    options = parser().parse_args(argv)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="cdeep3m-bench-") as folder:
        settings = Settings(folder=Path(folder), small=options.small, repeats=options.repeats)
        if options.base:
            return compare(options, settings)
        found = {name: measure(name, settings) for name in chosen(options.groups)}
    write_json(options.json, {"machine": machine(), "groups": {k: [f.to_json() for f in v] for k, v in found.items()}})
    print(table_of(figure for figures in found.values() for figure in figures))
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    made.add_argument("--groups", default=",".join(GROUPS), help="comma-separated; default: %(default)s")
    made.add_argument("--small", action="store_true", help="tiny data: runs the code, says nothing about speed")
    made.add_argument("--repeats", type=int, default=2, help="runs of every command, of which the best counts")
    made.add_argument("--folder", type=Path, help="for temporary files, up to 20 GB; default: the system's")
    made.add_argument("--json", type=Path, default=HERE / "build" / "bench.json", help="default: build/bench.json")
    made.add_argument("--base", metavar="REV", help="compare this revision with the files as they are, in turns")
    made.add_argument("--rounds", type=int, default=2, help="turns of a comparison")
    return made


def chosen(groups: str) -> list[str]:
    """Return the groups that are named and there."""
    names = groups.split(",")
    if unknown := [name for name in names if name not in GROUPS]:
        raise SystemExit(f"ERROR, no group {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    missing = [name for name in names if find_spec(GROUPS[name]) is None]
    for name in missing:
        print(f"{name}: left out, there is no {GROUPS[name]}", file=sys.stderr)
    return [name for name in names if name not in missing]


def measure(group: str, settings: Settings) -> list[Figure]:
    """Measure a group, saying each figure as it comes."""
    found = []
    for figure in import_module(GROUPS[group]).figures(settings):
        print(f"{group}: {figure.name} {amount(figure.value, figure.unit)} {amount(figure.ratio)}", file=sys.stderr)
        found.append(figure)
    return found


def compare(options: argparse.Namespace, settings: Settings) -> int:
    """Measure a revision and this checkout in turns; print what each took at best, and how they stand to each other."""
    base = checked_out(options.base, settings.folder / "base")
    trees = {"base": base, "here": HERE}
    best: dict[str, dict[str, Figure]] = {name: {} for name in trees}
    try:
        for _ in range(options.rounds):
            for group in chosen(options.groups):
                for name, tree in trees.items():
                    for figure in measure(group, Settings(**{**vars(settings), "tree": tree})):
                        known = best[name].get(figure.name, figure)
                        best[name][figure.name] = min(known, figure, key=lambda one: one.value)
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", base], cwd=HERE, check=True)
    write_json(options.json, {name: [f.to_json() for f in found.values()] for name, found in best.items()})
    rows = ((name, best["base"].get(name), figure) for name, figure in best["here"].items())
    header = ("figure", options.base, "here", f"here / {options.base}")
    print(table((row_of_comparison(name, before, after) for name, before, after in rows), header))
    return 0


def row_of_comparison(name: str, before: Figure | None, after: Figure) -> tuple[str, str, str, str]:
    """Return a figure of two revisions as a row."""
    relative = after.value / before.value if before and before.value else None
    return name, amount(before.value, before.unit) if before else "", amount(after.value, after.unit), amount(relative)


def checked_out(revision: str, folder: Path) -> Path:
    """Return a checkout of a revision whose commands use this checkout's Python."""
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", folder, revision], cwd=HERE, check=True)
    (folder / ".venv").symlink_to(Path(sys.prefix), target_is_directory=True)
    return folder


def machine() -> dict[str, object]:
    """Say what was measured on, and when."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": processor(), "cores": cores, "load": os.getloadavg(), "date": time.strftime("%Y-%m-%d %H:%M")}


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def write_json(path: Path, content: object) -> None:
    """Write what was measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
