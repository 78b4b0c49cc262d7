"""From images and trained models to the folder of a prediction.

An engine that predicts arrays streams: a plane is read once, its variants are views, their predictions are undone and
averaged in memory, and the stitched plane is written as soon as it is whole. Only the planes of the images are
predicted, never the z padding. What is held in memory are a few planes, however deep the volume is.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.engines.base import (
    DenoisingEngine,
    InProcessEngine,
    PairingEngine,
    Progress,
    ReachingEngine,
    TrainedModel,
    WakingEngine,
)
from cdeep3m.errors import CDeep3MError, InputError, MissingFileError, failing_with, pausing
from cdeep3m.maps.open import FORMATS, chunks_of, format_called
from cdeep3m.matlab_ports.check_training_data import FEWEST_IMAGE_VALUES, distinct_values
from cdeep3m.prediction.as_edition_2 import define_packages
from cdeep3m.prediction.comparing import Comparisons
from cdeep3m.prediction.core import BoxPredictor, NetInUse
from cdeep3m.prediction.elsewhere import MapKind, UnitWork, discard, fill_elsewhere, outputs_of
from cdeep3m.prediction.facts import facts_of_images, facts_of_model
from cdeep3m.prediction.over_files.postprocess import ensemble_folders
from cdeep3m.prediction.over_files.prepare import images_of_packages, is_package_folder
from cdeep3m.prediction.over_files.stages import FileRun, predict_over_files
from cdeep3m.prediction.reading import sample_of, with_planes_kept
from cdeep3m.prediction.run_as_edition_2 import (
    OVERLAYS_FAILED,
    demand_new,
    discard_overlays,
    enhance_first,
    predict_as_edition_2,
)
from cdeep3m.prediction.streaming import fill, is_unrounded, plan_of
from cdeep3m.rules import CORRECTED, ORIGINAL, SPEEDS, Rules
from cdeep3m.runners.base import InThisProcess
from cdeep3m.runs.calibration import written
from cdeep3m.runs.events import recorded
from cdeep3m.runs.gray_range import GrayRange, check_range, read_range
from cdeep3m.runs.prediction import AUGMENTED, IMAGES, PredictionRun, demand_net_name
from cdeep3m.runs.provenance import describe_enhancement, trained_on
from cdeep3m.runs.states import prediction_events
from cdeep3m.runs.trained import TrainedRun
from cdeep3m.runs.validation import calibration_for
from cdeep3m.system.files import Settling, demand_apart
from cdeep3m.system.threads import begin, spread
from cdeep3m.tiling.grid import Tiling
from cdeep3m.tiling.info_file import write_tiling
from cdeep3m.tiling.variants import variants_for
from cdeep3m.volumes import open_volume
from cdeep3m.volumes.address import Address
from cdeep3m.volumes.axes import Selection
from cdeep3m.volumes.enhanced import enhanced
from cdeep3m.volumes.enhancement import Enhancement
from cdeep3m.volumes.identity import fingerprint
from cdeep3m.volumes.stores import demand_outside

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cdeep3m.engines.base import Engine, LoadedNet, Precision
    from cdeep3m.maps.base import MapType
    from cdeep3m.runners.base import Runner
    from cdeep3m.runs.calibration import Calibration
    from cdeep3m.tiling.packages import Fill
    from cdeep3m.volumes.base import Volume

logger = logging.getLogger(__name__)

REACH = "reach"
"""Key of predict.config for how far around a voxel the nets look, where tiles are blended."""
FOREGROUND = 1
"""The class that the original's maps show."""

