"""What every group of benchmarks is told, and how it runs commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HERE = Path(__file__).parents[2]
LAUNCH = Path(__file__).with_name("launch.py")


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a command took.

    Attributes
    ----------
    seconds, cpu : float
        On the clock; of all processors together.
    memory : int
        The most that it held, bytes.
    """

    seconds: float
    cpu: float
    memory: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to measure.

    Attributes
    ----------
    folder : Path
        For temporary files.
    tree : Path
        The checkout that is measured.
    small : bool
        Tiny data: nothing is learned of speed, but all code runs.
    repeats : int
        How often commands run; the best counts.
    """

    folder: Path
    tree: Path = HERE
    small: bool = False
    repeats: int = 2

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment in which commands are those of `tree`, and compiled once, as for those who install them."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, "PYTHONPATH": str(importable(self.tree))} if self.tree != HERE else kept

    def command(self, name: str, *arguments: object, cores: Sequence[int] = ()) -> Run:
        """Run one of the tree's commands, on some cores alone if any are named."""
        return run([self.tree / "scripts" / name, *arguments], environment=self.environment, cores=cores)

    def program(self, script: str, *arguments: object) -> dict[str, Any]:
        """Run a benchmark of the tree as a program of its own; return the JSON that it prints."""
        command = [str(part) for part in (sys.executable, self.tree / Path(script).relative_to(HERE), *arguments)]
        ended = subprocess.run([*command, "--json"], env=dict(self.environment), capture_output=True, text=True)
        if ended.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr}")
        return json.loads(ended.stdout)

    def python(self, *arguments: object) -> Run:
        """Run the Python that has the tree's package."""
        return run([sys.executable, *arguments], environment=self.environment)


def importable(tree: Path) -> Path:
    """Return a folder with the package of a checkout, made of links where it is missing."""
    folder = tree / "build" / "importable"
    package = folder / "cdeep3m"
    if not package.exists():
        package.mkdir(parents=True)
        for part in (*(tree / "python" / "cdeep3m").iterdir(), tree / "matlab_ports", tree / "caffe_models"):
            (package / part.name).symlink_to(part)
    return folder


def run(command: Sequence[object], *, environment: Mapping[str, str], cores: Sequence[int] = ()) -> Run:
    """Run a command and say what it took; an error when it fails."""
    return begin(command, environment=environment, cores=cores)()


def begin(command: Sequence[object], *, environment: Mapping[str, str], cores: Sequence[int] = ()) -> Callable[[], Run]:
    """Start a command; return what waits for it and gives its `Run`."""
    folder = tempfile.TemporaryDirectory()
    report, output = Path(folder.name) / "report.json", Path(folder.name) / "output"
    launched = [sys.executable, "-I", "-S", LAUNCH, report, *command]
    with output.open("wb") as said:
        process = subprocess.Popen([str(part) for part in launched], env=dict(environment), stdout=said, stderr=said)
    if cores:
        os.sched_setaffinity(process.pid, cores)

    def finish() -> Run:
        with folder:
            if status := process.wait():
                said = output.read_text(errors="replace")
                raise RuntimeError(f"{' '.join(map(str, command))} ended with {status}: {said}")
            return Run(**json.loads(report.read_text()))

    return finish


def best(runs: Sequence[Run]) -> Run:
    """Return the least of each number; of memory the most."""
    return Run(
        seconds=min(run.seconds for run in runs),
        cpu=min(run.cpu for run in runs),
        memory=max(run.memory for run in runs),
    )
