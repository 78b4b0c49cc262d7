"""runprediction.sh: probability maps of a volume with trained nets."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, rules_from, run
from cdeep3m.cli.engine_options import add_engine_options, container_options
from cdeep3m.cli.report import add_report_option, page_ready_in_time, report_at_end
from cdeep3m.cli.runner_options import add_runner_options, add_share_option, chosen_runner
from cdeep3m.cli.threads import add_threads_option, limit_threads
from cdeep3m.cli.volume_options import add_map_options, add_place_option, add_selection_options, path_or_address

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from cdeep3m.engines.base import Engine
    from cdeep3m.prediction.run import PredictRequest
    from cdeep3m.runners.base import Runner

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Predict a volume with trained nets, stitch and average the results.

  TRAINOUT    folder of a training (runtraining.sh), or of a released model: <net>/deploy.prototxt, <net>/trainedmodel/
  IMAGES      folder of .png or .tif images, or one .tif or .h5 stack, or a folder made by PreprocessImageData
  PREDICTOUT  gets <net>/Segmented_0001.png ... and ensembled/Segmented_0001.png ...: 8-bit probability maps

The same command goes on where an interrupted one stopped. `touch PREDICTOUT/KILL.REQUEST` stops a run within one plane.
"""

BAD_SPEED = 2

EXIT_CODES = """\
exit status: 0 done; 1 wrong usage; 2 bad --augspeed; 3 PREDICTOUT cannot be made; 4 the images cannot be read;
10 no trained model, or predicting failed (see PREDICTOUT/ERROR); 11 KILL.REQUEST found; 12 averaging failed;
99 ERROR of an earlier run
"""