Report = Callable[[str, Progress], None]
"""Receives a net's name and how far it is, in planes."""


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """What one prediction run was asked to do.

    Attributes
    ----------
    trained : Path
        Folder of a training: `<net>/deploy.prototxt` and `<net>/trainedmodel/`.
    images : Path or Address
        Folder of images, or a stack file.
    out : Path
        Folder that gets the probability maps; made when it is not there.
    nets : tuple of str
        The nets to predict with and to average.
    aug_speed : int
        One of `SPEEDS`.
    rules : Rules
        Reproduce the original bit for bit.
    fit : bool
        Show the net the smallest canvas that holds a package, instead of 1024 x 1024.
    precision : {"float32", "fast"}
        Compute as exactly as Caffe does, or with shorter numbers, sooner; what that changes is measured on one plane.
    max_packages : int
        Packages prepared ahead of an engine that works on files.
    denoise : int, optional
        Enhance the images and cut off this many percent of the gray values at either end; 0: take them as they are.
        Default: as the images of the training were treated.
    whole_volume : bool
        Enhance by percentiles of the whole volume, where `denoise` says to enhance at all.
    overwrite : bool
        Remove what an earlier run left in `out`, whatever that was made of.
    format : str
        Format of the maps, one of `maps.open.FORMATS`.
    dtype : {"uint8", "uint16", "float32"}
        Type of the maps; with more than 8 bits, nets are averaged before anything is rounded.
    fill : {"zeros", "reflect"}
        What nets see beyond the images, further than 12 voxels from them.
    maps : Address, optional
        Where the maps go, such as a bucket; default: into `out`, which keeps settings, logs and markers.
    blend : bool
        Let tiles overlap by what the nets see around a voxel, and average them.
    label : int
        The class whose probability the maps show.
    calibrated : bool
        Calibrate the maps of nets that have a calibration beside them; never so in exact mode.

    Raises
    ------
    InputError
        `aug_speed` is none of `SPEEDS` (exit status 2), or `nets` is empty.
    """

    trained: Path
    images: Path | Address
    out: Path
    nets: tuple[str, ...] = ("1fm", "3fm", "5fm")
    aug_speed: int = 1
    rules: Rules = CORRECTED
    fit: bool = False
    precision: Precision = "float32"
    max_packages: int = 3
    denoise: int | None = None
    whole_volume: bool = False
    overwrite: bool = False
    format: str = "png"
    dtype: MapType = "uint8"
    fill: Fill = "zeros"
    blend: bool = False
    maps: Address | None = None
    label: int = FOREGROUND
    calibrated: bool = True

    def __post_init__(self) -> None:
        with failing_with(2):
            if self.aug_speed not in SPEEDS:
                expected = ", ".join(map(str, SPEEDS))
                raise InputError(f"--augspeed {self.aug_speed}: expected one of {expected}")
        if self.rules is not CORRECTED and self.fast:
            raise InputError("fast numbers do not reproduce the original: use either --exact or --precision fast")
        if not self.nets:
            raise InputError("no net to predict with: name one or more with --models, for example 1fm,3fm,5fm")
        for net in self.nets:
            demand_net_name(net)
        if self.rules is not CORRECTED and self.is_new:
            raise InputError("the original writes 8-bit PNG images: use either --exact or --format and --dtype")
        format_called(self.format)
        if self.rules is not CORRECTED and self.fill != "zeros":
            raise InputError("the original fills its canvas with zeros: use either --exact or --fill")
        if self.maps is not None and format_called(self.format).chunks is None:
            several = ", ".join(one.name for one in FORMATS if one.chunks is not None)
            raise InputError(f"found --maps with --format {self.format}; expected a format of chunks: {several}")
        if self.rules is not CORRECTED and self.blend:
            raise InputError("the original's tiles meet and are not averaged: use either --exact or --blend")
        if self.rules is not CORRECTED and self.label != FOREGROUND:
            raise InputError("the original shows class 1: use either --exact or --class")
        if self.rules.second_edition and self.fit:
            raise InputError("CDeep3M2 predicts on 1024 x 1024 voxels: use either --exact or --fit")
        if self.rules.second_edition and self.whole_volume:
            raise InputError("CDeep3M2 takes percentiles of each plane: use either --exact or --whole_volume")
        if self.format == "png" and self.dtype != "uint8":
            raise InputError(f"found --dtype {self.dtype} for PNG images; expected uint8. Choose another --format")

    @property
    def is_new(self) -> bool:
        """Whether maps are anything but the original's, 8-bit PNG images."""
        return (self.format, self.dtype) != ("png", "uint8")

    @property
    def fast(self) -> bool:
        """Whether numbers are shorter than Caffe's."""
        return self.precision != "float32"


