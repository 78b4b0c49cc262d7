"""Caffe's two tools: how they are called, and what their output means. Where they run is left to others."""

from __future__ import annotations

import logging
import os
import re
import signal
from abc import ABC, abstractmethod
from collections import deque
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cdeep3m.engines.base import ALL_GPUS, CPU, STACK_OUTPUT, Progress
from cdeep3m.engines.job_files import training_files
from cdeep3m.errors import EngineError, EngineFullDiskError, MissingFileError, is_full
from cdeep3m.proto.caffe_pb2 import SolverParameter
from cdeep3m.proto.caffemodel import read_state, write_state
from cdeep3m.proto.learned_net import learned_net
from cdeep3m.proto.prototxt import read_solver, write
from cdeep3m.system.files import appending, scratch_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

    from cdeep3m.engines.base import PredictJob, TrainedModel, TrainJob

logger = logging.getLogger(__name__)

TRAIN_TOOL = "caffe.bin"
PREDICT_TOOL = "predict_seg_new.bin"

GLOG_FOLDER = "GLOG_log_dir"
"""Variable that names the folder for the log files that glog makes of itself."""

OWN_LOGS = "log"
"""Folder of a prediction that gets the log files that glog makes of itself."""

KEPT_LINES = 60
"""Lines of output that are looked at after a failure: glog's stack trace comes last, the reason before it."""
LAST_LINES = 5
"""Lines of output that a failure's message holds."""

KILLED = 128 + signal.SIGKILL
"""Exit status of a shell or container whose process was killed."""
SIGNAL_NAMES = {number.value: number.name for number in signal.Signals}
NO_TOOL = (126, 127)
"""Exit statuses of a program that is not there, or is none."""

STOPPED = "because another job failed, or somebody asked to stop"

NOT_TRIED_AGAIN = (*NO_TOOL, *(128 + number for number in (signal.SIGINT, signal.SIGKILL, signal.SIGTERM)))
"""Exit statuses of a tool that did not fail of itself."""

FULL_DISK = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)
LOSS = re.compile(r"Iteration (\d+)\b.*?, loss = (\S+)")
SNAPSHOT = re.compile(r"Snapshotting solver state to binary proto file .*_iter_(\d+)\.solverstate")
EARLY = "Optimization stopped early"
INFO = re.compile(r"^I\d{4,8} [\d:.]+ ")
FAULT = re.compile(r"^[EF]\d{4,8} [\d:.]+ ")
SETTING = re.compile(r"^(\}|[a-z_0-9]+( \{|: (\S+|\".*\")))$")
"""Lines of glog and its messages of several lines: what is no error, what is one, and a net that is shown."""

STACK_TRACE = re.compile(r"^(@\s+(0x|\(nil\))|\*\*\* )")


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """One call of a tool.

    Attributes
    ----------
    tool : str
        `TRAIN_TOOL` or `PREDICT_TOOL`.
    arguments : tuple of str
        Its arguments, all but the GPU's.
    folder : Path
        Its working folder.
    reads : tuple of Path
        Files that it reads, absolute.
    writes : tuple of Path
        Folders that it writes to, absolute.
    gpu : int
        GPU number, or CPU.
    log : Path, optional
        File that gets its output, after what is there.
    own_logs : Path, optional
        Folder for the log files that glog makes of itself (GLOG_log_dir); without one they are not kept.
    stop_signal : Signals
        What asks it to stop: Caffe takes a snapshot on SIGINT.
    grace : float
        Seconds that it has to stop then.
    """

    tool: str
    arguments: tuple[str, ...]
    folder: Path
    reads: tuple[Path, ...]
    writes: tuple[Path, ...]
    gpu: int
    log: Path | None = None
    own_logs: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 5.0

    def command(self, gpu: int) -> list[str]:
        """Return the arguments with the GPU's; Caffe trains on the CPU when the solver says so and no flag else."""
        training_on_cpu = self.tool == TRAIN_TOOL and gpu == CPU
        number = "all" if gpu == ALL_GPUS else str(gpu)
        return [*self.arguments] if training_on_cpu else [*self.arguments, f"--gpu={number}"]