OVERLAY_FAILED = 12
PACKAGES_AHEAD = {1: 3, 2: 6}
"""By edition, as its own command takes it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse(argv)
    return run(lambda: _predict(options), debug=options.debug)


def _parser() -> CommandParser:
    parser = CommandParser("runprediction.sh", exact=True, description=DESCRIPTION, epilog=EXIT_CODES)
    parser.help_of_edition_2 = 1
    add_prediction_options(parser)
    parser.add_argument("--models", default="1fm,3fm,5fm", metavar="LIST", help="nets to use (default: 1fm,3fm,5fm)")
    parser.add_argument("trained", type=Path, metavar="TRAINOUT")
    parser.add_argument("images", metavar="IMAGES")
    parser.add_argument("out", type=Path, metavar="PREDICTOUT")
    return parser


def add_prediction_options(parser: argparse.ArgumentParser) -> None:
    """Add what both runprediction.sh and `cdeep3m predict` offer."""
    parser.set_defaults(label=None)
    parser.add_argument(
        "--augspeed",
        default="1",
        metavar="1|2|4|10",
        help="fewer test-time-augmentation variants: 1 all (best), 10 one (fastest); default: 1",
    )
    parser.add_argument(
        "--fit",
        action="store_true",
        help="images below 1024 x 1024: predict no more than is there, sooner, instead of filling up with zeros",
    )
    parser.add_argument(
        "--fill",
        choices=("zeros", "reflect"),
        default="zeros",
        help="what nets see beyond the images, further than 12 pixels from them (default: zeros)",
    )
    parser.add_argument(
        "--blend",
        action="store_true",
        help="let tiles of large images overlap by as far as the nets look, and average them: no seams, more time",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "fast"),
        default="float32",
        help="fast computes with 16-bit numbers, sooner, and says what that changes (default: float32)",
    )
    parser.add_argument(
        "--denoise",
        type=int,
        metavar="N",
        help="enhance the images (contrast, denoising) and cut off N percent of the gray values at either end, as "
        "models of the second edition expect it with 2; 0: take them as they are (default: as the model was trained)",
    )
    parser.add_argument(
        "--whole_volume",
        action="store_true",
        help="with --denoise: percentiles of the whole volume instead of each plane's, which keeps brightness along z",
    )
    parser.add_argument(
        "--no-calibration",
        dest="calibrated",
        action="store_false",
        help="take the maps as the nets give them, where a training has left a calibration that makes 0.5 the right "
        "threshold (with --exact: always)",
    )
    parser.add_argument(
        "--overlays",
        action="store_true",
        help="lay the maps over the images, in green: PREDICTOUT/overlay/overlay_0001.png (with --edition 2: always)",
    )
    add_threads_option(parser)
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="predict anew over what an earlier run left in the folder, of these or of other images",
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        help="say how many boxes, how much memory and disk and about how long it will take, and predict nothing",
    )
    add_selection_options(parser)
    add_map_options(parser)
    add_place_option(parser)
    add_engine_options(parser)
    add_report_option(parser)
    add_runner_options(parser)
    add_share_option(parser)
    parser.add_argument(
        "--maxpackages",
        type=int,
        metavar="N",
        help="packages prepared ahead of time, with engines over files (default: 3; with --edition 2: 6)",
    )


def speed_of(word: str) -> int:
    """Return --augspeed as a number; what is none gets the exit status of a bad one."""
    from cdeep3m.errors import InputError, failing_with

    with failing_with(BAD_SPEED):
        if not word.lstrip("-").isdigit():
            raise InputError(f"--augspeed {word}: expected 1, 2, 4 or 10")
        return int(word)


def _predict(options: argparse.Namespace) -> int:
    from cdeep3m.runs.trained import nets_named

    nets = nets_named(options.models)
    _tell_of_classes(options.trained, nets)
    return predict_with(options, nets=nets)


def _tell_of_classes(trained: Path, nets: tuple[str, ...]) -> None:
    """Warn where a model tells several classes apart, of which the original's command shows the first."""
    from cdeep3m.errors import CDeep3MError
    from cdeep3m.runs.trained import FEWEST_CLASSES, TrainedRun

    ours = logging.getLogger("cdeep3m")
    level = ours.level
    ours.setLevel(logging.ERROR)  # the prediction itself will tell what there is to warn of
    try:
        classes = TrainedRun(trained).classes(nets[:1])[nets[0]]
    except CDeep3MError:
        return
    finally:
        ours.setLevel(level)
    if classes > FEWEST_CLASSES:
        logger.warning(
            "Warning: %s tells %d classes apart, and the maps will show class 1; `cdeep3m predict` gives all of them",
            trained,
            classes,
        )


def predict_with(options: argparse.Namespace, *, nets: tuple[str, ...]) -> int:
    """Predict as `options` (of `add_prediction_options`, with trained, images and out) say; return the exit status."""
    limit_threads(options, "enhance_stack", "Merge_LargeData", "EnsemblePredictions", "ensemble", "crop_png")
    from cdeep3m.cli.progress import ProgressDisplay
    from cdeep3m.engines.select import select_engine
    from cdeep3m.prediction.run import PredictRequest, predict
    from cdeep3m.runs.prediction import PredictionRun
    from cdeep3m.volumes.address import Address

    request = PredictRequest(
        trained=options.trained,
        images=path_or_address(options.images, options),
        out=options.out,
        nets=nets,
        aug_speed=speed_of(options.augspeed),
        rules=rules_from(options),
        fit=options.fit,
        fill=options.fill,
        blend=options.blend,
        maps=None if options.maps is None else Address.of(options.maps),
        precision=options.precision,
        max_packages=PACKAGES_AHEAD[options.edition] if options.maxpackages is None else options.maxpackages,
        overwrite=options.overwrite,
        denoise=options.denoise,
        whole_volume=options.whole_volume,
        calibrated=options.calibrated,
        format=options.format,
        dtype=options.dtype,
        **({} if options.label is None else {"label": options.label}),
    )
    engine, gpus = select_engine(options.engine, gpu=options.gpu, **container_options(options))
    print(f"Engine: {engine.name}, {engine.device(gpus[0])}, {request.precision}", file=sys.stderr)
    if options.plan:
        return _plan(request, engine, gpus[0])
    runner, gpu = runner_for(options, engine, gpus)
    with ProgressDisplay("plane" if request.format == "png" else "box") as display:
        report = page_ready_in_time(options, display)
        if not predict(request, engine, gpu=gpu, also=gpus[1:], report=report, runner=runner, share=options.share):
            print(f"{options.out / 'DONE'} is there: this prediction has finished before, nothing to do")
            return 0
    if options.share and not PredictionRun(options.out).is_done():
        print("Share {} of {} is finished. Others are not yet: the last one finishes the run".format(*options.share))
        return 0
    if (options.overlays or options.edition == 2) and not request.rules.second_edition:
        _overlay(request)
    report_at_end(options)
    print(f"Prediction has completed. Results are stored in {options.maps or options.out / 'ensembled'}")
    return 0


