"""Prediction over files, in the three stages of the original: preprocess | predict | postprocess.

::

    images --preprocess--> augimages/<net>/Pkg001_Z01/image_stacks_v<i>.h5, DONE
           --predict-----> <net>/Pkg001_Z01/v<i>/test.h5_shift_<k>.h5, PREDICTDONE
           --postprocess-> <net>/Pkg001_Z01/test.h5_shift__<k>.png, DONE; after the last package the stitched planes

For engines that read and write files, and for sites that run the stages as separate processes on different machines.
What a stage leaves is whole before its marker appears, so each can be stopped at any time and started again.
"""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.engines.base import InProcessEngine, ParallelEngine, PredictJob, Progress
from cdeep3m.errors import CDeep3MError, EngineError, InputError, RunError, failing_with
from cdeep3m.prediction.over_files.postprocess import average_variants, merge_packages, was_averaged
from cdeep3m.prediction.over_files.prepare import STACK, PackageSource
from cdeep3m.prediction.over_files.site import PREDICTED, PREDICTED_WELL, predict_by_site, site_command
from cdeep3m.rules import CORRECTED, SPEEDS, Rules, rules_of
from cdeep3m.runs.calibration import calibrations_in
from cdeep3m.runs.names import DONE
from cdeep3m.runs.prediction import (
    AUGMENTED,
    CONFIG_KEYS,
    IMAGES,
    PredictionRun,
    demand_net_name,
    read_config,
    recording_errors,
)
from cdeep3m.runs.trained import TrainedRun
from cdeep3m.system.files import flush_tree, own_folder, own_folders, remove_folder, settle_folder, write_text
from cdeep3m.system.threads import Behind, ahead, side_by_side
from cdeep3m.tiling.info_file import COUNTS, INFO, read_tiling, write_tiling
from cdeep3m.tiling.variants import VARIANTS
from cdeep3m.volumes.enhancement import enhancement_of_text
from cdeep3m.volumes.identity import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cdeep3m.engines.base import Engine, TrainedModel
    from cdeep3m.runs.calibration import Calibration
    from cdeep3m.tiling.grid import Tiling
    from cdeep3m.tiling.packages import Package
    from cdeep3m.volumes.enhancement import Enhancement

STACK_OF = "*_v{}.h5"

BAD_CONFIG = 2
NO_COUNTS = 7
PREPROCESSING_FAILED = 8
PREDICTION_FAILED = 4
AVERAGING_FAILED = 7
STITCHING_FAILED = 8
"""Exit statuses of the three workers."""

NO_FOLDER, NO_VARIANT_FOLDER, ENGINE_FAILED = 3, 5, 6
"""Exit statuses of caffepredict.sh."""