class ToolEngine(ABC):
    """An engine whose jobs are calls of Caffe's tools; jobs of several threads run side by side."""

    @abstractmethod
    def run(self, call: ToolCall) -> Generator[str]:
        """Run `call` and yield its output line by line.

        A caller that stops early (an error, an interrupt) ends the tool.

        Raises
        ------
        ToolFailure
            It did not end with status 0.
        EngineError
            It could not be started.
        """

    @abstractmethod
    def stop(self) -> None:
        """End all jobs that run, and start no others; their calls raise EngineError."""

    def predict(self, job: PredictJob, *, report: Callable[[Progress], None] | None = None) -> None:
        """Run predict_seg_new.bin on every stack of `job`."""
        for done, (stack, folder) in enumerate(job.stacks, start=1):
            folder.mkdir(parents=True, exist_ok=True)
            with closing(self.follow(predict_call(job, stack, folder))) as lines:
                for _ in lines:
                    pass
            if report:
                report(Progress(done, len(job.stacks)))

    def train(self, job: TrainJob, *, report: Callable[[Progress], None] | None = None) -> None:
        """Run `caffe.bin train`; the solver's max_iter ends it."""
        if job.training or job.validation:
            raise EngineError("Caffe's tools read HDF5 files, not volumes in memory: use --engine embedded")
        if job.learning and job.learning.beyond_caffe:
            raise EngineError(
                f"Caffe does not know the {', '.join(job.learning.beyond_caffe)} that this training asks for: use "
                "--engine embedded"
            )
        if job.after_snapshot:
            raise EngineError("Caffe's tools hand no snapshots over while they train: use --engine embedded")
        seen = _Seen(training_files(job).max_iter, report)
        with _as_caffe_takes_it(job) as adapted:
            call = train_call(adapted)
            try:
                self._watch(call, seen)
            except EngineError as error:
                if seen.iterated or is_full(error) or error.status is None or error.status in NOT_TRIED_AGAIN:
                    raise
                logger.warning("%s: it made no iteration and is started once more", error)
                self._watch(call, seen)

    def _watch(self, call: ToolCall, seen: _Seen) -> None:
        """Run a training and note what it says.

        Raises
        ------
        EngineError
            It failed, or somebody else stopped it.
        """
        with closing(self.follow(call)) as lines:
            for line in lines:
                seen.note(line)
        if seen.stopped_early:
            raise EngineError(
                f"{call.tool} was stopped at iteration {seen.progress.done} of {seen.progress.total}: "
                "the same command goes on there"
            )

    def follow(self, call: ToolCall) -> Generator[str]:
        """Run `call`, keep its output in its log, and yield it; no half-written file is left of a failure."""
        last: deque[str] = deque(maxlen=KEPT_LINES)
        before = {path for folder in call.writes for path in half_written(folder)}
        try:
            with closing(self.run(call)) as lines, appending(call.log or os.devnull) as log:
                for line in lines:
                    log.write(f"{line}\n")
                    log.flush()
                    last.append(line.strip())
                    yield line
        except ToolFailure as failure:
            full = FULL_DISK.search("\n".join(last))
            error = (EngineFullDiskError if full else EngineError)(failure.explain(list(last), call.log))
            error.status = None if failure.hint == STOPPED else failure.status
            raise error from None
        finally:
            for path in {path for folder in call.writes for path in half_written(folder)} - before:
                path.unlink(missing_ok=True)


