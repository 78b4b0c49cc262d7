"""Train nets: the run directory, the solver's settings, where to go on, and one engine job after another.

::

    volumes --> create_run_over_files --> TRAINOUT/<net>/*.prototxt --> train --> TRAINOUT/<net>/trainedmodel
                                                                     |             |
                                                                     '-------------'  goes on from the highest snapshot
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.augmentation.settings import Augmentation
from cdeep3m.engines.base import CPU, InProcessEngine, ParallelEngine, TrainJob
from cdeep3m.engines.learning import Learning
from cdeep3m.errors import CDeep3MError, InputError, MissingFileError, RunError, failing_with, is_full
from cdeep3m.matlab_ports.create_train_job import snapshot_prefix
from cdeep3m.nets.prototxts import LR_POLICIES, NETS, SOLVER, TRAIN_LIST, TRAIN_VAL, VALID_LIST
from cdeep3m.proto import prototxt
from cdeep3m.proto.caffemodel import read_model
from cdeep3m.proto.learned_net import learned_net
from cdeep3m.rules import CORRECTED, Rules
from cdeep3m.runs.events import recorded
from cdeep3m.runs.made_of import NOTE, read_note
from cdeep3m.runs.recipe import demand_same_recipe
from cdeep3m.runs.states import training_events
from cdeep3m.runs.trained import STATE_SUFFIX, TrainedRun, iteration_of, snapshots, weights_in
from cdeep3m.system.files import locked, own_folder, small_text, whole_file, write_text
from cdeep3m.system.threads import side_by_side
from cdeep3m.training.facts import facts_of
from cdeep3m.training.folder import as_prototxts_say, keep_training_files
from cdeep3m.training.judging import JudgedNet, Judging
from cdeep3m.volumes.labels import IGNORED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cdeep3m.engines.base import Engine, LabelledVolume, Precision, Progress
    from cdeep3m.proto.caffe_pb2 import LayerParameter
    from cdeep3m.training.judging import Judge

log = logging.getLogger(__name__)

_README = threading.Lock()
"""Held while readme.txt is changed: nets may be trained side by side."""


FLAGS = {
    "loss": "--loss, --class-weights and --ignore",
    "schedule": "--warm_up and a --lr_policy of cosine or linear",
    "sampling": "--rare and --workers",
    "decay": "--solver AdamW",
    "average": "--average",
}
"""The options that ask for what Caffe does not know."""

OF_THE_COURSE = ("numiterations", "average_loss", "snapshot_interval", "test_interval")
"""Settings that may change as a training goes on: what is learned from a batch does not depend on them."""

NO_SOLVER = 2
NO_LOG_FOLDER = 3
NO_MODEL_FOLDER = 4
NO_NET_FOLDER = 2
JOB_FAILED = 1
"""Exit statuses of caffetrain.sh (the first three) and trainworker.sh."""


def flags_of(learning: Learning) -> str:
    """Return the options that ask for what in `learning` goes beyond Caffe.

    Examples
    --------
    >>> flags_of(Learning(decay=0.01, average=0.99))
    '--solver AdamW, --average'
    """
    return ", ".join(FLAGS.get(name, name) for name in learning.beyond_caffe)


@dataclass(frozen=True, kw_only=True)
class SolverSettings:
    """What the commands' options change in a solver.prototxt.

    Attributes
    ----------
    numiterations : int
        Iterations to train to (max_iter).
    base_learn, power, momentum, weight_decay : float
        Learning rate at the start, exponent of its decay, momentum, weight decay.
    lr_policy : str
        One of `LR_POLICIES`.
    average_loss, iter_size, snapshot_interval : int
        Iterations over which the reported loss is averaged, batches per iteration, iterations between snapshots.
    test_interval : int, optional
        Iterations between tests; None leaves the solver's own.
    seed : int, optional
        Makes a training repeatable; None leaves the solver's own.
    solver : str, optional
        Which of Caffe's solvers, by the name that its `type` has; None leaves the solver's own.
    momentum2, rms_decay, delta : float, optional
        What Adam keeps of the mean of squares, RMSProp of its own, and what all but SGD and Nesterov add to a root
        before they divide by it; None leaves the solver's own.
    clip_gradients : float, optional
        Longest that all gradients together may be; None leaves the solver's own, which is no limit.

    Raises
    ------
    InputError
        A value out of range.
    """

    numiterations: int = 30000
    base_learn: float = 1e-2
    power: float = 0.8
    momentum: float = 0.9
    weight_decay: float = 5e-4
    average_loss: int = 16
    lr_policy: str = "poly"
    iter_size: int = 8
    snapshot_interval: int = 2000
    test_interval: int | None = None
    seed: int | None = None
    solver: str | None = None
    momentum2: float | None = None
    rms_decay: float | None = None
    delta: float | None = None
    clip_gradients: float | None = None

    def __post_init__(self) -> None:
        for name in ("numiterations", "average_loss", "iter_size", "snapshot_interval"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "a number of at least 1")
        tested = self.test_interval is None or self.test_interval >= 1
        _require(tested, "test_interval", self.test_interval, "a number of at least 1")
        _require(self.base_learn > 0, "base_learn", self.base_learn, "a number above 0")
        _require(0 <= self.momentum < 1, "momentum", self.momentum, "a number in [0, 1)")
        _require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "a number of at least 0")
        _require(self.lr_policy in LR_POLICIES, "lr_policy", self.lr_policy, f"one of {', '.join(LR_POLICIES)}")


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What one training was asked to do.

    Attributes
    ----------
    out : Path
        Folder made by `create_run_over_files` or `create_run`.
    nets : tuple of str
        Which nets to train, one after another.
    settings : SolverSettings
        Settings of every net.
    gpus : tuple of int
        Devices that take the jobs in turn; `CPU` is the CPU.
    retrain : Path, optional
        A trained run to go on from.
    additerations : int
        Iterations to add to those of `retrain`.
    rules : Rules
        Stop where the original stops, at a batch without any background voxel (defect 20).
    precision : {"float32", "fast"}
        Compute as exactly as Caffe does, or with shorter numbers, sooner.
    augmentation : Augmentation
        How patches are changed.
    learning : Learning
        How the nets learn beyond what a solver can say.
    own_settings : mapping of str to SolverSettings
        Of nets whose settings are others than `settings`.
    judging : Judging
        What is done with snapshots.
    recipe : bool
        Whether the training follows the recipe that is noted in its folder.

    Raises
    ------
    InputError
        No net, a value out of range, or fast numbers where the original's results are wanted.
    """

    out: Path
    nets: tuple[str, ...] = NETS
    settings: SolverSettings = field(default_factory=SolverSettings)
    gpus: tuple[int, ...] = (CPU,)
    retrain: Path | None = None
    additerations: int = 2000
    rules: Rules = CORRECTED
    precision: Precision = "float32"
    augmentation: Augmentation = field(default_factory=Augmentation)
    learning: Learning = field(default_factory=Learning)
    own_settings: Mapping[str, SolverSettings] = field(default_factory=dict)
    judging: Judging = field(default_factory=Judging)
    recipe: bool = False

    def __post_init__(self) -> None:
        _demand_faithful(self.rules, self.precision, self.learning)
        _require(bool(self.nets) and all(self.nets), "models", ",".join(self.nets), "names of nets, as in 1fm,3fm")
        _require(len(set(self.nets)) == len(self.nets), "models", ",".join(self.nets), "each net once")
        _require(self.additerations >= 1, "additerations", self.additerations, "a number of at least 1")