@dataclass(frozen=True, kw_only=True)
class FileRun:
    """A prediction run whose stages hand over files.

    Attributes
    ----------
    run : PredictionRun
        Its folder.
    trained : Path
        Folder of the training.
    images : Path
        Folder of images, or a stack file.
    nets : tuple of str
        The nets, one after another.
    aug_speed : int
        Which variants run.
    tiling : Tiling
        The packages.
    rules : Rules
        Reproduce the original bit for bit.
    enhancement : Enhancement, optional
        How images are enhanced before a net sees them.
    calibrations : mapping of str to Calibration
        Of the nets that have one.
    """

    run: PredictionRun
    trained: Path
    images: Path
    nets: tuple[str, ...]
    aug_speed: int
    tiling: Tiling
    rules: Rules = CORRECTED
    enhancement: Enhancement | None = None
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path) -> FileRun:
        """Read what predict.config and DefDataPackages left in `folder`.

        Raises
        ------
        RunError
            predict.config cannot be read (exit status 2), or the packages are not defined (7). The other stages are
            told.
        """
        with recording_errors(folder):
            config = read_config(folder / "predict.config")
            with failing_with(BAD_CONFIG):
                _check_config(config, folder)
                nets = tuple(demand_net_name(net.strip()) for net in config["models"].split(","))
            rules, images = rules_of(exact=config.get("exact") == "true"), Path(config["imagedir"])
            with failing_with(NO_COUNTS):
                tiling = _read_tiling(folder, rules=rules, images=images)
            return cls(
                run=PredictionRun.create(folder),
                trained=Path(config["trainedmodeldir"]),
                images=images,
                nets=nets,
                aug_speed=int(config["augspeed"]),
                tiling=tiling,
                rules=rules,
                enhancement=enhancement_of_text(config.get("enhancement", "")),
                calibrations=calibrations_in(config.get("calibration", "")),
            )

    def packages(self) -> Iterator[tuple[str, Package]]:
        """Yield every net with every package, in the order of work."""
        for net in self.nets:
            for package in self.tiling.packages:
                yield net, package

    def augmented(self, net: str, package: Package) -> Path:
        """Return the folder of what an engine reads of a package."""
        return self.run.folder / AUGMENTED / net / package.name

    def predicted(self, net: str, package: Package) -> Path:
        """Return the folder of what an engine makes of a package."""
        return self.run.net_folder(net) / package.name

    def is_prepared(self, net: str, package: Package) -> bool:
        """Return whether a package is ready to be predicted."""
        return (self.augmented(net, package) / DONE).exists()

    def is_predicted(self, net: str, package: Package) -> bool:
        """Return whether a package has been predicted (and perhaps finished)."""
        return (self.predicted(net, package) / PREDICTED).exists() or self.is_finished(net, package)

    def is_finished(self, net: str, package: Package) -> bool:
        """Return whether a package's variants have been averaged."""
        return self.run.net_is_done(net) or (self.predicted(net, package) / DONE).exists()

    def prepare(self, net: str, package: Package) -> None:
        """Write the variants of one package; `DONE` comes last."""
        if not self.is_prepared(net, package):
            self.define()
            own_folders(self.run.folder, self.augmented(net, package))
            self._source.write(package.tile, package.z_block, net, self.aug_speed)
            self.run.log("preprocess", f"{net} {package.name}: variants written")

    @cached_property
    def _source(self) -> PackageSource:
        """The images, opened once for all packages."""
        aug = self.run.folder / AUGMENTED
        return PackageSource.open(self.images, aug, rules=self.rules, enhancement=self.enhancement)

    def define(self) -> Path:
        """Lay out augimages/ and the run's folder as the original does; return augimages/."""
        aug = self.run.folder / AUGMENTED
        own_folder(aug)
        for place in (aug, self.run.folder):
            write_tiling(self.tiling, place)
        return aug

    def predict(self, net: str, package: Package, model: TrainedModel, engine: Engine, gpus: Sequence[int]) -> None:
        """Predict the variants of one package; `PREDICTDONE` comes last, then the variants are removed.

        With an engine over files this is the work of the site's own caffepredict.sh, where there is one.
        """
        aug, out = self.augmented(net, package), self.predicted(net, package)
        if not self.is_predicted(net, package):
            own_folders(self.run.folder, out)
            command = None if isinstance(engine, InProcessEngine) else site_command()
            if command:
                predict_by_site(command, model.weights.parent, aug, out, gpus=gpus)
            else:
                predict_stacks(model, aug, out, engine, gpus=gpus, between=self.run.demand_no_kill)
            self.run.log("prediction", f"{net} {package.name}: predicted by {model.weights.name}")
        remove_folder(self.augmented(net, package))

    def finish(self, net: str, package: Package) -> None:
        """Average the variants of one package; `DONE` comes last."""
        folder = self.predicted(net, package)
        if not self.is_finished(net, package):
            own_folders(self.run.folder, folder)
            planes = len(package.planes)
            if not was_averaged(folder, planes):
                planes = average_variants(folder, rules=self.rules, calibration=self.calibrations.get(net))
            write_text(folder / DONE, "0\n")
            (folder / PREDICTED).unlink(missing_ok=True)
            self.run.log("postprocess", f"{net} {package.name}: {planes} planes averaged")

    def stitch(self, net: str) -> None:
        """Join the packages of a net that are all finished, and remove them."""
        if not self.run.net_is_done(net):
            self.define()
            own_folders(self.run.folder, self.run.net_folder(net))
            planes = merge_packages(self.run.net_folder(net), rules=self.rules)
            self.run.log("postprocess", f"{net}: {planes} planes stitched")
        for folder in self.run.net_folder(net).glob("Pkg*"):
            remove_folder(folder)


def _check_config(config: Mapping[str, str], folder: Path) -> None:
    """Raise RunError unless a predict.config says all that the stages need."""
    place = folder / "predict.config"
    missing = [key for key in CONFIG_KEYS if not config.get(key, "").strip()]
    if missing:
        raise RunError(f"{place} lacks {', '.join(missing)}; expected {', '.join(CONFIG_KEYS)}. Write them into it")
    now = fingerprint(config["imagedir"]) if IMAGES in config else None
    if now is not None and now != config[IMAGES]:
        raise RunError(
            f"{config['imagedir']} has changed since {place} was written (names, sizes or dates); expected the images "
            "of this run. Put them back, or run runprediction.sh with --overwrite"
        )
    if config["augspeed"].strip() not in map(str, SPEEDS):
        raise RunError(f"{place} says augspeed={config['augspeed']}; expected one of {', '.join(map(str, SPEEDS))}")


