"""One command in a process of its own: what it said, how it ended, what it took; and what stops it on the way.

The process is forked from one that has loaded PyTorch, so a trial takes a fraction of a second. At one of its file
operations it is killed, or meets the error of a full or broken disk: by `soak.disk`, or, where that cannot be loaded,
by an audit hook, which sees the operations of Python. Another hook tells of files written outside the trial's folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.system import files
from soak import demos, disk

if TYPE_CHECKING:
    from collections.abc import Sequence

MODULES = {
    "PreprocessTrainingData": "preprocess_training_data",
    "PreprocessValidation": "preprocess_validation",
    "CreateTrainJob": "create_train_job",
    "PreprocessImageData": "preprocess_image_data",
    "DefDataPackages": "def_data_packages",
    "PreprocessPackage": "preprocess_package",
    "StartPostprocessing": "start_postprocessing",
    "Merge_LargeData": "merge_large_data",
    "EnsemblePredictions": "ensemble_predictions",
    "Histmatch": "histmatch",
    "Apply3DWatershed": "apply_3d_watershed",
    "Create_overlays": "create_overlays",
    "enhance_stack": "enhance_stack",
    "augconfig.py": "augconfig",
    "SNEMI3D_metrics": "snemi3d_metrics",
    "PlotValidation": "plot_validation",
    "overlay.py": "overlay",
    "caffe": "caffe",
    "caffepredict.sh": "caffepredict",
    "caffetrain.sh": "caffetrain",
    "trainworker.sh": "trainworker",
    "rundemo": "rundemo",
    "rundemo2": "rundemo2",
    "cdeep3m": "main",
    "postprocessworker.sh": "postprocessworker",
    "predict_seg_new.bin": "predict_seg_new",
    "predictworker.sh": "predictworker",
    "preprocessworker.sh": "preprocessworker",
    "runprediction.sh": "runprediction",
    "runtraining.sh": "runtraining",
    "runvalidation.sh": "runvalidation",
}
"""Commands, and their modules in cdeep3m.cli."""
OTHERS = ("convert", "objects", "score", "report", "estimate", "status", "fidelity", "demo")

OPERATIONS = {
    *("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"),
    *("os.listdir", "os.scandir", "shutil.rmtree", "os.utime", "os.chmod"),
}
"""Audit events of file operations."""
WRITING = OPERATIONS - {"os.listdir", "os.scandir"}
MEMORY = 3 * 2**30
"""Bytes of memory that a command may take beyond what the process has from the start."""
HANG = 600.0
OUTSIDE = "WRITTEN OUTSIDE"
SCRIPTS = Path(__file__).parents[2] / "scripts"
TEMPORARY, HOME = "tmp", "home"
"""Folders beside that of a trial, which a command finds as the user's own."""
HARMLESS = ("/dev/null", "/dev/full", "/dev/tty", "/dev/shm/sem.", "/dev/shm/torch_", "/proc/self/")
PR_SET_CHILD_SUBREAPER = 36
COUNT = "COUNT"
"""What a `Stop` is called that stops nothing, and counts."""
_counted = [0]
"""File operations of this process."""
_watched: list[tuple[str, str]] = []
"""The folder around that of the command which runs in this process, and the file of what it says."""