class _Seen:
    """What the output of a training has told so far.

    Attributes
    ----------
    progress : Progress
        The last iteration that the tool named.
    iterated : bool
        Whether it named any.
    stopped_early : bool
        Whether it said that somebody stopped it.
    """

    def __init__(self, total: int, report: Callable[[Progress], None] | None) -> None:
        self.progress = Progress(0, total)
        self.iterated = self.stopped_early = False
        self._report = report

    def note(self, line: str) -> None:
        """Take what a line says; report an iteration that is new."""
        if EARLY in line:
            self.stopped_early = True
        elif match := LOSS.search(line):
            self._reach(replace(self.progress, done=int(match[1]), loss=float(match[2])))
        elif match := SNAPSHOT.search(line):
            self._reach(replace(self.progress, done=int(match[1])))

    def _reach(self, progress: Progress) -> None:
        self.iterated = True
        if self._report and progress != self.progress:
            self._report(progress)
        self.progress = progress


class ToolFailure(Exception):
    """A tool that did not end with status 0.

    Attributes
    ----------
    where : str
        The tool, as its user knows it.
    status : int
        Its exit status; 128 + n when signal n killed it.
    hint : str
        What is known about the reason beside its output.
    """

    def __init__(self, where: str, status: int, hint: str = "") -> None:
        super().__init__(where, status, hint)
        self.where, self.status, self.hint = where, status, hint

    def explain(self, lines: Sequence[str], log: Path | None) -> str:
        """Return one line: what happened, its last words, and what to do."""
        said = last_words(lines)
        reason = self.hint or explanation("\n".join(lines)) or _of_status(self.status)
        what = "was killed" if self.status == KILLED else f"ended with status {self.status}"
        return (
            f"{self.where} {what}{f' ({reason})' if reason else ''}; its last words: {said or 'none'}"
            f"{f' (all in {log})' if log else ''}"
        )


def predict_call(job: PredictJob, stack: Path, folder: Path) -> ToolCall:
    """Return the call that predicts every plane of `stack`.

    Paths are given without symbolic links, so that a container that sees the files themselves finds them.

    Raises
    ------
    MissingFileError
        Net, weights or stack are not there.
    """
    model, data, target = _resolved(job.model), _file(stack), folder.resolve()
    logs = _existing(job.log.absolute().parent / OWN_LOGS if job.log else None)
    arguments = (
        f"--model={model.deploy}",
        f"--weights={model.weights}",
        f"--data={data}",
        f"--predict={target / STACK_OUTPUT}",
        "--shift_axis=2",
        "--shift_stride=1",
    )
    return ToolCall(
        tool=PREDICT_TOOL,
        arguments=arguments,
        folder=target,
        reads=(model.deploy, model.weights, data),
        writes=(target, *logs),
        gpu=job.gpu,
        log=job.log,
        own_logs=logs[0] if logs else None,
    )


def train_call(job: TrainJob) -> ToolCall:
    """Return the call that trains as the solver of `job` says; paths in it are as their users named them."""
    files = training_files(job)
    arguments = ["train", f"--solver={os.path.abspath(job.solver)}"]
    arguments += [f"--snapshot={os.path.abspath(job.snapshot)}"] if job.snapshot else []
    arguments += [f"--weights={os.path.abspath(job.weights)}"] if job.weights else []
    models = [learned_net(job.snapshot, folder=job.folder).absolute()] if job.snapshot else []
    logs = _existing(job.log.absolute().parent if job.log else None)
    return ToolCall(
        tool=TRAIN_TOOL,
        arguments=tuple(arguments),
        folder=job.folder.absolute(),
        reads=(*files.reads, *models),
        writes=(files.snapshots, *logs),
        gpu=job.gpu,
        log=job.log,
        own_logs=logs[0] if logs else None,
        stop_signal=signal.SIGINT,
        grace=60.0,
    )


def _existing(folder: Path | None) -> tuple[Path, ...]:
    """Return a folder where there is one."""
    return (folder,) if folder and folder.is_dir() else ()


