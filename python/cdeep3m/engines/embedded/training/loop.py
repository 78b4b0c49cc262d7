"""Train a net as its solver says: Caffe's loop, with its tests, snapshots and log."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import torch

from cdeep3m.engines.base import Progress
from cdeep3m.engines.embedded.fast.training_steps import merged
from cdeep3m.engines.embedded.net.executor import Net, layers_of
from cdeep3m.engines.embedded.net.layers.patch_data import PatchData
from cdeep3m.engines.embedded.net.layers.softmax_with_loss import SoftmaxWithLoss
from cdeep3m.engines.embedded.training import snapshots
from cdeep3m.engines.embedded.training.batches import Batches, loss_weights, number_for, total_loss
from cdeep3m.engines.embedded.training.glog import GLog, number, output_line
from cdeep3m.engines.embedded.training.losses import Losses
from cdeep3m.engines.embedded.training.solver import Solver, check_solver
from cdeep3m.engines.learning import Learning
from cdeep3m.errors import InputError, MissingFileError
from cdeep3m.proto import caffe_pb2
from cdeep3m.proto.caffemodel import read_model
from cdeep3m.proto.prototxt import read_net, read_solver
from cdeep3m.system.interrupts import uninterrupted
from cdeep3m.system.memory import kept_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from cdeep3m.engines.base import TrainJob
    from cdeep3m.engines.learning import Loss

SEEDS = 2**63 - 1

LEARNING = ("loss", "schedule", "sampling", "decay", "average")
"""Parts of `Learning` that go beyond Caffe and are known here."""

READ_EVERY = 20
"""Iterations after which a GPU's losses are read where the solver displays none."""


def train(
    job: TrainJob,
    *,
    device: torch.device | str,
    report: Callable[[Progress], None] | None = None,
    stream: TextIO | None = None,
    asked: Callable[[], bool] | None = None,
) -> None:
    """Train a net to the solver's max_iter.

    With random_seed set in the solver, a training repeats bit for bit on one device, and so does one that was
    interrupted and went on from its snapshot.

    Parameters
    ----------
    job : TrainJob
        What to train; snapshots go where its solver says, the log to `job.log`.
    device : torch.device or str
        What runs it.
    report : callable, optional
        Called after every iteration.
    stream : text stream, optional
        Gets Caffe's log lines, too.
    asked : callable, optional
        Called after every iteration: whether somebody has asked for a snapshot since.

    Raises
    ------
    InputError
        Settings or data that do not fit; nothing was trained.
    EngineError
        The loss became infinite or no number; the last snapshot stays.
    KeyboardInterrupt
        After a snapshot of the last whole iteration.
    """
    solver = read_solver(job.solver)
    check_solver(solver)
    _check_learning(job)
    _check_places(job, solver)
    device = torch.device(device)
    with GLog(job.log, stream) as log, _repeatable(solver, device), kept_memory():
        training = Training(job, solver, device, log, report or _ignore, asked)
        try:
            training.start()
            training.solve()
        except KeyboardInterrupt:
            training.stop_early()
            raise
        finally:
            training.close()