@dataclass(frozen=True, kw_only=True)
class NetTraining:
    """One net of a run, and how far to train it.

    Attributes
    ----------
    folder : Path
        The net's folder in the run.
    settings : SolverSettings
        How to train it.
    gpu : int
        Where.
    weights : Path, optional
        A model to start from where there is no snapshot to go on from.
    rules : Rules
        Stop where the original stops (defect 20).
    precision : {"float32", "fast"}
        What convolutions are computed with.
    augmentation : Augmentation
        How patches are changed.
    learning : Learning
        How the nets learn beyond what a solver can say.
    judging : Judging
        What is done with snapshots.
    """

    folder: Path
    settings: SolverSettings
    gpu: int = CPU
    weights: Path | None = None
    rules: Rules = CORRECTED
    precision: Precision = "float32"
    augmentation: Augmentation = field(default_factory=Augmentation)
    learning: Learning = field(default_factory=Learning)
    judging: Judging = field(default_factory=Judging)

    def __post_init__(self) -> None:
        _demand_faithful(self.rules, self.precision, self.learning)

    @property
    def net(self) -> str:
        """Name of the net."""
        return self.folder.name


def default_nets(planes: int) -> tuple[str, ...]:
    """Return the nets to train on so many planes where none were named: on a single one 1fm, which sees no other.

    Examples
    --------
    >>> default_nets(1), default_nets(100)
    (('1fm',), ('1fm', '3fm', '5fm'))
    """
    if planes != 1:
        return NETS
    log.info("the images are a single plane: 1fm is trained alone; name other nets with --models")
    return NETS[:1]


