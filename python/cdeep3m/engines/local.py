"""Caffe's own tools on this machine, called as the original commands called them."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
from collections import deque
from pathlib import Path
from typing import IO, TYPE_CHECKING

from cdeep3m.engines.base import CPU, Progress
from cdeep3m.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cdeep3m.engines.base import PredictJob, TrainJob

TRAIN_TOOL = "caffe.bin"
PREDICT_TOOL = "predict_seg_new.bin"
LAST_LINES = 5
OWN = b"cdeep3m"
LENGTH_OF_A_SCRIPT = 1000
"""The beginning of this project's scripts names the package; Caffe's tools are programs."""

logger = logging.getLogger(__name__)


class LocalCaffe:
    """Runs `caffe.bin` and `predict_seg_new.bin` of a Caffe with n-dimensional data layers.

    Parameters
    ----------
    tools : dict of str to Path
        Where each of the two tools is; a tool that was not found is absent.
    """

    name = "caffe"

    def __init__(self, tools: dict[str, Path]) -> None:
        self._tools = tools

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
                f"no Caffe in {root}: {PREDICT_TOOL} was expected in it, in its .build_release/tools or build/tools, "
                "as a file that may be run."
            )
        if OWN in found[PREDICT_TOOL].read_bytes()[:LENGTH_OF_A_SCRIPT]:
            logger.warning("%s is this project's own: the embedded engine is compared with itself", found[PREDICT_TOOL])
        return cls(found)

    def check(self) -> Sequence[str]:
        """Return which tools are missing."""
        return [
            f"Caffe's {tool} was not found: set CAFFE_PATH to the Caffe folder that holds .build_release/tools"
            for tool in (TRAIN_TOOL, PREDICT_TOOL)
            if tool not in self._tools
        ]

    def gpus(self) -> Sequence[int]:
        """Return the GPUs that nvidia-smi lists."""
        smi = shutil.which("nvidia-smi")
        if smi is None:
            return []
        listed = subprocess.run([smi, "-L"], capture_output=True, text=True, check=False).stdout
        return [int(number) for number in re.findall(r"^GPU (\d+):", listed, re.MULTILINE)]

    def device(self, gpu: int) -> str:
        """Return the tool and the device in words."""
        return f"{next(iter(self._tools.values())).parent}, {'CPU' if gpu == CPU else f'GPU {gpu}'}"

    def predict(self, job: PredictJob, *, report: Callable[[Progress], None] | None = None) -> None:
        """Run predict_seg_new.bin on every stack of `job`."""
        for done, (stack, folder) in enumerate(job.stacks, start=1):
            folder.mkdir(parents=True, exist_ok=True)
            command = [
                str(self._tools[PREDICT_TOOL]),
                f"--model={job.model.deploy.absolute()}",
                f"--weights={job.model.weights.absolute()}",
                f"--data={stack.absolute()}",
                f"--predict={folder.absolute() / 'test.h5'}",
                "--shift_axis=2",
                "--shift_stride=1",
                f"--gpu={job.gpu}",
            ]
            for _ in _lines_of(command, folder=None, log=job.log):
                pass
            if report:
                report(Progress(done, len(job.stacks)))

    def train(self, job: TrainJob, *, report: Callable[[Progress], None] | None = None) -> None:
        """Run `caffe.bin train`; the solver's max_iter ends it."""
        if job.training or job.validation:
            raise EngineError("Caffe's tools read HDF5 files, not volumes in memory: use --engine embedded")
        command = [str(self._tools[TRAIN_TOOL]), "train", f"--solver={job.solver.absolute()}", f"--gpu={job.gpu}"]
        command += [f"--snapshot={job.snapshot.absolute()}"] if job.snapshot else []
        command += [f"--weights={job.weights.absolute()}"] if job.weights else []
        total = _max_iter(job.solver)
        for line in _lines_of(command, folder=job.folder, log=job.log):
            match = re.search(r"Iteration (\d+), loss = (\S+)", line)
            if match and report:
                report(Progress(int(match[1]), total, float(match[2])))


def _tool_folders(root: str) -> list[str]:
    return [f"{root}/.build_release/tools", f"{root}/build/tools", root]


def _find(folders: Sequence[str]) -> dict[str, Path]:
    search = os.pathsep.join(folders)
    found = {tool: shutil.which(tool, path=search) for tool in (TRAIN_TOOL, PREDICT_TOOL)}
    return {tool: Path(path) for tool, path in found.items() if path}


def _max_iter(solver: Path) -> int:
    from cdeep3m.proto.prototxt import read_solver

    return int(read_solver(solver).max_iter)


def _lines_of(command: list[str], *, folder: Path | None, log: Path | None) -> Iterator[str]:
    """Run `command`, yield its output line by line and keep it in `log`; raise EngineError unless it exits with 0."""
    last: deque[str] = deque(maxlen=LAST_LINES)
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        try:
            assert process.stdout is not None
            yield from _logged(process.stdout, last, log)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise EngineError(_failure(command[0], process.returncode, last, log))


def _logged(stream: IO[str], last: deque[str], log: Path | None) -> Iterator[str]:
    with open(log or os.devnull, "a", encoding="utf-8") as copy:
        for line in stream:
            copy.write(line)
            copy.flush()
            last.append(line.strip())
            yield line


def _failure(tool: str, status: int, last: deque[str], log: Path | None) -> str:
    said = " / ".join(line for line in last if line) or "nothing"
    if "out of memory" in said:
        said += " (the GPU's memory is too small for this net and batch: use a smaller batch or another GPU)"
    return f"{tool} ended with status {status}; its last words: {said}" + (f" (all in {log})" if log else "")