class Training:
    """One run of a solver.

    Attributes
    ----------
    net : Net
        The net in TRAIN.
    tests : list of Net
        The nets that are tested during the training; they use the blobs of `net`.
    solver : Solver
        Iteration, history and update.
    """

    def __init__(
        self,
        job: TrainJob,
        settings: caffe_pb2.SolverParameter,
        device: torch.device,
        log: GLog,
        report: Callable[[Progress], None],
        asked: Callable[[], bool] | None = None,
    ) -> None:
        self.job, self.settings, self.log, self.report = job, settings, log, report
        self.asked = asked or _never
        self.learning = job.learning or Learning()
        log.info(
            "caffe.cpp:179", f"Use {'CPU' if device.type == 'cpu' else f'GPU with device ID {device.index or 0}'}."
        )
        log.info("solver.cpp:48", f"Initializing solver from parameters: \n{settings}")
        seed = settings.random_seed if settings.random_seed >= 0 else secrets.randbelow(SEEDS)
        train_net, test_nets = nets_of_solver(settings, job.folder)
        weigh_side_losses(train_net, self.learning.loss.auxiliary)
        log.info("solver.cpp:91", f"Creating training net from net file: {settings.net or settings.train_net}")
        self.net = self._build(train_net, caffe_pb2.TRAIN, device, seed, job.training)
        _weigh_classes(self.net, self.learning.loss)
        self.tests = []
        for i, message in enumerate(test_nets):
            log.info("solver.cpp:181", f"Creating test net (#{i}) specified by net file: {settings.net}")
            self.tests.append(self._build(message, caffe_pb2.TEST, device, seed + i + 1, job.validation))
            self.tests[i].share_weights(self.net)
        self.losses = Losses(settings.average_loss)
        replayed = device.type == "cuda" and settings.random_seed < 0 and not job.rules.stops_without_background
        self.batches = Batches(self.net, number=number_for(job.precision, device), replayed=replayed)
        self.solver = Solver(settings, self.net.learnable, self.learning)
        self.every = 1 if device.type == "cpu" else settings.display or READ_EVERY
        self.written = self.judged = 0
        log.info("solver.cpp:60", "Solver scaffolding done.")

    def start(self) -> None:
        """Load the snapshot or the weights that the job names, and find the batch to go on with."""
        if self.job.snapshot is not None:
            self.log.info("caffe.cpp:206", f"Resuming from {self.job.snapshot}")
            snapshots.restore(self.job.snapshot, self.job.folder, self.net, self.solver)
        elif self.job.weights is not None:
            self.log.info("caffe.cpp:155", f"Finetuning from {self.job.weights}")
            self.net.load_weights(read_model(self.job.weights))
            self.solver.keep_averages()
        self.written = self.judged = self.solver.iteration
        _seek(self.net, self.solver.iteration * self.settings.iter_size)
        for net, batches in zip(self.tests, self.settings.test_iter, strict=True):
            _seek(net, completed_tests(self.settings, self.solver.iteration) * batches)

    def solve(self) -> None:
        """Iterate to max_iter; then show and test what was learnt."""
        self.log.info("caffe.cpp:214", "Starting Optimization")
        self.log.info("solver.cpp:288", f"Solving {self.net.message.name}")
        self.log.info("solver.cpp:289", f"Learning Rate Policy: {self._policy}")
        while self.solver.iteration < self.settings.max_iter:
            self._iterate()
            if self.asked() or self._due(self.settings.snapshot):
                self.snapshot()
                if self._is_enough():
                    self.log.info("solver.cpp:306", "Optimization stopped early.")
                    return
        if self.settings.snapshot_after_train:
            self.snapshot()
            self._is_enough()
        if self._due(self.settings.display):
            self._show_final_loss()
        if self._due(self.settings.test_interval):
            self.test()
        self.log.info("solver.cpp:326", "Optimization Done.")
        self.log.info("caffe.cpp:217", "Optimization Done.")

    def _is_enough(self) -> bool:
        """Return whether the training ends with the snapshot that was just written."""
        if self.job.after_snapshot is None or self.judged == self.solver.iteration:
            return False
        self.judged = self.solver.iteration
        name = snapshots.snapshot_name(self.settings.snapshot_prefix, self.solver.iteration, "caffemodel")
        return self.job.after_snapshot(self.job.folder / name)

    @property
    def _policy(self) -> str:
        shape = self.learning.schedule.shape
        return self.settings.lr_policy if shape == "caffe" else shape

    def stop_early(self) -> None:
        """Keep the last whole iteration, as Caffe does on SIGINT."""
        self.snapshot()
        self.log.info("solver.cpp:306", "Optimization stopped early.")

    def snapshot(self) -> None:
        """Write model and state, unless those of this iteration were written."""
        if self.written == self.solver.iteration:
            return
        self._settle()
        name = snapshots.snapshot_name(self.settings.snapshot_prefix, self.solver.iteration, "caffemodel")
        self.log.info("solver.cpp:459", f"Snapshotting to binary proto file {name}")
        goes_on_from = snapshots.write_weights(self.job.folder, self.net, self.solver)
        state = snapshots.snapshot_name(self.settings.snapshot_prefix, self.solver.iteration, "solverstate")
        self.log.info("sgd_solver.cpp:269", f"Snapshotting solver state to binary proto file {state}")
        snapshots.write_solver_state(self.job.folder, self.solver, goes_on_from)
        self.written = self.solver.iteration

    @torch.no_grad()
    def test(self) -> None:
        """Log the mean outputs of every test net over its batches."""
        for index, (net, batches) in enumerate(zip(self.tests, self.settings.test_iter, strict=True)):
            self.log.info("solver.cpp:341", f"Iteration {self.solver.iteration}, Testing net (#{index})")
            with self.solver.averaged():
                results = [self.batches.outputs(net) for _ in range(batches)]
            if self.settings.test_compute_loss:
                loss = sum(float(total_loss(net, result)) for result in results) / batches
                self.log.info("solver.cpp:387", f"Test loss: {number(loss)}")
            scores = torch.stack([_values(net, result) for result in results]).mean(0).tolist()
            self._log_outputs("Test", "solver.cpp:409", net, results[0], scores)

    def close(self) -> None:
        """Stop the threads that read ahead."""
        for net in (self.net, *self.tests):
            for layer in net.layers:
                if hasattr(layer, "close"):
                    layer.close()

    def _build(self, message: caffe_pb2.NetParameter, phase: int, device: torch.device, seed: int, volumes: Any) -> Net:
        return Net(
            message,
            phase=phase,
            device=device,
            generator=torch.Generator().manual_seed(seed % SEEDS),
            folder=self.job.folder,
            sources={
                "volumes": volumes,
                "needs_background": self.job.rules.stops_without_background,
                "augmentation": self.job.augmentation if phase == caffe_pb2.TRAIN else None,
                "loss": self.learning.loss,
                "sampling": self.learning.sampling if phase == caffe_pb2.TRAIN else None,
                "ignored": self.learning.loss.ignore,
            },
            rewrite=merged if phase == caffe_pb2.TRAIN else None,
        )

    def _iterate(self) -> None:
        """Make one update; after an interrupt or an error in between, weights and statistics are as before."""
        statistics = [item.blob for item in self.solver.learnable if not item.blob.requires_grad]
        before = [torch.empty_like(blob) for blob in statistics]
        _copy(before, statistics)
        tested = self.solver.iteration > 0 or self.settings.test_initialization
        try:
            if tested and self._due(self.settings.test_interval):
                self.test()
            self._display(self._accumulate())
        except BaseException:
            _copy(statistics, before)
            raise
        with uninterrupted():
            self._clip()
            self.solver.update()
        self.report(Progress(self.solver.iteration, self.settings.max_iter, self.losses.smoothed))

    def _accumulate(self) -> Mapping[str, torch.Tensor]:
        """Sum the gradients of iter_size batches; return the outputs of the last one."""
        self.solver.clear_gradients(keep_memory=self.batches.replayed)
        total = torch.zeros((), dtype=torch.float64, device=self.net.context.device)
        for _ in range(self.settings.iter_size):
            result, loss = self.batches.run()
            total += loss
        self.losses.add(self.solver.iteration, total / self.settings.iter_size)
        if self._due(self.every):
            self._settle()
        return result

    def _settle(self) -> None:
        """Read losses and look at labels, neither of which is done in between so that a GPU need not wait."""
        self.losses.read()
        for layer in self.net.layers:
            if hasattr(layer, "settle"):
                layer.settle()

    def _display(self, result: Mapping[str, torch.Tensor]) -> None:
        if not self._due(self.settings.display):
            return
        self.log.info("solver.cpp:237", f"Iteration {self.solver.iteration}, loss = {number(self.losses.read())}")
        self._log_outputs("Train", "solver.cpp:253", self.net, result, _values(self.net, result).tolist())
        self.log.info("sgd_solver.cpp:106", f"Iteration {self.solver.iteration}, lr = {number(self.solver.rate)}")

    def _show_final_loss(self) -> None:
        """Log the loss of one more batch, as Solver::Solve does; it moves the running statistics that the test sees."""
        loss = float(total_loss(self.net, self.batches.outputs(self.net)))
        self.log.info("solver.cpp:321", f"Iteration {self.solver.iteration}, loss = {number(loss)}")

    def _clip(self) -> None:
        if (clipped := self.solver.clip_gradients()) is not None:
            self.log.info(
                "sgd_solver.cpp:92",
                f"Gradient clipping: scaling down gradients (L2 norm {number(clipped[0])} > "
                f"{number(self.settings.clip_gradients)}) by scale factor {number(clipped[1])}",
            )

    def _log_outputs(
        self, kind: str, source: str, net: Net, result: Mapping[str, torch.Tensor], values: list[float]
    ) -> None:
        weights = loss_weights(net)
        names = [name for name in sorted(net.outputs) for _ in range(result[name].numel())]
        for index, (name, value) in enumerate(zip(names, values, strict=True)):
            self.log.info(source, output_line(kind, index, name, value, weights.get(name, 0.0)))

    def _due(self, interval: int) -> bool:
        return bool(interval) and self.solver.iteration % interval == 0