def predict(
    request: PredictRequest,
    engine: Engine,
    *,
    gpu: int,
    also: Sequence[int] = (),
    report: Report | None = None,
    runner: Runner | None = None,
    share: tuple[int, int] | None = None,
) -> bool:
    """Run `request` from where an earlier, interrupted run left it.

    Parameters
    ----------
    request : PredictRequest
        What to do.
    engine : Engine
        What runs the nets.
    gpu : int
        GPU number, or CPU.
    also : sequence of int
        Further GPUs, which an engine over files uses at the same time.
    report : callable, optional
        Told after every plane.
    runner : Runner, optional
        Where planes are predicted, with an engine that predicts arrays; default: in this process.
    share : tuple of int, optional
        Which share of the planes to predict, from 1, and how many shares there are; others are done by other calls, and
        the one that finds all planes there finishes the run.

    Returns
    -------
    bool
        False when the run had been finished before, and nothing was done.

    Raises
    ------
    CDeep3MError
        With the exit status of runprediction.sh for the stage that failed.
    """
    _check_engine(request, engine, elsewhere=runner is not None or share is not None)
    if request.rules.second_edition and (runner is not None or share is not None):
        raise InputError("CDeep3M2 predicts one plane after another: use either --exact, or --workers and the like")
    if request.overwrite and share:
        raise InputError(
            "--overwrite with --share: every share would remove what the others made. Leave one of them out"
        )
    _demand_apart(request)
    if isinstance(engine, WakingEngine) and runner is None:
        begin(engine.wake, gpu)
    with pausing(10):
        return _predict(request, engine, gpu=gpu, also=also, report=report, runner=runner, share=share)


def _predict(
    request: PredictRequest,
    engine: Engine,
    *,
    gpu: int,
    also: Sequence[int],
    report: Report | None,
    runner: Runner | None,
    share: tuple[int, int] | None,
) -> bool:
    run = PredictionRun.create(request.out)
    with run.locked("share {} of {}".format(*share) if share else ""):
        run.tidy()
        if request.overwrite:
            discard(run, request.nets, _kind_of(request))
            run.discard(request.nets)
        if run.is_done():
            _demand_same(request, run)
            if request.rules.is_exact or not isinstance(engine, InProcessEngine) or not run.reopen():
                return False
        run.demand_startable()
        exact = request.rules.second_edition
        with run.recording_errors(), failing_with(OVERLAYS_FAILED if exact else 10):
            models = _trained_models(request)
        if exact:
            _as_edition_2(request, engine, gpu, run, models, report or (lambda _net, _progress: None))
            return True
        _demand_same(request, run)
        with run.recording_errors(), failing_with(4):
            request = replace(request, images=images_of(request.images))
            volume = open_volume(request.images, rules=request.rules)
            enhancement = enhancement_of(request)
            say_enhancement(request)
            _say_calibrations(request, models)
            if enhancement is None:
                _check_gray_values(volume, request)
            chunks = chunks_of(request.format, volume.shape)
        with run.recording_errors(), failing_with(10):
            reach = _reach(request, engine, gpu, run, models)
        with run.recording_errors(), failing_with(4):
            tiling = Tiling.of(
                volume.shape,
                rules=request.rules,
                folder_input=volume.is_folder,
                fit=request.fit,
                fill=request.fill,
                chunks=chunks,
                reach=reach,
            )
        runs_on = f"{engine.name}, {engine.device(gpu)}, {request.precision}"
        settings = _settings(request, models, volume) | ({} if reach is None else {REACH: str(reach)})
        run.begin(settings, models, engine=runs_on)
        run.log("prediction", f"engine: {runs_on}")
        write_tiling(tiling, run.folder)
        run.log("preprocess", f"{request.images}: {_size(volume.shape)} voxels, {len(tiling.packages)} packages")
        begun = {"engine": runs_on, "nets": list(request.nets), "settings": settings}
        with recorded(prediction_events(run.folder), kind="prediction", **begun) as events, run.recording_errors():
            noted = events.reporting(report)
            seen = _seen(volume, enhancement, request, engine, gpu)
            events.write("images", **facts_of_images(str(request.images), volume, tiling, seen=seen))
            for facts in spread(partial(facts_of_model, trained=request.trained), list(models.values())):
                events.write("model", **facts)
            with failing_with(10):
                if isinstance(engine, InProcessEngine) and (runner or share):
                    warn_of_labels(volume, request.images)
                    where = runner or InThisProcess()
                    if not _spread(request, engine, gpu, run, models, seen, tiling, where, share, noted):
                        return True
                elif isinstance(engine, InProcessEngine):
                    warn_of_labels(volume, request.images)
                    _stream(request, engine, gpu, run, models, seen, tiling, noted)
                else:
                    work = _over_files(request, run, models, tiling)
                    predict_over_files(work, engine, gpus=(gpu, *also), maxpackages=request.max_packages, report=noted)
            with failing_with(12), run.finishing() as ours:
                if ours:
                    averaged = isinstance(engine, InProcessEngine) and _averages_arrays(request)
                    _ensemble(request, run, averaged=averaged)
                    run.finish()
    return True


