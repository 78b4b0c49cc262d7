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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.engines.base import PredictJob, Progress
from cdeep3m.errors import InputError, RunError, failing_with
from cdeep3m.prediction.over_files.postprocess import average_variants, merge_packages
from cdeep3m.prediction.over_files.prepare import STACK, preprocess_package
from cdeep3m.rules import CORRECTED, Rules, rules_of
from cdeep3m.runs.prediction import PredictionRun, read_config
from cdeep3m.runs.trained import TrainedRun
from cdeep3m.system.files import write_text
from cdeep3m.system.threads import Background, ahead
from cdeep3m.tiling.packages import COUNTS, Division
from cdeep3m.tiling.variants import VARIANTS
from cdeep3m.volumes.enhancement import enhancement_of_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cdeep3m.engines.base import Engine, TrainedModel
    from cdeep3m.tiling.packages import Package
    from cdeep3m.volumes.enhancement import Enhancement

PREPARED = "DONE"
PREDICTED = "PREDICTDONE"
FINISHED = "DONE"
AUGMENTED = "augimages"
STACK_OF = "*_v{}.h5"

NO_COUNTS = 7
PREPROCESSING_FAILED = 8
PREDICTION_FAILED = 4
AVERAGING_FAILED = 7
STITCHING_FAILED = 8
"""Exit statuses of the three workers."""


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
    division : Division
        The packages.
    rules : Rules
        Reproduce the original bit for bit.
    enhancement : Enhancement, optional
        How images are enhanced before a net sees them.
    """

    run: PredictionRun
    trained: Path
    images: Path
    nets: tuple[str, ...]
    aug_speed: int
    division: Division
    rules: Rules = CORRECTED
    enhancement: Enhancement | None = None

    @classmethod
    def open(cls, folder: Path) -> FileRun:
        """Read what predict.config and DefDataPackages left in `folder`.

        Raises
        ------
        RunError
            predict.config cannot be read (exit status 2), or the packages are not defined (7).
        """
        config = read_config(folder / "predict.config")
        with failing_with(2):
            missing = [key for key in ("trainedmodeldir", "imagedir", "models", "augspeed") if key not in config]
            if missing:
                raise RunError(f"{folder / 'predict.config'} lacks {', '.join(missing)}")
        if not (folder / COUNTS).is_file():
            with failing_with(NO_COUNTS):
                raise RunError(f"{folder} has no {COUNTS}: run DefDataPackages.m {config['imagedir']} {folder} first")
        rules, images = rules_of(exact=config.get("exact") == "true"), Path(config["imagedir"])
        return cls(
            run=PredictionRun.create(folder),
            trained=Path(config["trainedmodeldir"]),
            images=images,
            nets=tuple(config["models"].split(",")),
            aug_speed=int(config["augspeed"]),
            division=Division.read(folder, rules=rules, folder_input=images.is_dir()),
            rules=rules,
            enhancement=enhancement_of_text(config.get("enhancement", "")),
        )

    def packages(self) -> Iterator[tuple[str, Package]]:
        """Yield every net with every package, in the order of work."""
        for net in self.nets:
            for package in self.division.packages:
                yield net, package

    def augmented(self, net: str, package: Package) -> Path:
        """Return the folder of what an engine reads of a package."""
        return self.run.folder / AUGMENTED / net / package.name

    def predicted(self, net: str, package: Package) -> Path:
        """Return the folder of what an engine makes of a package."""
        return self.run.net_folder(net) / package.name

    def is_prepared(self, net: str, package: Package) -> bool:
        """Return whether a package is ready to be predicted."""
        return (self.augmented(net, package) / PREPARED).exists()

    def is_predicted(self, net: str, package: Package) -> bool:
        """Return whether a package has been predicted (and perhaps finished)."""
        return (self.predicted(net, package) / PREDICTED).exists() or self.is_finished(net, package)

    def is_finished(self, net: str, package: Package) -> bool:
        """Return whether a package's variants have been averaged."""
        return self.run.net_is_done(net) or (self.predicted(net, package) / FINISHED).exists()

    def prepare(self, net: str, package: Package) -> None:
        """Write the variants of one package; `DONE` comes last."""
        if not self.is_prepared(net, package):
            aug = self.run.folder / AUGMENTED
            aug.mkdir(exist_ok=True)
            self.division.write(aug)
            preprocess_package(
                self.images,
                aug,
                package.tile,
                package.z_block,
                net,
                self.aug_speed,
                rules=self.rules,
                enhancement=self.enhancement,
            )
            self.run.log("preprocess", f"{net} {package.name}: variants written")

    def predict(self, net: str, package: Package, model: TrainedModel, engine: Engine, gpu: int) -> None:
        """Predict the variants of one package; `PREDICTDONE` comes last, then the variants are removed."""
        if not self.is_predicted(net, package):
            predict_stacks(model, self.augmented(net, package), self.predicted(net, package), engine, gpu=gpu)
            self.run.log("prediction", f"{net} {package.name}: predicted by {model.weights.name}")
        shutil.rmtree(self.augmented(net, package), ignore_errors=True)

    def finish(self, net: str, package: Package) -> None:
        """Average the variants of one package; `DONE` comes last."""
        folder = self.predicted(net, package)
        if not self.is_finished(net, package):
            planes = average_variants(folder, rules=self.rules)
            write_text(folder / FINISHED, "0\n")
            (folder / PREDICTED).unlink(missing_ok=True)
            self.run.log("postprocess", f"{net} {package.name}: {planes} planes averaged")

    def stitch(self, net: str) -> None:
        """Join the packages of a net that are all finished, and remove them."""
        if not self.run.net_is_done(net):
            planes = merge_packages(self.run.net_folder(net), rules=self.rules)
            self.run.log("postprocess", f"{net}: {planes} planes stitched")
        for folder in self.run.net_folder(net).glob("Pkg*"):
            shutil.rmtree(folder, ignore_errors=True)


