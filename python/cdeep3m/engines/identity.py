"""The engine whose nets give back what they see: a pipeline's own doing is what remains."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.engines.averages import averaged
from cdeep3m.engines.base import CPU, STACK_OUTPUT, Progress, Rehearsal, plane_file
from cdeep3m.errors import EngineError, InputError, MissingFileError, NetError
from cdeep3m.geometry import from_caffe_axes
from cdeep3m.proto import caffemodel, prototxt
from cdeep3m.proto.caffe_pb2 import LayerParameter, NetParameter, SolverState
from cdeep3m.system.files import LEFT_TO_SYSTEM, appending
from cdeep3m.tiling.variants import VARIANTS
from cdeep3m.volumes.hdf5 import read_dataset, write_datasets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from cdeep3m.engines.base import Precision, PredictJob, TrainedModel, TrainJob
    from cdeep3m.proto.caffe_pb2 import SolverParameter
    from cdeep3m.tiling.variants import Variant

SIDE = 16
"""Both sides of a window are multiples of this, as DeepEM3D's nets want them."""


class IdentityNet:
    """A net whose probability is the voxel's own value, of the largest that its type can hold.

    Attributes
    ----------
    frames : int
        Planes that it is shown at once; it looks at the middle one.
    windows : int
        How many windows it has predicted.
    """

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.windows = 0

    def foreground(self, windows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Return the middle plane of every window; see `LoadedNet.foreground`.

        Raises
        ------
        NetError
            A window that none of DeepEM3D's nets could take.
        """
        for window in windows:
            self._check(window)
            self.windows += 1
            yield share_of_largest(window[self.frames // 2])

    def averaged(
        self,
        windows: Iterable[np.ndarray],
        variants: Sequence[Variant],
        *,
        unrounded: bool = False,
        before_batch: Callable[[], None] | None = None,
    ) -> Iterator[np.ndarray]:
        """Return the mean of every window's variants; see `LoadedNet.averaged`."""
        return averaged(self.foreground, windows, variants, unrounded=unrounded, before_batch=before_batch)

    def _check(self, window: np.ndarray) -> None:
        frames, height, width = window.shape
        if frames != self.frames or height % SIDE or width % SIDE:
            raise NetError(
                f"a window of shape {window.shape} was given; expected {self.frames} planes with sides that are "
                f"multiples of {SIDE}"
            )


class IdentityEngine:
    """Predicts what it sees, over files and in memory; trains nothing, but writes what a training leaves.

    Attributes
    ----------
    nets : dict of str to IdentityNet
        The nets that were loaded.
    """

    name = "identity"

    def __init__(self) -> None:
        self.nets: dict[str, IdentityNet] = {}

    def check(self) -> Sequence[str]:
        """Return nothing: this engine needs nothing."""
        return ()

    def gpus(self) -> Sequence[int]:
        """Return nothing: this engine computes nothing."""
        return ()

    def device(self, gpu: int) -> str:
        """Return that nothing is computed."""
        return "CPU, no net at all" if gpu == CPU else f"GPU {gpu}, no net at all"

    def load(self, model: TrainedModel, *, gpu: int = CPU, precision: Precision = "float32") -> IdentityNet:
        """Return the net of `model`, which sees as many planes as its name says: 3fm three."""
        del gpu, precision
        return self.nets.setdefault(model.net, IdentityNet(frames_of(model.net)))

    def rehearse(
        self, model: TrainedModel, sides: tuple[int, int], *, gpu: int = CPU, precision: Precision = "float32"
    ) -> Rehearsal:
        """Return what it costs to give back a canvas: a plane of float32, and its mean of float64."""
        del gpu, precision
        net = IdentityNet(frames_of(model.net))
        window = np.zeros((net.frames, *sides), np.uint8)
        begin = time.perf_counter()
        for _ in net.averaged([window], VARIANTS[:1]):
            pass
        seconds = time.perf_counter() - begin
        return Rehearsal(frames=net.frames, seconds=seconds, memory=20 * sides[0] * sides[1], weights=0)

    def reach(self, model: TrainedModel, *, gpu: int = CPU) -> int:
        """Return 0: a net that gives back a voxel looks at no other."""
        del model, gpu
        return 0

    def predict(self, job: PredictJob, *, report: Callable[[Progress], None] | None = None) -> None:
        """Write every plane of every stack as probabilities (1, 2, x, y), a file each."""
        for path in (job.model.deploy, job.model.weights):
            if not path.is_file():
                raise MissingFileError(f"{path} is not there; expected a trained model")
        for done, (stack, folder) in enumerate(job.stacks, start=1):
            _predict_stack(stack, folder)
            _note(job.log, f"{stack} predicted")
            if report:
                report(Progress(done, len(job.stacks)))

    def train(self, job: TrainJob, *, report: Callable[[Progress], None] | None = None) -> None:
        """Write the log lines and the snapshots of a training whose net has no weights."""
        solver = prototxt.read_solver(job.solver)
        _check_training(job, solver)
        begin = caffemodel.read_state(job.snapshot).iter if job.snapshot else 0
        for iteration in range(begin + 1, solver.max_iter + 1):
            loss = 1 / iteration
            _note(job.log, f"I0101 00:00:00.000000     1 solver.cpp:237] Iteration {iteration - 1}, loss = {loss:.6g}")
            if iteration == solver.max_iter or (solver.snapshot and iteration % solver.snapshot == 0):
                prefix = job.folder / f"{solver.snapshot_prefix}_iter_{iteration}"
                write_snapshot(prefix, iteration)
                if job.after_snapshot and job.after_snapshot(prefix.with_name(f"{prefix.name}.caffemodel")):
                    return
            if report:
                report(Progress(iteration, solver.max_iter, loss))


def frames_of(net: str) -> int:
    """Return how many planes the net of that name sees at once.

    Examples
    --------
    >>> frames_of("3fm"), frames_of("mitochondria")
    (3, 1)
    """
    match = re.match(r"[1-9]\d*", net)
    return int(match[0]) if match else 1


def share_of_largest(values: np.ndarray) -> np.ndarray:
    """Return `values` divided by the largest that their type can hold (floats: as they are), as float32.

    Parameters
    ----------
    values : ndarray of a number type, any shape

    Returns
    -------
    ndarray of float32, that shape

    Examples
    --------
    >>> share_of_largest(np.array([0, 51, 255], dtype=np.uint8)).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    largest = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    return (values / largest).astype(np.float32)


def write_snapshot(prefix: Path, iteration: int) -> None:
    """Write a model without weights, and a state that goes on from it."""
    model = prefix.with_name(f"{prefix.name}.caffemodel")
    caffemodel.write_model(model, NetParameter(layer=[LayerParameter(name="identity")]))
    caffemodel.write_state(
        prefix.with_name(f"{prefix.name}.solverstate"), SolverState(iter=iteration, learned_net=str(model))
    )


def _predict_stack(stack: Path, folder: Path) -> None:
    if not stack.is_file():
        raise MissingFileError(f"{stack} is not there; expected an HDF5 stack with /data of shape (x, y, z)")
    data = from_caffe_axes(np.asarray(read_dataset(stack)))
    folder.mkdir(parents=True, exist_ok=True)
    for z, plane in enumerate(share_of_largest(data)):
        probabilities = np.stack([1 - plane.T, plane.T])[np.newaxis]
        write_datasets(folder / plane_file(STACK_OUTPUT, z), {"data": probabilities}, naming=LEFT_TO_SYSTEM)


def _check_training(job: TrainJob, solver: SolverParameter) -> None:
    if job.snapshot is not None and job.weights is not None:
        raise InputError("a snapshot to resume from and weights to start from; expected one of them")
    for path in (job.folder / solver.net, job.snapshot, job.weights):
        if path is not None and not path.is_file():
            raise MissingFileError(f"{path} is not there; this training needs it")
    if solver.max_iter < 1:
        raise EngineError(f"{job.solver} has max_iter {solver.max_iter}; expected a number of at least 1")


def _note(log: Path | None, line: str) -> None:
    if log:
        with appending(log) as file:
            file.write(f"{line}\n")