def _as_edition_2(
    request: PredictRequest,
    engine: Engine,
    gpu: int,
    run: PredictionRun,
    models: dict[str, TrainedModel],
    report: Report,
) -> None:
    """Predict exactly as CDeep3M2 does; planes are enhanced unless `denoise` is 0, whatever the model's record says."""
    with run.recording_errors():
        if isinstance(request.images, Address):
            raise InputError(f"CDeep3M2 reads folders and .tif stacks, not {request.images}; leave out --exact")
        if request.overwrite:
            discard_overlays(run)
        else:
            demand_new(run, models)
        images = enhance_first(request.images, run.folder, request.denoise)
        with failing_with(4):
            define_packages(images, run.folder)
        settings = {
            "trainedmodeldir": str(request.trained.absolute()),
            "imagedir": str(images.absolute()),
            "models": ",".join(request.nets),
            "augspeed": str(request.aug_speed),
            "exact": request.rules.name,
        }
        run.begin(settings, models, engine=f"{engine.name}, {engine.device(gpu)}")
        predict_as_edition_2(run, images, models, engine, gpu=gpu, speed=request.aug_speed, report=report)
    run.finish()


def _reach(
    request: PredictRequest, engine: Engine, gpu: int, run: PredictionRun, models: dict[str, TrainedModel]
) -> int | None:
    """Return how far around a voxel the nets look, as the run found out when it began; None where tiles only meet."""
    if not request.blend:
        return None
    if not isinstance(engine, ReachingEngine):
        raise InputError(f"the engine {engine.name} cannot tell how far its nets look: leave --blend out")
    known = run.known(REACH)
    reach = int(known) if known else max(engine.reach(model, gpu=gpu) for model in models.values())
    logger.info("Tiles are blended: the nets look %d voxels far", reach)
    return reach


def enhancement_of(request: PredictRequest) -> Enhancement | None:
    """Return how images are enhanced for a model: as its training's were, unless the request says otherwise."""
    if request.denoise is not None:
        return Enhancement(cut=request.denoise, whole_volume=request.whole_volume) if request.denoise else None
    record = trained_on(request.trained)
    return record.enhancement if record else None


def calibrations_of(
    request: PredictRequest, models: Mapping[str, TrainedModel], *, say: bool = False
) -> dict[str, Calibration]:
    """Return the calibrations of the nets that have one, where maps are calibrated; say which belong to others."""
    if not request.calibrated or request.rules is not CORRECTED:
        return {}
    found = {net: calibration_for(model.weights, label=request.label, say=say) for net, model in models.items()}
    return {net: calibration for net, calibration in found.items() if calibration}


def _say_calibrations(request: PredictRequest, models: Mapping[str, TrainedModel]) -> None:
    """Say in a line which maps are calibrated; or, where they could be, that they are not."""
    calibrations = calibrations_of(request, models, say=True)
    if calibrations:
        said = "; ".join(f"{net} ({calibration.words})" for net, calibration in calibrations.items())
        without = [net for net in models if net not in calibrations]
        logger.info("Calibrated: %s%s", said, f"; not {', '.join(without)}" if without else "")
    elif calibrations_of(replace(request, calibrated=True), models):
        logger.info("Maps are not calibrated, as asked: 0.5 may not be the best threshold")