def predict_stacks(model: TrainedModel, aug: Path, out: Path, engine: Engine, *, gpu: int) -> int:
    """Predict every `*_v<i>.h5` of a folder to `v<i>/test.h5_shift_<k>.h5` (caffepredict.sh).

    A variant's folder appears when all of its planes are there, so an interrupted prediction goes on with the next one.

    Parameters
    ----------
    model : TrainedModel
        What predicts.
    aug : Path
        Folder of the variants.
    out : Path
        Gets the variants' folders, out.log and, last of all, `PREDICTDONE`; made when it is not there.
    engine : Engine
        What runs the net.
    gpu : int
        GPU number, or CPU.

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
    with failing_with(3):
        (out / "log").mkdir(parents=True, exist_ok=True)
    stacks = {variant.index: path for variant in VARIANTS for path in sorted(aug.glob(STACK_OF.format(variant.index)))}
    with failing_with(6):
        if not stacks:
            raise InputError(f"{aug} holds no {STACK.format('<i>')}: make them with PreprocessPackage")
    jobs = [(path, out / f".v{index}.partial", out / f"v{index}") for index, path in stacks.items()]
    jobs = [(stack, partial, final) for stack, partial, final in jobs if not final.exists()]
    with failing_with(5):
        for _, partial, _ in jobs:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()

    def settle(progress: Progress) -> None:
        _, partial, final = jobs[progress.done - 1]
        partial.rename(final)

    with failing_with(6):
        job = PredictJob(
            model=model, stacks=[(stack, partial) for stack, partial, _ in jobs], gpu=gpu, log=out / "out.log"
        )
        if jobs:
            engine.predict(job, report=settle)
    write_text(out / PREDICTED, "Success\n0\n")
    return len(stacks)


def predict_over_files(
    work: FileRun,
    engine: Engine,
    *,
    gpu: int,
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
    gpu : int
        GPU number, or CPU.
    maxpackages : int
        Packages that are prepared ahead of the engine.
    report : callable, optional
        Told of every package that has been predicted.
    """
    trained, total = TrainedRun(work.trained), len(work.division.packages)
    for net in work.nets:
        model = trained.model(net)
        todo = [package for package in work.division.packages if not work.is_finished(net, package)]
        with Background(depth=2) as postprocessing:
            prepared = ahead(_prepared(work, net, todo), depth=max(1, maxpackages))
            for done, package in enumerate(prepared, start=total - len(todo) + 1):
                work.run.demand_no_kill()
                work.predict(net, package, model, engine, gpu)
                postprocessing.call(work.finish, net, package)
                if report:
                    report(net, Progress(done, total))
        work.stitch(net)
    shutil.rmtree(work.run.folder / AUGMENTED, ignore_errors=True)


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
            if work.is_predicted(net, package):
                continue
            while len(waiting) >= maxpackages:
                waiting = [one for one in waiting if not work.is_predicted(*one)]
                _look_around(work, wait if len(waiting) >= maxpackages else 0)
            work.prepare(net, package)
            waiting.append((net, package))


def predict_worker(work: FileRun, engine: Engine, *, gpu: int, wait: float = 60.0) -> None:
    """Predict all packages as they become ready; look every `wait` seconds."""
    trained = TrainedRun(work.trained)
    status = PREDICTION_FAILED
    with _alone(work, "predicting", status), work.run.recording_errors(), failing_with(status):
        work.run.log("prediction", f"engine: {engine.name}, {engine.device(gpu)}")
        models = {net: trained.model(net) for net in work.nets}
        for net, package in work.packages():
            while not (work.is_predicted(net, package) or work.is_prepared(net, package)):
                _look_around(work, wait)
            _look_around(work, 0)
            work.predict(net, package, models[net], engine, gpu)


def postprocess_worker(work: FileRun, *, wait: float = 1.0) -> None:
    """Average all packages as they are predicted, and stitch every net; look every `wait` seconds."""
    with _alone(work, "postprocessing", AVERAGING_FAILED), work.run.recording_errors():
        for net in work.nets:
            with failing_with(AVERAGING_FAILED):
                for package in work.division.packages:
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