def _demand_faithful(rules: Rules, precision: Precision, learning: Learning) -> None:
    if rules.stops_without_background and learning.beyond_caffe:
        raise InputError(f"{learning.words}: the original knows none of it; use either --exact or {flags_of(learning)}")
    if rules.stops_without_background and precision != "float32":
        raise InputError("fast numbers do not reproduce the original: use either --exact or --precision fast")


def train(
    request: TrainRequest,
    engine: Engine,
    *,
    report: Callable[[str, Progress], None] | None = None,
    training: Sequence[LabelledVolume] = (),
    validation: Sequence[LabelledVolume] = (),
    judge: Judge | None = None,
) -> None:
    """Train each net of a run to its last iteration; the same call goes on where an interrupted one stopped.

    Parameters
    ----------
    request : TrainRequest
        What to train, and how.
    engine : Engine
        What trains; one whose jobs run outside this process trains a net on each GPU at the same time.
    report : callable, optional
        Called with the net and its progress.
    training, validation : sequences of LabelledVolume, optional
        Volumes in memory instead of the files that the run lists.
    judge : Judge, optional
        Scores and calibrates snapshots, where the request asks for that.

    Raises
    ------
    MissingFileError
        `retrain` is no directory.
    RunError
        A net's folder is missing (exit status 2), or the training there follows a recipe, or is one on other files.
    CDeep3MError
        What stopped a net; the others have been trained all the same.
    """
    check_retrain(request.retrain)
    check_engine(request, engine, judge)
    if not request.recipe:
        demand_same_recipe(request.out, None)
    with failing_with(NO_NET_FOLDER):
        _check_folders(request)
    if not training and not request.rules.is_exact:
        keep_training_files(request.out)
    jobs = prepare(request)
    write_text(request.out / "parallel.jobs", "".join(job_lines(job) for job in jobs))

    def run(job: NetTraining) -> None:
        with failing_with(JOB_FAILED):
            train_net(job, engine, report=report, training=training, validation=validation, judge=judge)

    _train_all(jobs, run, engine)


def check_engine(request: TrainRequest, engine: Engine, judge: Judge | None = None) -> None:
    """Raise InputError where an engine over files is asked for what Caffe cannot do."""
    if request.augmentation and not isinstance(engine, InProcessEngine):
        raise InputError(
            f"the engine {engine.name} draws patches as Caffe does: leave --augment, --resize, --jitter and --noise "
            "out, or augment files with PreprocessTrainingData"
        )
    if request.learning.beyond_caffe and not isinstance(engine, InProcessEngine):
        raise InputError(
            f"the engine {engine.name} learns as Caffe does: leave {flags_of(request.learning)} out, or use --engine "
            "embedded"
        )
    if request.judging.is_needed and (judge is None or not isinstance(engine, InProcessEngine)):
        raise InputError(
            f"the engine {engine.name} scores and calibrates no snapshots: leave --holdout and --calibrate out, or use "
            "--engine embedded"
        )


def _train_all(jobs: Sequence[NetTraining], run: Callable[[NetTraining], None], engine: Engine) -> None:
    """Run every job, whatever becomes of the others: those of different GPUs at the same time, where the engine can.

    Raises
    ------
    CDeep3MError
        What stopped a net, when all have been tried; a full disk, which stops all of them, at once.
    """
    failures: dict[str, CDeep3MError] = {}
    stopped = threading.Event()

    def run_all(lane: Sequence[NetTraining]) -> None:
        for job in lane:
            if stopped.is_set():
                return
            try:
                run(job)
            except CDeep3MError as error:
                if is_full(error):
                    stopped.set()
                    raise
                failures[job.net] = error
                log.warning("%s failed (%s); the other nets are trained all the same", job.net, error)

    def stop() -> None:
        stopped.set()
        if isinstance(engine, ParallelEngine):
            engine.stop()

    lanes = [[job for job in jobs if job.gpu == gpu] for gpu in dict.fromkeys(job.gpu for job in jobs)]
    if isinstance(engine, ParallelEngine) and len(lanes) > 1:
        side_by_side([partial(run_all, lane) for lane in lanes], stop=stop)
    else:
        run_all(jobs)
    if len(failures) > 1:
        raise RunError("; ".join(f"{net}: {error}" for net, error in failures.items()))
    if failures:
        raise next(iter(failures.values()))