def say_enhancement(request: PredictRequest) -> None:
    """Say what the images go through; warn where that is not what the model was trained on."""
    record, asked = trained_on(request.trained), enhancement_of(request)
    if record and asked != record.enhancement:
        logger.warning(
            "Warning: images are %s, as --denoise asks; the model was trained on images %s",
            describe_enhancement(asked),
            record.images,
        )
    elif record or asked:
        logger.info("Images: %s, as %s", describe_enhancement(asked), "the model was trained" if record else "asked")


def _seen(volume: Volume, enhancement: Enhancement | None, request: PredictRequest, engine: Engine, gpu: int) -> Volume:
    """Return the volume as nets see it, enhanced on the engine's device where it can."""
    if enhancement is None:
        return volume
    denoise = engine.denoiser(gpu) if isinstance(engine, DenoisingEngine) else None
    return enhanced(volume, enhancement, name=str(request.images), denoise=denoise)


def _demand_apart(request: PredictRequest) -> None:
    """Refuse to write into the images or the model."""
    with failing_with(3):
        folders = (*request.nets, "ensembled", AUGMENTED, "logs")
        nets = [request.trained / net for net in request.nets]
        trained = [request.trained, *nets, *(net / "trainedmodel" for net in nets)]
        demand_apart(request.out, [request.images, *trained], below=folders)
        if request.maps:
            for read in (request.images, request.trained):
                demand_outside(request.maps, Address.of(read))


def _demand_same(request: PredictRequest, run: PredictionRun) -> None:
    """Refuse to go on from, or to answer with, what was made of other images, models or options."""
    trained = TrainedRun(request.trained)
    models = {}
    with suppress(CDeep3MError):
        models = {net: trained.model(net) for net in request.nets}
    with suppress(MissingFileError):
        request = replace(request, images=images_of(request.images))
    run.demand_same(_settings_of(request, models), models)


def _check_gray_values(volume: Volume, request: PredictRequest) -> None:
    """Say, or refuse, what does not look like the images that the model was trained on."""
    refuse = not request.rules.octave_images
    check_range(
        GrayRange.of_parts(sample_of(volume)), read_range(request.trained), images=str(request.images), refuse=refuse
    )


def _check_engine(request: PredictRequest, engine: Engine, *, elsewhere: bool) -> None:
    """Raise InputError when the request asks for what only an engine in this process can do."""
    given = {
        "--fit": request.fit,
        "--precision fast": request.fast,
        "--format and --dtype": request.is_new,
        "--fill reflect": request.fill != "zeros",
        "--blend": request.blend,
        "--class": request.label != FOREGROUND,
        "--roi, --channel, --time, --level, --axes and ::": isinstance(request.images, Address),
        "--workers, --dask, --slurm and --share": elsewhere,
    }
    asked = [option for option, wanted in given.items() if wanted]
    if asked and not isinstance(engine, InProcessEngine):
        raise InputError(f"the engine {engine.name} predicts files as Caffe does: leave {' and '.join(asked)} out")


def warn_of_labels(volume: Volume, images: Path | Address) -> None:
    """Warn where the first, middle and last plane hold fewer than three values, as labels do (correction 8)."""
    values = np.empty(0, volume.dtype)
    for part in sample_of(volume):
        values = np.union1d(values, distinct_values(part[np.newaxis], enough=FEWEST_IMAGE_VALUES))
        if len(values) >= FEWEST_IMAGE_VALUES:
            return
    if len(values) < FEWEST_IMAGE_VALUES:
        found = ", ".join(map(str, values.tolist()))
        logger.warning("Warning: %s, first, middle and last plane: only the values %s; are they labels?", images, found)