def explanation(output: str) -> str:
    """Return what a tool's output means and what to do about it; empty when nothing in it is known.

    Examples
    --------
    >>> explanation("F1122 math.cu:19] Check failed: error == cudaSuccess (2 vs. 0)  out of memory")[:31]
    "the GPU's memory is too small f"
    >>> explanation("write failed: No space left on device")
    'the disk is full: make room and run the same command again'
    >>> explanation("Iteration 3, loss = 0.5")
    ''
    """
    known = (
        (
            r"cuda\w*[^\n]*out of memory|CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED",
            "the GPU's memory is too small for this net and batch, or another program uses it: see nvidia-smi, "
            "use another GPU or a smaller batch",
        ),
        (r"bad_alloc|Cannot allocate memory|MemoryError|out of memory", "out of memory: close other programs"),
        (FULL_DISK.pattern, "the disk is full: make room and run the same command again"),
        (
            r"no kernel image is available|invalid device function",
            "this build of Caffe does not know this GPU: see `cdeep3m engines`",
        ),
        (
            r"driver version is insufficient|CUDA_ERROR_NO_DEVICE|no CUDA-capable device",
            "no GPU that this build of Caffe can use: see `cdeep3m engines`",
        ),
    )
    return next((text for pattern, text in known if re.search(pattern, output, re.IGNORECASE)), "")


def last_words(lines: Sequence[str]) -> str:
    """Return the last lines of output that mean something, in one line.

    Examples
    --------
    >>> last_words(["F1122 a.cpp:1] Check failed: x", "*** Check failure stack trace: ***", "@ 0x7f google::Fail()"])
    'F1122 a.cpp:1] Check failed: x'
    >>> last_words(["F1122 17:47:32.1 5 a.cpp:1] Check failed: x", "I1122 17:47:32.1 5 a.cpp:2] Layer y", "name: 3"])
    'F1122 17:47:32.1 5 a.cpp:1] Check failed: x'
    """
    meant = [line for line in lines if line and not any(kind.match(line) for kind in (STACK_TRACE, INFO, SETTING))]
    faults = [line for line in meant if FAULT.match(line)]
    return " / ".join((faults or meant)[-LAST_LINES:])


def half_written(folder: Path) -> list[Path]:
    """Return the files of `folder` that this project's own tools were writing."""
    return list(folder.glob(".*.partial-*"))


def _of_status(status: int) -> str:
    if status == KILLED:
        return "by somebody, or because the machine or its container ran out of memory"
    if status in NO_TOOL:
        return "there is no such program"
    return SIGNAL_NAMES.get(status - 128, "")


def _resolved(model: TrainedModel) -> TrainedModel:
    return replace(model, deploy=_file(model.deploy), weights=_file(model.weights))


def _file(path: Path) -> Path:
    if not path.is_file():
        raise MissingFileError(f"{path} is not there; this prediction needs it")
    return path.resolve()


@contextmanager
def _as_caffe_takes_it(job: TrainJob) -> Iterator[TrainJob]:
    """Yield `job` with copies of its solver and snapshot, where Caffe itself would not take these as they are."""
    with scratch_folder(job.folder / "caffe") as folder:
        yield _from_where_it_lies(_on_the_cpu(job, folder), folder)


def _on_the_cpu(job: TrainJob, folder: Path) -> TrainJob:
    """Return `job` with a solver that says CPU where that is wanted: to Caffe, its -1 is no GPU that it knows."""
    solver = read_solver(job.solver)
    if job.gpu != CPU or solver.solver_mode == SolverParameter.CPU:
        return job
    solver.solver_mode = SolverParameter.CPU
    write(folder / job.solver.name, solver)
    return replace(job, solver=folder / job.solver.name)


def _from_where_it_lies(job: TrainJob, folder: Path) -> TrainJob:
    """Return `job` with a snapshot that names its model where it lies now.

    Caffe takes the model's name in a .solverstate as it is; a run that was moved or copied keeps the old one.
    """
    if job.snapshot is None:
        return job
    state, model = read_state(job.snapshot), learned_net(job.snapshot, folder=job.folder).absolute()
    if (job.folder.absolute() / state.learned_net) == model:
        return job
    state.learned_net = str(model)
    write_state(folder / job.snapshot.name, state)
    return replace(job, snapshot=folder / job.snapshot.name)