def _read_tiling(folder: Path, *, rules: Rules, images: Path) -> Tiling:
    """Return the packages, which the original defines in augimages/, and this project in the run's folder, too.

    Raises
    ------
    RunError
        They are not defined, or in two ways.
    """
    places = [place for place in (folder / AUGMENTED, folder) if (place / COUNTS).is_file()]
    if not places:
        raise RunError(
            f"no {COUNTS} in {folder / AUGMENTED} or {folder}: run DefDataPackages.m {images} "
            f"{folder / AUGMENTED} first"
        )
    found = [read_tiling(place, rules=rules, folder_input=images.is_dir()) for place in places]
    if found[1:] and found[0] != found[1]:
        raise RunError(
            f"{places[0]} and {places[1]} define different packages: delete {COUNTS} and {INFO} in the one that is old"
        )
    return found[0]


def predict_stacks(
    model: TrainedModel,
    aug: Path,
    out: Path,
    engine: Engine,
    *,
    gpus: Sequence[int],
    between: Callable[[], None] = lambda: None,
) -> int:
    """Predict every `*_v<i>.h5` of a folder to `v<i>/test.h5_shift_<k>.h5` (caffepredict.sh).

    A variant's folder appears when all of its planes are there, so an interrupted prediction goes on with the next one.

    Parameters
    ----------
    model : TrainedModel
        What predicts.
    aug : Path
        Folder of the variants.
    out : Path
        Gets the variants' folders, out.log, log/ and, last of all, `PREDICTDONE`; made when it is not there.
    engine : Engine
        What runs the net.
    gpus : sequence of int
        GPU numbers, or CPU alone. An engine whose jobs run outside this process is dealt the variants side by side.
    between : callable
        Called after every variant; what it raises ends the prediction.

    Returns
    -------
    int
        How many variants there are.

    Raises
    ------
    CDeep3MError
        No variants in `aug` (exit status 6, as when the engine fails); `out` (3) or a variant's folder (5) cannot be
        made.
    """
    with failing_with(NO_FOLDER):
        out.mkdir(parents=True, exist_ok=True)
        own_folder(out / "log")
    stacks = {variant.index: path for variant in VARIANTS for path in sorted(aug.glob(STACK_OF.format(variant.index)))}
    with failing_with(ENGINE_FAILED):
        if not stacks:
            raise InputError(f"{aug} holds no {STACK.format('<i>')}: make them with PreprocessPackage")
    with failing_with(NO_VARIANT_FOLDER):
        jobs = [_StackJob.of(path, out, index) for index, path in stacks.items()]
        jobs = [job for job in jobs if not job.final.exists()]
        for job in jobs:
            shutil.rmtree(job.partial, ignore_errors=True)
            job.partial.mkdir()
    try:
        with failing_with(ENGINE_FAILED):
            if isinstance(engine, ParallelEngine) and len(gpus) > 1:
                _deal(jobs, model, engine, gpus, log=out / "out.log", between=between)
            elif jobs:
                _predict_jobs(jobs, model, engine, gpus[0], log=out / "out.log", between=between)
    finally:
        for job in jobs:
            shutil.rmtree(job.partial, ignore_errors=True)
    write_text(out / PREDICTED, PREDICTED_WELL)
    return len(stacks)


@dataclass(frozen=True)
class _StackJob:
    """A stack, the hidden folder where its planes are written, and the folder that they end in."""

    stack: Path
    partial: Path
    final: Path

    @classmethod
    def of(cls, stack: Path, out: Path, index: int) -> _StackJob:
        final = out / f"v{index}"
        if final.exists() and not final.is_dir():
            raise RunError(f"{final} is a file; expected room for a folder of predictions: move it away")
        return cls(stack, out / f".v{index}.partial", final)


def _predict_jobs(
    jobs: Sequence[_StackJob],
    model: TrainedModel,
    engine: Engine,
    gpu: int,
    *,
    log: Path,
    between: Callable[[], None],
) -> None:
    """Predict some stacks one after another, until `between` raises an error."""

    def settle(progress: Progress) -> None:
        job = jobs[progress.done - 1]
        flush_tree(job.partial)
        settle_folder(job.partial, job.final)
        between()

    stacks = [(job.stack, job.partial) for job in jobs]
    engine.predict(PredictJob(model=model, stacks=stacks, gpu=gpu, log=log), report=settle)