def _over_files(
    request: PredictRequest, run: PredictionRun, models: Mapping[str, TrainedModel], tiling: Tiling
) -> FileRun:
    return FileRun(
        run=run,
        trained=request.trained,
        images=Path(request.images),
        nets=request.nets,
        aug_speed=request.aug_speed,
        tiling=tiling,
        rules=request.rules,
        enhancement=enhancement_of(request),
        calibrations=calibrations_of(request, models),
    )


def _trained_models(request: PredictRequest) -> dict[str, TrainedModel]:
    trained = TrainedRun(request.trained)
    return {net: replace(trained.model(net), label=request.label) for net in request.nets}


def _settings(request: PredictRequest, models: Mapping[str, TrainedModel], volume: Volume) -> dict[str, str]:
    return {**_settings_of(request, models), "imagesize": _size(volume.shape)}


def _settings_of(request: PredictRequest, models: Mapping[str, TrainedModel]) -> dict[str, str]:
    """Return what a run was asked to do, as predict.config says it."""
    images, enhancement = fingerprint(request.images), enhancement_of(request)
    calibrations = calibrations_of(request, models)
    return {
        "trainedmodeldir": str(request.trained.absolute()),
        "imagedir": str(request.images.absolute()),
        "models": ",".join(request.nets),
        "augspeed": str(request.aug_speed),
        "exact": str(request.rules is ORIGINAL).lower(),
        "fit": str(request.fit).lower(),
        "precision": request.precision,
        "enhancement": enhancement.text if enhancement else "none",
        "format": request.format,
        "dtype": request.dtype,
        "fill": request.fill,
        "blend": str(request.blend).lower(),
        "maps": str(request.maps.absolute()) if request.maps else "here",
        **({} if request.rules is ORIGINAL else {"class": str(request.label)}),
        **({"calibration": written(calibrations)} if calibrations else {}),
        "selection": _selection(request.images),
        **({IMAGES: images} if images else {}),
    }


def _selection(images: Path | Address) -> str:
    """Return which part of the images was asked for, as predict.config says it."""
    chosen = images.selection if isinstance(images, Address) else Selection()
    return "all" if chosen == Selection() else str(chosen)


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _kind_of(request: PredictRequest) -> MapKind:
    source = str(request.images.absolute())
    return MapKind(
        format=request.format, dtype=request.dtype, source=source, place=request.maps and request.maps.absolute()
    )


def _stream(
    request: PredictRequest,
    engine: InProcessEngine,
    gpu: int,
    run: PredictionRun,
    models: dict[str, TrainedModel],
    volume: Volume,
    tiling: Tiling,
    report: Report,
) -> None:
    """Predict what is missing of every net in this process, and average the nets from arrays where rules allow it."""
    outputs = outputs_of(run.folder, list(models), volume, averages=_averages_arrays(request), kind=_kind_of(request))
    maps, averaged = outputs.maps, outputs.averaged
    chunks = chunks_of(request.format, volume.shape)
    boxes = tiling.boxes(chunks=chunks)
    lacking = Counter(net for _, nets in plan_of(boxes, maps, averaged) for net in nets)
    wanted = [model for net, model in models.items() if lacking[net]]
    beside = isinstance(engine, PairingEngine) and engine.is_apart(gpu)
    read = spread(partial(_read, request, engine, gpu, beside=beside), wanted)
    with Comparisons(volume, tiling, note=partial(run.log, "prediction"), beside=beside) as comparisons:
        nets = {
            model.net: _in_use(request, model, found, comparisons) for model, found in zip(wanted, read, strict=True)
        }
        for net in nets:
            device = engine.device(gpu)
            run.log("prediction", f"{net}: {models[net].weights.name} on {device}, {lacking[net]} boxes left")
        frames = max((one.net.frames for one in nets.values()), default=1)
        seen = with_planes_kept(volume, tiling, frames=frames, chunks=chunks, folder=run.folder)
        unrounded = is_unrounded(maps)
        predictor = BoxPredictor(volume=seen, nets=nets, tiling=tiling, rules=request.rules, unrounded=unrounded)
        fill(maps, averaged, boxes, predictor, before_pass=run.demand_no_kill, report=report)
    _mark_nets_done(run, models, planes=volume.shape[0])