def prepare(request: TrainRequest) -> list[NetTraining]:
    """Return the jobs of a run, one per net; brings the snapshots of `retrain` into the run first."""
    jobs = [
        NetTraining(
            folder=request.out / net,
            settings=request.own_settings.get(net, request.settings),
            gpu=gpu,
            rules=request.rules,
            precision=request.precision,
            augmentation=request.augmentation,
            learning=request.learning,
            judging=request.judging,
        )
        for net, gpu in zip(request.nets, cycle(request.gpus), strict=False)
    ]
    if request.retrain is None:
        return jobs
    return [_retrained(job, TrainedRun(request.retrain), request.additerations) for job in jobs]


def job_lines(job: NetTraining) -> str:
    """Return the twelve lines of parallel.jobs that describe `job`: its settings, its net and the run's folder."""
    s = job.settings
    values = (
        *(s.numiterations, job.gpu, s.base_learn, s.power, s.momentum, s.weight_decay, s.average_loss, s.lr_policy),
        *(s.iter_size, s.snapshot_interval, job.net, job.folder.parent),
    )
    return "".join(f"{value}\n" for value in values)


def train_net(
    job: NetTraining,
    engine: Engine,
    *,
    report: Callable[[str, Progress], None] | None = None,
    training: Sequence[LabelledVolume] = (),
    validation: Sequence[LabelledVolume] = (),
    judge: Judge | None = None,
) -> None:
    """Train one net to its last iteration, from its highest snapshot on (caffetrain.sh).

    Raises
    ------
    MissingFileError
        The net has no solver.prototxt (exit status 2).
    RunError
        Its log/ (3) or trainedmodel/ (4) cannot be made.
    CDeep3MError
        The engine failed.
    """
    with _alone(job.folder):
        prepare_folder(job.folder, job.settings)
        if job.augmentation.changes_shape:
            ignore_voxels_outside(job.folder / TRAIN_VAL)
        judged = _judged(job, judge) if judge and job.judging.is_needed else None
        _train_on(job, engine, report=report, training=training, validation=validation, judged=judged)


def _keep_settings(job: NetTraining, *, goes_on: bool, is_finished: bool) -> None:
    """Note what a net is trained with, and say what differs from what it was trained with so far.

    Raises
    ------
    RunError
        It is finished, with other settings.
    """
    noted, told = read_note(job.folder), _settings_in_words(job)
    differing = [f"{key} {noted[key]}" for key in told if noted.get(key, told[key]) != told[key]]
    now = ", ".join(f"{key} {told[key]}" for key in told if noted.get(key, told[key]) != told[key])
    if goes_on and differing and is_finished:
        raise RunError(
            f"{job.folder} was trained with {', '.join(differing)}, and is finished; this run says {now}. Train into "
            "another folder, or on to more --numiterations"
        )
    if goes_on and differing:
        log.warning("Warning: %s goes on with %s; so far it was %s", job.net, now, ", ".join(differing))
    if noted != {**noted, **told}:
        write_text(job.folder / NOTE, json.dumps({**noted, **told}, sort_keys=True) + "\n")


def _settings_in_words(job: NetTraining) -> dict[str, str]:
    """Return what makes a net another one, by the options that say it; what is left to the solver is not among them."""
    given = {f"--{name}": value for name, value in asdict(job.settings).items() if name not in OF_THE_COURSE}
    return {
        **{name: str(value) for name, value in given.items() if value is not None},
        "--precision": job.precision,
        "augmentation": job.augmentation.words or "none",
        "learning": job.learning.words or "as Caffe does",
    }


def _judged(job: NetTraining, judge: Judge) -> JudgedNet:
    settings = job.settings
    return JudgedNet(
        folder=job.folder,
        judge=judge,
        asked=job.judging,
        interval=settings.snapshot_interval,
        last=settings.numiterations,
    )


