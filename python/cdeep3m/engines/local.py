"""Caffe's own tools on this machine, called as the original commands called them."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.engines.base import ALL_GPUS, CPU
from cdeep3m.engines.nvidia import visible_gpus
from cdeep3m.engines.tools import GLOG_FOLDER, PREDICT_TOOL, STOPPED, TRAIN_TOOL, ToolCall, ToolEngine, ToolFailure
from cdeep3m.errors import EngineError
from cdeep3m.system.children import options_of_child
from cdeep3m.system.files import locks_kept, scratch_folder
from cdeep3m.system.interrupts import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

OWN = b"-m cdeep3m.cli."
LENGTH_OF_A_SCRIPT = 1000
"""The beginning of this project's scripts names the package; Caffe's tools are programs."""

logger = logging.getLogger(__name__)


class LocalCaffe(ToolEngine):
    """Runs `caffe.bin` and `predict_seg_new.bin` of a Caffe with n-dimensional data layers.

    Parameters
    ----------
    tools : dict of str to Path
        Where each of the two tools is; a tool that was not found is absent.
    """

    name = "caffe"

    def __init__(self, tools: dict[str, Path]) -> None:
        self._tools = tools
        self._running: dict[subprocess.Popen[str], ToolCall] = {}
        self._stopped = False
        self._lock = threading.Lock()

    @classmethod
    def from_environment(cls) -> LocalCaffe:
        """Find the tools under CAFFE_PATH/.build_release/tools, CAFFE_PATH itself, or on PATH."""
        root = os.environ.get("CAFFE_PATH")
        return cls(_find([*(_tool_folders(root) if root else []), os.environ.get("PATH", "")]))

    @classmethod
    def at(cls, root: Path) -> LocalCaffe:
        """Take the tools of the Caffe in the folder `root`, not those on PATH; the one that trains may be missing.

        Raises
        ------
        EngineError
            There is no predict_seg_new.bin.
        """
        found = _find(_tool_folders(str(root.absolute())))
        if PREDICT_TOOL not in found:
            raise EngineError(
                f"no Caffe in {root}: expected {PREDICT_TOOL} in it, in its .build_release/tools or build/tools, "
                "as a file that may be run"
            )
        if is_own(found[PREDICT_TOOL]):
            logger.warning("%s is this project's own: the embedded engine is compared with itself", found[PREDICT_TOOL])
        return cls(found)

    @property
    def folder(self) -> Path:
        """Where the tools are."""
        return next(iter(self._tools.values())).parent

    def own_tools(self) -> list[str]:
        """Return which of the tools are this project's own, on the embedded engine."""
        return [name for name, path in self._tools.items() if is_own(path)]

    def check(self) -> Sequence[str]:
        """Return which tools are missing."""
        return [
            f"Caffe's {tool} was not found: set CAFFE_PATH to the Caffe folder that holds .build_release/tools"
            for tool in (TRAIN_TOOL, PREDICT_TOOL)
            if tool not in self._tools
        ]

    def gpus(self) -> Sequence[int]:
        """Return the numbers under which Caffe sees this machine's GPUs."""
        return range(len(visible_gpus()))

    def device(self, gpu: int) -> str:
        """Return the tools' folder and the device in words."""
        gpus = [] if gpu == CPU else visible_gpus()
        place = "CPU" if gpu == CPU else str(gpus[gpu]) if 0 <= gpu < len(gpus) else f"GPU {gpu}"
        place = f"all of {len(gpus)} GPUs" if gpu == ALL_GPUS else place
        return f"{self.folder}, {place}"

    def run(self, call: ToolCall) -> Generator[str]:
        """Run the tool as a process of its own."""
        tool = self._tools.get(call.tool)
        if tool is None:
            raise EngineError("; ".join(self.check()))
        with _place_of_logs(call) as placed, self._process([str(tool), *call.command(call.gpu)], placed) as process:
            assert process.stdout is not None
            yield from (line.rstrip("\n") for line in process.stdout)
            process.wait()
        if process.returncode:
            status = process.returncode if process.returncode > 0 else 128 - process.returncode
            raise ToolFailure(str(tool), status, STOPPED if self._stopped else "")

    def stop(self) -> None:
        """Ask all processes to stop, and start no others."""
        with self._lock:
            self._stopped = True
            for process, call in self._running.items():
                process.send_signal(call.stop_signal)

    @contextmanager
    def _process(self, command: list[str], call: ToolCall) -> Iterator[subprocess.Popen[str]]:
        """Start a process, and make sure that it has ended after the block."""
        process = None
        try:
            with self._lock, uninterrupted():
                if self._stopped:
                    raise EngineError(f"{command[0]} was not started {STOPPED}")
                process = _start(command, call)
                self._running[process] = call
            yield process
        finally:
            with uninterrupted():
                if process is not None:
                    with self._lock:
                        del self._running[process]
                    _end(process, call)


@contextmanager
def _place_of_logs(call: ToolCall) -> Iterator[ToolCall]:
    """Yield `call` with a folder for glog's own log files, which otherwise stay in the system's temporary folder."""
    if call.own_logs:
        yield call
        return
    with scratch_folder(call.folder / "glog") as folder:
        yield replace(call, own_logs=folder)


def _start(command: list[str], call: ToolCall) -> subprocess.Popen[str]:
    """Start a process in a session of its own: a terminal's Ctrl-C comes to it through this process alone."""
    try:
        with locks_kept:
            return subprocess.Popen(
                command,
                cwd=call.folder,
                env={**os.environ, GLOG_FOLDER: str(call.own_logs)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
                **options_of_child(),
            )
    except OSError as error:
        raise EngineError(f"{command[0]} cannot be run ({error.strerror}): is it built for this machine?") from None


def _end(process: subprocess.Popen[str], call: ToolCall) -> None:
    """Ask `process` to stop, where it still runs, and kill it when it does not."""
    if process.poll() is None:
        process.send_signal(call.stop_signal)
        try:
            process.communicate(timeout=call.grace)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()


def is_own(program: Path) -> bool:
    """Return whether a program is one of this project's commands."""
    try:
        with program.open("rb") as file:
            return OWN in file.read(LENGTH_OF_A_SCRIPT)
    except OSError:
        return False


def _tool_folders(root: str) -> list[str]:
    return [f"{root}/.build_release/tools", f"{root}/build/tools", root]


def _find(folders: Sequence[str]) -> dict[str, Path]:
    search = os.pathsep.join(folders)
    found = {tool: shutil.which(tool, path=search) for tool in (TRAIN_TOOL, PREDICT_TOOL)}
    return {tool: Path(path).absolute() for tool, path in found.items() if path}