@dataclass(frozen=True)
class Stop:
    """What happens at the n-th file operation in the trial's folder: a signal's name, or that of an error."""

    what: str
    at: int

    def install(self, folder: str) -> None:
        """Let it happen to this process."""
        if disk.is_loaded():
            disk.arm(folder, self.at, self.what)
            return
        seen = 0

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal seen
            if event not in OPERATIONS or not _is_in(folder, arguments):
                return
            seen += 1
            _counted[0] = seen
            if self.what == COUNT:
                return
            if seen < self.at or (self.what.startswith("SIG") and seen > self.at):
                return
            if self.what.startswith("SIG"):
                os.kill(os.getpid(), getattr(signal, self.what))
            elif _writes(event, arguments):
                number = getattr(errno, self.what)
                raise OSError(number, os.strerror(number), arguments[0])

        sys.addaudithook(hook)


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes
    ----------
    status : int
        Its exit status; below 0 the signal that killed it.
    said : str
        Standard output and standard error.
    memory : int
        The most bytes that it took beyond those of the process it came from.
    seconds : float
        How long it ran.
    hung : bool
        Whether it was killed because it did not end.
    operations : int
        How many file operations it made, where it came to its end and one of them was to stop it.
    """

    status: int
    said: str
    memory: int
    seconds: float
    hung: bool = False
    operations: int = 0

    @property
    def errors(self) -> list[str]:
        """The lines that begin with ERROR."""
        return [line for line in self.said.split("\n") if line.startswith("ERROR")]

    def faults(self, *, must_name: str = "", memory: int = MEMORY) -> list[str]:
        """Return what no command may do: crash, hang, flood memory, or say more than one readable line."""
        found = ["hang"] * self.hung
        found += [line for line in self.said.split("\n") if line.startswith(OUTSIDE)]
        found += ["traceback"] * ("Traceback" in self.said)
        found += [f"killed by signal {-self.status}"] * (self.status < 0 and not self.hung)
        found += [f"memory: {self.memory / 2**20:.0f} MiB"] * (self.memory > memory or "out of memory" in self.said)
        found += ["unexpected error"] * ("ERROR, unexpected" in self.said)
        found += ["control characters"] * any(not c.isprintable() and c not in "\n\t" for c in self.said)
        if self.status > 0:
            found += [f"{len(self.errors)} ERROR lines"] * (len(self.errors) != 1)
            found += ["endless ERROR"] * any(len(line) > 500 for line in self.errors)
            found += ["ERROR without the file"] * (bool(must_name) and must_name not in "".join(self.errors))
        return found


def _tell_of_what_is_outside(event: str, arguments: tuple[object, ...]) -> None:
    """Note in what a command says that it changes something outside the folder around its own."""
    if not _watched or event not in WRITING or not arguments or not isinstance(arguments[0], str | bytes | os.PathLike):
        return
    around, said = _watched[0]
    paths = [os.path.abspath(os.fsdecode(path)) for path in arguments[: 1 + (event == "os.rename")]]
    if not _writes(event, arguments) or all(path.startswith((f"{around}/", *HARMLESS)) for path in paths):
        return
    _watched.clear()
    with open(said, "a") as file:
        file.write(f"\n{OUTSIDE}: {event} {paths}\n")


def survivors(*, patience: float = 5.0) -> list[str]:
    """Return the processes that commands which are over left behind, and end them; some may take a moment to end."""
    end = time.monotonic() + patience
    while left := _children():
        for process in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process, os.WNOHANG)
        if time.monotonic() > end:
            found = [Path(f"/proc/{process}/cmdline").read_bytes()[:200] for process in _children()]
            for process in _children():
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
            return [f"process left: {words!r}" for words in found]
        time.sleep(0.01)
    return []


def _children() -> list[int]:
    return [int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def load() -> None:
    """Load what commands import, so that forked ones start at once; processes left by them become this one's."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib"))  # its list of fonts takes seconds
    sys.dont_write_bytecode = True
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    sys.addaudithook(_tell_of_what_is_outside)
    for module in {*MODULES.values(), "predict", "train", "models", "engines", *OTHERS}:
        import_module(f"cdeep3m.cli.{module}")
    for name in ("h5py", "tifffile", "PIL.PngImagePlugin", "torch", "scipy.ndimage", "cdeep3m.prediction.run"):
        import_module(name)
    import_module("cdeep3m.training.run")
    for name in ("objects.job", "report.write", "report.plots", "evaluation.scoring", "maps.copying", "models.fetch"):
        import_module(f"cdeep3m.{name}")
    for name in ("tensorstore", "mrcfile", "matplotlib.figure", "jinja2", "skimage.segmentation", "scipy.io"):
        import_module(name)
    import_module("cdeep3m.engines.embedded.engine")
    demos.make_small()


def start(
    words: list[str],
    folder: Path,
    *,
    stop: Stop | None = None,
    limits: dict[int, int] | None = None,
    streams: str = "",
) -> Running:
    """Start a command in a folder; its `streams` may be closed, a pipe that nobody reads, or a full disk."""
    said = folder / f".said-{os.getpid()}-{time.monotonic_ns()}"
    begin = time.monotonic()
    process = os.fork()
    if process == 0:
        status = 70
        try:
            status = _command(words, folder, said, stop, limits or {}, streams)
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
            with contextlib.suppress(Exception):
                sys.stderr.flush()
            if stop:
                done = disk.operations() if disk.is_loaded() else _counted[0]
                said.with_name(f"{said.name}.count").write_text(str(done))
            os._exit(status)
    return Running(process, said, begin)


def run(
    words: list[str],
    folder: Path,
    *,
    stop: Stop | None = None,
    limits: dict[int, int] | None = None,
    streams: str = "",
) -> Ended:
    """Run a command in a folder to its end."""
    return start(words, folder, stop=stop, limits=limits, streams=streams).end()


def run_many(calls: Sequence[tuple[list[str], Path]], *, patience: float = 60.0) -> list[Ended]:
    """Run commands in their folders one after another in one process, or in another one after one that ended it.

    That saves a fork for each. A command that ends the process, or does not end, is the one that did.
    """
    ended: list[Ended] = []
    while len(ended) < len(calls):
        ended += _run_in_one(calls[len(ended) :], patience)
    return ended