def _spread(
    request: PredictRequest,
    engine: InProcessEngine,
    gpu: int,
    run: PredictionRun,
    models: dict[str, TrainedModel],
    volume: Volume,
    tiling: Tiling,
    runner: Runner,
    share: tuple[int, int] | None,
    report: Report,
) -> bool:
    """Have what is missing predicted by a runner; return whether all maps are whole."""
    run.log("prediction", f"planes are predicted by {runner}")
    if request.fast:
        with Comparisons(volume, tiling, note=partial(run.log, "prediction"), beside=False) as comparisons:
            for model in models.values():
                _in_use(request, model, _read(request, engine, gpu, model), comparisons)
    work = UnitWork(
        images=request.images.absolute(),
        models=tuple(_absolute(model) for model in models.values()),
        engine=engine,
        gpu=gpu,
        precision=request.precision,
        aug_speed=request.aug_speed,
        tiling=tiling,
        out=run.folder.absolute(),
        averages=_averages_arrays(request),
        enhancement=enhancement_of(request),
        calibrations=calibrations_of(request, models),
        kind=_kind_of(request),
    )
    outputs = outputs_of(work.out, list(models), volume, averages=work.averages, kind=work.kind)
    if not fill_elsewhere(work, outputs, runner, share=share, report=report):
        return False
    outputs.finish()
    _mark_nets_done(run, models, planes=volume.shape[0])
    return True


def _mark_nets_done(run: PredictionRun, nets: Iterable[str], *, planes: int) -> None:
    """Say that all maps are there."""
    for net in nets:
        run.mark_net_done(net)
        run.log("postprocess", f"{net}: {planes} planes written to {run.net_folder(net).name}")


def _absolute(model: TrainedModel) -> TrainedModel:
    return replace(model, deploy=model.deploy.absolute(), weights=model.weights.absolute())


def _averages_arrays(request: PredictRequest) -> bool:
    """Return whether maps are averaged as they come; Octave looks at all of their files first (defect 6)."""
    return len(request.nets) > 1 and not request.rules.octave_images


def _read(
    request: PredictRequest, engine: InProcessEngine, gpu: int, model: TrainedModel, *, beside: bool = False
) -> tuple[LoadedNet, ...]:
    """Return a net as it was asked for; where that is a fast one, two more to compare with each other.

    Unless they are compared `beside` the prediction, the fast one of these is the one that predicts.
    """
    if not request.fast:
        return (engine.load(model, gpu=gpu),)
    precisions: tuple[Precision, ...] = ("fast", "float32", "fast") if beside else ("fast", "float32")
    if isinstance(engine, PairingEngine):
        nets = tuple(engine.load_each(model, precisions, gpu=gpu))
    else:
        nets = tuple(engine.load(model, gpu=gpu, precision=precision) for precision in precisions)
    return nets if beside else (*nets, nets[0])


def _in_use(
    request: PredictRequest, model: TrainedModel, nets: tuple[LoadedNet, ...], comparisons: Comparisons
) -> NetInUse:
    """Have it said what short numbers cost, where they are used."""
    loaded, *compared = nets
    if compared:
        comparisons.tell(model.net, *compared)
    calibration = calibrations_of(request, {model.net: model}).get(model.net)
    return NetInUse(loaded, variants_for(model.net, request.aug_speed), calibration)


def _ensemble(request: PredictRequest, run: PredictionRun, *, averaged: bool) -> None:
    """Make the folder of the nets' average, where it was not made on the way."""
    folders = [run.net_folder(net) for net in request.nets]
    if len(folders) == 1:
        run.link_ensemble(folders[0])
    elif not averaged:
        with Settling() as settling:
            ensemble_folders(folders, run.fresh_ensemble_folder(), rules=request.rules, naming=settling)
    run.log("postprocess", f"ensemble of {', '.join(request.nets)} in {run.ensemble_folder.name}")


def images_of(path: Path | Address) -> Path | Address:
    """Return the images that `path` means: itself, or those that an AUG folder (PreprocessImageData) was made from."""
    if isinstance(path, Address):
        return path
    return Path(images_of_packages(path)) if is_package_folder(path) else path