def _train_on(
    job: NetTraining,
    engine: Engine,
    *,
    report: Callable[[str, Progress], None] | None,
    training: Sequence[LabelledVolume],
    validation: Sequence[LabelledVolume],
    judged: JudgedNet | None = None,
) -> None:
    if job.precision != "float32" and not isinstance(engine, InProcessEngine):
        raise InputError(f"the engine {engine.name} trains as Caffe does: leave --precision {job.precision} out")
    snapshot = usable_snapshot(job.folder)
    reached = iteration_of(snapshot) if snapshot else None
    if judged:
        judged.catch_up(reached or 0)
    is_over = judged is not None and judged.is_over
    is_finished = reached is not None and (reached >= job.settings.numiterations or is_over)
    if not job.rules.is_exact:
        _keep_settings(job, goes_on=reached is not None, is_finished=is_finished)
    if reached is not None and is_finished:
        why = ", where nothing improved any more" if is_over and reached < job.settings.numiterations else ""
        total = job.settings.numiterations
        log.info("%s has reached iteration %d of %d%s: nothing to do", job.net, reached, total, why)
        if judged:
            judged.finish()
        return
    if snapshot:
        log.info("%s goes on from %s", job.net, snapshot.name)
    runs_on = f"{engine.name}, {engine.device(job.gpu)}"
    _note(job, f"{job.net} was trained by {runs_on}")
    if job.learning.beyond_caffe:
        _note(job, f"{job.net} was trained with {job.learning.words}")
    facts = {"engine": runs_on, "net": job.net, "iterations": job.settings.numiterations, "from": reached or 0}
    with recorded(training_events(job.folder.parent, job.net), kind="training", **facts) as recorder:
        recorder.write("data", **facts_of(job.folder.parent, training, validation))
        noted = recorder.reporting(report)
        engine.train(
            TrainJob(
                solver=job.folder / SOLVER,
                folder=job.folder,
                gpu=job.gpu,
                snapshot=snapshot,
                weights=None if snapshot else job.weights,
                log=job.folder / "log" / "out.log",
                training=training,
                validation=validation,
                rules=job.rules,
                precision=job.precision,
                augmentation=job.augmentation or None,
                learning=job.learning if job.learning.beyond_caffe else None,
                after_snapshot=judged.after_snapshot if judged and judged.asked.held_out else None,
            ),
            report=lambda progress: noted(job.net, progress),
        )
        if judged:
            judged.finish()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep a second process from training the same net; raise RunError when one does already."""
    with locked(folder / ".lock") if folder.is_dir() else nullcontext(True) as ours:
        if not ours:
            raise RunError(f"another training is running in {folder}: wait for it, or choose another folder")
        yield


def prepare_folder(folder: Path, settings: SolverSettings) -> None:
    """Set the options in a net's solver.prototxt, make its log/ and trainedmodel/; errors carry caffetrain's status."""
    with failing_with(NO_SOLVER):
        set_options(folder / SOLVER, settings)
    _find_lists(folder)
    for name, status in (("log", NO_LOG_FOLDER), ("trainedmodel", NO_MODEL_FOLDER)):
        with failing_with(status):
            own_folder(folder / name)


def _find_lists(folder: Path) -> None:
    """Let the net of a run that was moved read the lists that moved with it."""
    path = folder / TRAIN_VAL
    if not path.is_file():
        return
    net = prototxt.read_net(path)
    lost = [layer.data_provider_param for layer in net.layer if _is_lost(layer, folder)]
    for data in lost:
        data.data_source = f"{as_prototxts_say(folder.absolute().parent)}/{Path(data.data_source).name}"
    if lost:
        prototxt.write(path, net)


def _is_lost(layer: LayerParameter, folder: Path) -> bool:
    """Return whether the list that a layer reads is not where it says, but in the run."""
    named = Path(layer.data_provider_param.data_source)
    return (
        named.name in (TRAIN_LIST, VALID_LIST)
        and not named.is_file()
        and not (folder / named).is_file()
        and (folder.parent / named.name).is_file()
    )


def ignore_voxels_of(out: Path) -> None:
    """Let the losses of all nets of a run leave out what training files mark as outside of their volumes."""
    for net in NETS:
        if (out / net / TRAIN_VAL).is_file():
            ignore_voxels_outside(out / net / TRAIN_VAL)


def ignore_voxels_outside(path: Path) -> None:
    """Let the losses of a train_val.prototxt leave voxels out that augmentation shows beyond the volume's edge."""
    net = prototxt.read_net(path)
    losses = [layer for layer in net.layer if layer.type == "SoftmaxWithLoss"]
    if all(layer.loss_param.ignore_label == IGNORED for layer in losses):
        return
    for layer in losses:
        layer.loss_param.ignore_label = IGNORED
    prototxt.write(path, net)