def _run_in_one(calls: Sequence[tuple[list[str], Path]], patience: float) -> list[Ended]:
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        try:
            for words, folder in calls:
                begin = time.monotonic()
                status = _one_of_many(words, folder)
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                os.write(writing, f"{status} {memory} {time.monotonic() - begin}\n".encode())
        finally:
            os._exit(0)
    os.close(writing)
    base = high = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ended: list[Ended] = []
    with os.fdopen(reading, "rb") as lines:
        for _, folder in calls:
            ready, _, _ = select.select([reading], [], [], patience)
            line = lines.readline() if ready else b""
            said = _said(folder)
            if not line:
                os.kill(process, signal.SIGKILL)
                _, status = os.waitpid(process, 0)
                return [*ended, Ended(-os.WTERMSIG(status), said, 0, patience, hung=not ready)]
            status_, memory, seconds = line.split()
            grown = max(0, int(memory) - max(base, high)) * 1024
            high = max(high, int(memory))
            ended.append(Ended(int(status_), said, grown, float(seconds)))
    os.waitpid(process, 0)
    return ended


def _said(folder: Path) -> str:
    path = folder / ".said-many"
    said = path.read_bytes().decode("utf-8", "backslashreplace") if path.exists() else ""
    path.unlink(missing_ok=True)
    return said


def _one_of_many(words: list[str], folder: Path) -> int:
    try:
        return _command(words, folder, folder / ".said-many", None, {}, "")
    except BaseException:
        traceback.print_exc()
        return 70
    finally:
        for handler in list(logging.getLogger().handlers):
            logging.getLogger().removeHandler(handler)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()


@dataclass(frozen=True)
class Running:
    """A command that was started."""

    process: int
    output: Path
    begin: float

    def end(self, *, patience: float = HANG) -> Ended:
        """Wait for its end; kill it when that does not come."""
        hung = False
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        while True:
            done, status, used = os.wait4(self.process, os.WNOHANG)
            if done:
                break
            if time.monotonic() - self.begin > patience:
                hung = True
                os.kill(self.process, signal.SIGKILL)
            time.sleep(0.005)
        said = self.output.read_bytes().decode("utf-8", "backslashreplace") if self.output.exists() else ""
        self.output.unlink(missing_ok=True)
        counted = self.output.with_name(f"{self.output.name}.count")
        operations = int(counted.read_text()) if counted.exists() else 0
        counted.unlink(missing_ok=True)
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        taken = max(0, used.ru_maxrss - base) * 1024
        return Ended(code, said, taken, time.monotonic() - self.begin, hung, operations)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process, number)


def own_process(words: Sequence[str], folder: Path, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a command as a program that a shell would start."""
    around = folder.resolve().parent
    return subprocess.Popen(
        [SCRIPTS / words[0], *(os.fsencode(word) for word in words[1:])],
        cwd=folder,
        env={
            **os.environ,
            **{"PYTHON": sys.executable, "TMPDIR": str(around / TEMPORARY), "HOME": str(around / HOME)},
            **environ,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _command(
    words: list[str], folder: Path, said: Path, stop: Stop | None, limits: dict[int, int], streams: str
) -> int:
    _watched.clear()
    files._swept.clear()  # as of a process that has not written anything yet
    os.chdir(folder)
    output = _output(streams) if streams else os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
    if streams == "closed":
        os.close(1)
        os.close(2)
        sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = None
    for number, limit in limits.items():
        resource.setrlimit(number, (limit, limit))
    _watched[:] = [(str(folder.resolve().parent), str(said))]
    os.environ.update(TMPDIR=f"{_watched[0][0]}/{TEMPORARY}", HOME=f"{_watched[0][0]}/{HOME}")
    tempfile.tempdir = None
    main = import_module(f"cdeep3m.cli.{MODULES[words[0]]}").main
    sys.argv = list(words)
    if stop:
        stop.install(os.fspath(folder.resolve()))
    try:
        return main(words[1:]) or 0
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)


def _output(streams: str) -> int:
    """Return a descriptor that nobody reads, or that takes nothing."""
    if streams != "pipe":
        return os.open("/dev/full", os.O_WRONLY)
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def _is_in(folder: str, arguments: tuple[object, ...]) -> bool:
    """Return whether a file operation is about something in a folder."""
    if not arguments or not isinstance(arguments[0], str | bytes | os.PathLike):
        return bool(arguments) and isinstance(arguments[0], int) and False
    path = os.path.abspath(os.fsdecode(arguments[0]))
    return path.startswith(folder + os.sep) and os.path.basename(path)[:6] != ".said-"


def _writes(event: str, arguments: tuple[object, ...]) -> bool:
    if event != "open":
        return event in WRITING
    flags = arguments[2] if len(arguments) > 2 else 0
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