def nets_of_solver(
    solver: caffe_pb2.SolverParameter, folder: Path
) -> tuple[caffe_pb2.NetParameter, list[caffe_pb2.NetParameter]]:
    """Return the net to train and those to test, one for each `test_iter`.

    Parameters
    ----------
    solver : SolverParameter
        Names the nets (`net`, or `train_net` and `test_net`) or holds them.
    folder : Path
        What the names are relative to.

    Raises
    ------
    InputError
        No net to train, more than one, or a number of test nets that does not fit `test_iter`.
    """
    common = [solver.net_param] * solver.HasField("net_param") + [
        read_net(folder / name) for name in _names(solver.net)
    ]
    trained = common + [solver.train_net_param] * solver.HasField("train_net_param")
    trained += [read_net(folder / name) for name in _names(solver.train_net)]
    if len(trained) != 1:
        raise InputError(f'{len(trained)} nets to train in the solver; expected one (net: "train_val.prototxt")')
    own = [*solver.test_net_param, *(read_net(folder / name) for name in solver.test_net)]
    missing = len(solver.test_iter) - len(own)
    if missing and (missing < 0 or not common):
        raise InputError(f"{len(solver.test_iter)} test_iter for {len(own)} test nets; expected as many")
    tested = own + common * missing
    if tested and solver.test_interval < 1:
        raise InputError("test_iter without a test_interval; expected one of at least 1")
    states = [*solver.test_state, *[caffe_pb2.NetState()] * (len(tested) - len(solver.test_state))]
    return _in_state(trained[0], solver.train_state), [_in_state(*pair) for pair in zip(tested, states, strict=True)]