def _plan(request: PredictRequest, engine: Engine, gpu: int) -> int:
    """Print what a run will take; nothing is loaded or written."""
    from cdeep3m.cli.progress import duration
    from cdeep3m.engines.base import InProcessEngine
    from cdeep3m.errors import InputError, failing_with
    from cdeep3m.prediction.plan import plan_prediction
    from cdeep3m.prediction.run import images_of
    from cdeep3m.runs.trained import TrainedRun
    from cdeep3m.volumes import open_volume

    if not isinstance(engine, InProcessEngine):
        raise InputError(f"the engine {engine.name} cannot tell what nets cost: leave --plan out")
    with failing_with(10):
        models = {net: TrainedRun(request.trained).model(net) for net in request.nets}
    with failing_with(4):
        volume = open_volume(images_of(request.images), rules=request.rules)
        plan = plan_prediction(request, engine, models, volume, gpu=gpu)
    box, shape = (" x ".join(map(str, sides)) for sides in (plan.box, plan.shape))
    parts = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in plan.memory.items())
    print(f"volume   {shape} voxels (z, y, x)")
    print(f"boxes    {plan.boxes} of {box} at most; {plan.tiles} tiles a plane, {plan.passes} passes of the nets")
    print(f"memory   {plan.bytes_at_most / 1e9:.2f} GB at most: {parts}")
    meanwhile = f"; {plan.disk_meanwhile / 1e9:.3g} GB more while it runs" if plan.disk_meanwhile else ""
    print(f"disk     {plan.disk / 1e9:.3g} GB for the maps, before they are compressed{meanwhile}")
    print(f"time     about {duration(plan.seconds)} of the nets")
    return 0


def runner_for(options: argparse.Namespace, engine: Engine, gpus: Sequence[int]) -> tuple[Runner | None, int]:
    """Return where planes are predicted, and on which GPU there.

    Several GPUs, or several workers where there are GPUs, have a process each, which sees its GPU as number 0.
    """
    from cdeep3m.engines.base import CPU, InProcessEngine
    from cdeep3m.runners.processes import Processes, one_for_each_gpu

    workers = options.workers or (len(gpus) if not (options.dask or options.slurm) else 1)
    if workers > 1 and gpus[0] != CPU and isinstance(engine, InProcessEngine):
        return Processes(one_for_each_gpu([gpus[number % len(gpus)] for number in range(workers)])), 0
    return chosen_runner(options), gpus[0]


def _overlay(request: PredictRequest) -> None:
    """Lay the maps over what the nets saw."""
    from cdeep3m.errors import failing_with
    from cdeep3m.evaluation.scoring import maps_in
    from cdeep3m.prediction.run import enhancement_of, images_of
    from cdeep3m.report.overlay import green_overlays

    maps = request.maps or maps_in(request.out)
    with failing_with(OVERLAY_FAILED):
        seen = enhancement_of(request)
        green_overlays(maps, images_of(request.images), request.out / "overlay", enhancement=seen)


if __name__ == "__main__":
    sys.exit(main())