def _deal(
    jobs: Sequence[_StackJob],
    model: TrainedModel,
    engine: ParallelEngine,
    gpus: Sequence[int],
    *,
    log: Path,
    between: Callable[[], None],
) -> None:
    """Predict stacks on several GPUs at the same time; after an error each ends with the stack that it is at."""
    failures: list[BaseException] = []

    def check() -> None:
        between()
        if failures:
            raise EngineError("stopped because another GPU's variant failed")

    def run_on(gpu: int, dealt: Sequence[_StackJob]) -> None:
        try:
            _predict_jobs(dealt, model, engine, gpu, log=log, between=check)
        except (CDeep3MError, OSError) as error:
            failures.append(error)

    hands = [(gpu, jobs[k :: len(gpus)]) for k, gpu in enumerate(gpus) if jobs[k :: len(gpus)]]
    if hands:
        side_by_side([partial(run_on, *hand) for hand in hands], stop=engine.stop)
    if failures:
        raise failures[0]


def predict_over_files(
    work: FileRun,
    engine: Engine,
    *,
    gpus: Sequence[int],
    maxpackages: int = 3,
    report: Callable[[str, Progress], None] | None = None,
) -> None:
    """Run all three stages at once in this process, for an engine that works on files.

    Parameters
    ----------
    work : FileRun
        The run.
    engine : Engine
        What runs the nets.
    gpus : sequence of int
        GPU numbers, or CPU alone.
    maxpackages : int
        Packages that are prepared ahead of the engine.
    report : callable, optional
        Told of every package that has been predicted.
    """
    trained, total = TrainedRun(work.trained), len(work.tiling.packages)
    aug = work.define()
    for net in work.nets:
        model = trained.model(net)
        todo = [package for package in work.tiling.packages if not work.is_finished(net, package)]
        with Behind(depth=2) as postprocessing:
            prepared = ahead(_prepared(work, net, todo), depth=max(1, maxpackages))
            for done, package in enumerate(prepared, start=total - len(todo) + 1):
                work.run.demand_no_kill()
                work.predict(net, package, model, engine, gpus)
                postprocessing.call(work.finish, net, package)
                if report:
                    report(net, Progress(done, total))
        work.stitch(net)
        remove_folder(aug / net)


def _prepared(work: FileRun, net: str, packages: list[Package]) -> Iterator[Package]:
    for package in packages:
        work.run.demand_no_kill()
        if not work.is_predicted(net, package):
            work.prepare(net, package)
        yield package


def preprocess_worker(work: FileRun, *, maxpackages: int = 5, wait: float = 60.0) -> None:
    """Prepare all packages, at most `maxpackages` ahead of the prediction; look every `wait` seconds."""
    waiting: list[tuple[str, Package]] = []
    with (
        _alone(work, "preprocessing", PREPROCESSING_FAILED),
        work.run.recording_errors(),
        failing_with(PREPROCESSING_FAILED),
    ):
        for net, package in work.packages():
            _look_around(work, 0)
            if work.is_predicted(net, package):
                continue
            while len(waiting) >= maxpackages:
                waiting = [one for one in waiting if not work.is_predicted(*one)]
                _look_around(work, wait if len(waiting) >= maxpackages else 0)
            work.prepare(net, package)
            waiting.append((net, package))


def predict_worker(work: FileRun, engine: Engine, *, gpus: Sequence[int], wait: float = 60.0) -> None:
    """Predict all packages as they become ready; look every `wait` seconds."""
    trained = TrainedRun(work.trained)
    status = PREDICTION_FAILED
    with _alone(work, "predicting", status), work.run.recording_errors(), failing_with(status):
        work.run.log("prediction", f"engine: {engine.name}, {engine.device(gpus[0])}")
        models = {net: trained.model(net) for net in work.nets}
        for net, package in work.packages():
            while not (work.is_predicted(net, package) or work.is_prepared(net, package)):
                _look_around(work, wait)
            _look_around(work, 0)
            work.predict(net, package, models[net], engine, gpus)


def postprocess_worker(work: FileRun, *, wait: float = 1.0) -> None:
    """Average all packages as they are predicted, and stitch every net; look every `wait` seconds."""
    with _alone(work, "postprocessing", AVERAGING_FAILED), work.run.recording_errors():
        for net in work.nets:
            with failing_with(AVERAGING_FAILED):
                for package in work.tiling.packages:
                    _look_around(work, 0)
                    while not work.is_predicted(net, package):
                        _look_around(work, wait)
                    work.finish(net, package)
            with failing_with(STITCHING_FAILED):
                work.stitch(net)


@contextmanager
def _alone(work: FileRun, stage: str, exit_code: int) -> Iterator[None]:
    """Keep a second process from the same stage; it is refused, and the run goes on without an ERROR."""
    with ExitStack() as lock:
        with failing_with(exit_code):
            lock.enter_context(work.run.locked(stage))
        yield


def _look_around(work: FileRun, wait: float) -> None:
    """Wait, and stop where another stage failed or somebody asked to stop."""
    work.run.demand_startable()
    time.sleep(wait)