def weigh_side_losses(message: caffe_pb2.NetParameter, factor: float | None) -> None:
    """Multiply the weights of all losses of a training's net but the last one, in place; None leaves them.

    Examples
    --------
    >>> layers = [{"name": name, "type": "SoftmaxWithLoss", "top": [name]} for name in "abc"]
    >>> net = caffe_pb2.NetParameter(layer=layers)
    >>> weigh_side_losses(net, 0.5)
    >>> [list(layer.loss_weight) for layer in net.layer]
    [[0.5], [0.5], []]
    """
    if factor is None:
        return
    for layer in [layer for layer in layers_of(message, caffe_pb2.TRAIN) if layer.type.endswith("Loss")][:-1]:
        layer.loss_weight[:] = [factor * weight for weight in layer.loss_weight or (1.0,)]


def _weigh_classes(net: Net, loss: Loss) -> None:
    """Let the losses of `net` weigh the classes by how common they are in its volumes, where that is asked for."""
    if loss.class_weights != "frequency":
        return
    samplers = [layer.sampler for layer in net.layers if isinstance(layer, PatchData)]
    if not samplers:
        raise InputError(
            "class weights by frequency: expected a net with a PatchData layer, whose labels can be counted"
        )
    for layer in net.layers:
        if isinstance(layer, SoftmaxWithLoss):
            layer.weigh(samplers[0].class_shares(layer.classes, ignored=layer.ignored))