def set_options(path: Path, settings: SolverSettings) -> None:
    """Set the options in a solver.prototxt; snapshots go to trainedmodel/ beside it, wherever the run lies now.

    Comments in it stay.
    """
    solver = prototxt.read_solver(path)
    solver.max_iter = settings.numiterations
    solver.base_lr = settings.base_learn
    solver.power = settings.power
    solver.momentum = settings.momentum
    solver.weight_decay = settings.weight_decay
    solver.average_loss = settings.average_loss
    solver.lr_policy = settings.lr_policy
    solver.iter_size = settings.iter_size
    solver.snapshot = settings.snapshot_interval
    folder = path.absolute().parent
    solver.snapshot_prefix = snapshot_prefix(as_prototxts_say(folder.parent), folder.name)
    if settings.test_interval is not None:
        solver.test_interval = settings.test_interval
    if settings.seed is not None:
        solver.random_seed = settings.seed
    if settings.solver is not None:
        solver.ClearField("solver_type")
        solver.type = settings.solver
    for name in ("momentum2", "rms_decay", "delta", "clip_gradients"):
        if getattr(settings, name) is not None:
            setattr(solver, name, getattr(settings, name))
    prototxt.write_changes(path, solver)


def usable_snapshot(folder: Path) -> Path | None:
    """Return the highest solver state in a net's trainedmodel/ that can be read and has its model, or None.

    A tool that was killed while it wrote may have left its last snapshot cut off.
    """
    for state in reversed(snapshots(folder / "trainedmodel", STATE_SUFFIX)):
        try:
            read_model(learned_net(state))
        except CDeep3MError as error:
            log.warning("%s cannot be used (%s); trying the one before it", state.name, error)
        else:
            return state
    return None


def _retrained(job: NetTraining, old: TrainedRun, additerations: int) -> NetTraining:
    """Return `job` as it goes on from `old`: from its highest snapshot, or else from its highest model's weights."""
    iteration, weights = old.highest_iteration(job.net), weights_in(old.models(job.net))
    if old.snapshot(job.net):
        _copy_snapshots(old.models(job.net), job.folder / "trainedmodel")
        _note(job, f"{job.net} was retrained from iteration {iteration} of {old.folder.absolute()}")
        return replace(job, settings=replace(job.settings, numiterations=iteration + additerations))
    if weights:
        _note(job, f"{job.net} was retrained from the weights {weights[-1].absolute()}")
        settings = replace(job.settings, numiterations=additerations)
        return replace(job, settings=settings, weights=weights[-1])
    total = job.settings.numiterations
    log.info("no trained %s in %s: it is trained from scratch, for %d iterations", job.net, old.folder, total)
    return job


def _copy_snapshots(source: Path, target: Path) -> None:
    """Copy the files of `source` that `target` lacks, each whole or not at all."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.is_file() and not path.name.startswith(".") and not (target / path.name).exists():
            with whole_file(target / path.name) as partial:
                shutil.copyfile(path, partial)


def _note(job: NetTraining, line: str) -> None:
    """Add `line` to the run's readme.txt, once."""
    readme = job.folder.parent / "readme.txt"
    with _README:
        text = small_text(readme, errors="replace") if readme.exists() else ""
        if line not in text.splitlines():
            write_text(readme, f"{text}\n{line}\n")


def check_retrain(retrain: Path | None) -> None:
    """Raise MissingFileError unless the run to go on from, where there is one, is a directory."""
    if retrain is not None and not retrain.is_dir():
        raise MissingFileError(f"{retrain} is not a directory")


def _check_folders(request: TrainRequest) -> None:
    missing = [net for net in request.nets if not (request.out / net).is_dir()]
    if missing:
        raise RunError(
            f"{request.out} has no folder {', '.join(missing)}. "
            "Make it with CreateTrainJob, or choose other nets with --models"
        )


def _require(holds: bool, name: str, found: object, expected: str) -> None:
    if not holds:
        raise InputError(f"--{name} {found}: expected {expected}")