def completed_tests(solver: caffe_pb2.SolverParameter, iteration: int) -> int:
    """Return how often a training has tested before it comes to `iteration`.

    Examples
    --------
    >>> completed_tests(caffe_pb2.SolverParameter(test_interval=10), 20)
    2
    """
    if solver.test_interval < 1:
        return 0
    return -(-iteration // solver.test_interval) - (iteration > 0 and not solver.test_initialization)


def _values(net: Net, blobs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the outputs of a net as one row of numbers, blobs in the order of their names as in Caffe's log."""
    return torch.cat([blobs[name].detach().reshape(-1) for name in sorted(net.outputs)])


@torch.no_grad()
def _copy(into: list[torch.Tensor], blobs: list[torch.Tensor]) -> None:
    """Copy many blobs at once."""
    if blobs:
        torch._foreach_copy_(into, blobs)


def _seek(net: Net, position: int) -> None:
    for layer in net.layers:
        if hasattr(layer, "seek"):
            layer.seek(position)


def _names(name: str) -> list[str]:
    return [name] if name else []


def _in_state(message: caffe_pb2.NetParameter, state: caffe_pb2.NetState) -> caffe_pb2.NetParameter:
    """Return a copy of `message` with the stages and level of `state`."""
    copy = caffe_pb2.NetParameter()
    copy.CopyFrom(message)
    copy.state.MergeFrom(state)
    return copy


def _check_places(job: TrainJob, solver: caffe_pb2.SolverParameter) -> None:
    if job.snapshot is not None and job.weights is not None:
        raise InputError("a snapshot to resume from and weights to start from; expected one of them")
    place = (job.folder / snapshots.snapshot_name(solver.snapshot_prefix, 0, "caffemodel")).parent
    if not place.is_dir():
        raise MissingFileError(f"the folder {place} of snapshot_prefix is not there; make it")


def _check_learning(job: TrainJob) -> None:
    unknown = [name for name in (job.learning.beyond_caffe if job.learning else ()) if name not in LEARNING]
    if unknown:
        raise InputError(f"this engine does not know the {', '.join(unknown)} that the training asks for: leave it out")


def _ignore(progress: Progress) -> None:
    del progress


def _never() -> bool:
    return False


@contextmanager
def _repeatable(solver: caffe_pb2.SolverParameter, device: torch.device) -> Iterator[None]:
    """Choose algorithms that repeat bit for bit, where the solver has a random_seed; otherwise the fastest ones."""
    if solver.random_seed < 0:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=False):
            yield
        return
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    deterministic: Any = torch.utils.deterministic
    filling = deterministic.fill_uninitialized_memory
    # use_deterministic_algorithms does the same, but loads the compiler of PyTorch: seconds, and a folder in TMPDIR
    torch.set_deterministic_debug_mode("warn")
    torch.backends.cudnn.benchmark = False
    deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before[0])
        torch.backends.cudnn.benchmark = before[1]
        deterministic.fill_uninitialized_memory = filling
