"""`cdeep3m train`: from images and labels to trained nets, without files in between."""

from __future__ import annotations

import logging
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, rules_from, run
from cdeep3m.cli.create_train_job import add_classes_option, add_net_options, like_of, make_of
from cdeep3m.cli.engine_options import add_engine_options
from cdeep3m.cli.preprocess_training_data import confirm
from cdeep3m.cli.recipe_options import (
    LENGTH,
    OWN,
    add_recipe_options,
    followed_by,
    given_in,
    judging_of,
    learning_with_sampling,
    normalisation_of,
    options_by_recipe,
    share_of,
    shares_of,
    snapshots_of,
    split_of,
)
from cdeep3m.cli.report import add_report_option, report_at_end
from cdeep3m.cli.training_options import add_augmentation_options, add_run_options, add_solver_options
from cdeep3m.cli.trainworker import engine_of, request_of, train_by
from cdeep3m.cli.volume_options import add_selection_options, path_or_address

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from cdeep3m.engines.base import Engine, LabelledVolume
    from cdeep3m.evaluation.held_out import Judge
    from cdeep3m.runs.recipe import Followed
    from cdeep3m.training.run import TrainRequest
    from cdeep3m.training.sources import Loaded
    from cdeep3m.volumes.address import Address
    from cdeep3m.volumes.enhancement import Enhancement

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Train nets on IMAGES and their LABELS.

  IMAGES  folder of .png or .tif images; .tif, .h5 or .mrc; .zarr, .n5 or precomputed:// folder, or its s3:// or
          https:// address; IMAGES::NAME names a dataset inside
  LABELS  the same planes: 0 background, any one other value foreground (see --classes and --ignore)
  OUT     folder of the training, the MODEL of `cdeep3m predict`

All 16 orientations of the volume are trained on. The same command goes on where an interrupted one stopped.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("cdeep3m train", exact=True, description=DESCRIPTION)
    add_run_options(parser)
    add_solver_options(parser)
    add_augmentation_options(parser)
    add_engine_options(parser)
    add_report_option(parser)
    add_net_options(parser)
    add_classes_option(parser)
    _add_data_options(parser)
    add_recipe_options(parser)
    add_selection_options(parser, time=False)
    parser.add_argument("images", metavar="IMAGES")
    parser.add_argument("labels", metavar="LABELS")
    parser.add_argument("out", type=Path, metavar="OUT")
    words = list(sys.argv[1:] if argv is None else argv)
    parser.set_defaults(**options_by_recipe(words))
    options = parser.parse(words)
    options.given = given_in(words)
    return run(lambda: _train(options), debug=options.debug)


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--validation",
        nargs=2,
        metavar=("IMAGES", "LABELS"),
        help="volume to test on during the training (default: the training volume)",
    )
    parser.add_argument(
        "--add",
        nargs=2,
        action="append",
        default=[],
        metavar=("IMAGES", "LABELS"),
        help="another volume to train on, of any size; may be given several times",
    )
    parser.add_argument(
        "--weights",
        metavar="LIST",
        help="how often patches come from each volume, in their order, as in 2,1 (default: from all as often)",
    )
    parser.add_argument(
        "--denoise",
        type=int,
        default=0,
        metavar="N",
        help="enhance the images (contrast, denoising) and cut off N percent of the gray values at either end; the "
        "model's images will be, too (default: 0, train on gray values as they are; 2 is what CDeep3M2 does)",
    )
    parser.add_argument(
        "--whole_volume",
        action="store_true",
        help="with --denoise: percentiles of the whole volume instead of each plane's",
    )
    parser.add_argument(
        "--show-augmentation",
        type=Path,
        metavar="PNG",
        help="draw patches as the training will see them, as a picture, and do not train",
    )


def _train(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from cdeep3m.nets.prototxts import NETS
    from cdeep3m.runs.provenance import keep_record, warn_of_other_images
    from cdeep3m.runs.recipe import demand_same_recipe
    from cdeep3m.system.files import demand_apart
    from cdeep3m.training.folder import create_run
    from cdeep3m.training.sources import Source, load_sources, record_of
    from cdeep3m.volumes.labels import Labelling

    begun = time.monotonic()
    asked = _request(options, planes=0)  # tells of wrong settings before images are read
    named = [(options.images, options.labels), *options.add, *([options.validation] if options.validation else [])]
    pairs = [
        (path_or_address(images, options), path_or_address(labels, options, labels=True)) for images, labels in named
    ]
    demand_apart(options.out, [path for pair in pairs for path in pair], below=NETS)
    count = 1 + len(options.add)
    weights = _weights(options.weights, count)
    enhancement = _enhancement(options)
    _demand_enough_planes(options, asked, [images for images, _ in pairs[:count]])
    asked = _request(options, planes=0)
    wanted = followed_by(options)
    earlier = None if options.show_augmentation else demand_same_recipe(options.out, wanted)
    labelling = Labelling(classes=options.classes or 2, ignore=options.ignore)
    load = partial(
        load_sources, rules=rules_from(options), confirm=confirm, enhancement=enhancement, labelling=labelling
    )
    loaded = load(
        [Source(*pair, weight) for pair, weight in zip(pairs[:count], weights, strict=True)],
        split=split_of(options, asked.nets),
        orientations=options.orientations,
    )
    request = _as_read(_request(options, planes=loaded.training[0].data.shape[-1]))
    if options.show_augmentation:
        _show(options, request, loaded.training)
        return
    validation = _validation(options, loaded, partial(load, [Source(*pairs[-1])]))
    like = like_of(options, request.retrain)
    create_run(options.out, make=make_of(options), like=like, images=loaded.images)
    record = record_of(loaded, enhancement=enhancement, augmentation=request.augmentation)
    warn_of_other_images(request.retrain, record)
    keep_record(options.out, record)
    engine, gpus = engine_of(options)
    judge = _judge(request, engine, gpus[0], loaded)
    request = replace(request, gpus=tuple(gpus))
    if wanted:
        volumes = loaded.training, validation
        plan = partial(_plan, options, request, engine, volumes, judge=judge, begun=begun)
        request = _by_recipe(options, request, wanted, earlier, plan)
    train_by(request, engine, training=loaded.training, validation=validation, judge=judge)
    report_at_end(options)
    print(f"Training has completed. Results are stored in {options.out}")


def _by_recipe(
    options: argparse.Namespace,
    request: TrainRequest,
    wanted: Followed,
    earlier: Followed | None,
    plan: Callable[[], dict[str, int]],
) -> TrainRequest:
    """Note what is followed; return the request with the iterations that were planned, or are planned now."""
    from dataclasses import replace

    from cdeep3m.runs.recipe import keep_recipe

    if options.training_time:
        planned = earlier.iterations if earlier and earlier.iterations else plan()
        wanted, request = replace(wanted, iterations=planned), _as_planned(options, request, planned)
    keep_recipe(options.out, wanted)
    return request


def _as_read(request: TrainRequest) -> TrainRequest:
    """Return a request whose ignored label is the number that labels have in memory."""
    from dataclasses import replace

    from cdeep3m.volumes.labels import IGNORED

    loss = request.learning.loss
    if loss.ignore is None:
        return request
    return replace(request, learning=replace(request.learning, loss=replace(loss, ignore=IGNORED)))


def _request(options: argparse.Namespace, *, planes: int) -> TrainRequest:
    """Return what the options ask for, with what the original's commands do not know."""
    from dataclasses import replace

    from cdeep3m.errors import InputError

    recipe = followed_by(options) is not None
    if recipe and options.exact:
        raise InputError("the original follows no recipe, plans no time and scores no snapshots: use --exact or these")
    request, judging = request_of(options, planes=planes), judging_of(options)
    if options.training_time and (options.retrain or LENGTH in options.given):
        other = "--retrain" if options.retrain else "--numiterations"
        raise InputError(f"--time and {other} both say how long to train: leave one of them out")
    shares_of(options, request.nets)
    learning = learning_with_sampling(options, request.learning)
    settings = request.settings
    if options.snapshots is not None:
        from cdeep3m.training.planning import settings_for

        settings = settings_for(settings, settings.numiterations, snapshots=snapshots_of(options, judging).count)
    return replace(request, learning=learning, judging=judging, recipe=recipe, settings=settings)


def _demand_enough_planes(options: argparse.Namespace, request: TrainRequest, images: Sequence[Path | Address]) -> None:
    """Hold nothing out where a recipe asks for that, not the command line, and a volume has too few planes."""
    from cdeep3m.training.holding_out import FEWEST_TRAINED
    from cdeep3m.volumes import open_volume

    split = split_of(options, request.nets)
    if split is None or "holdout" in options.given:
        return
    planes = min(open_volume(each, rules=rules_from(options)).shape[0] for each in images)
    if split.left(planes) < FEWEST_TRAINED:
        logger.info("%d planes: too few to hold some out as the recipe %s does; none are", planes, options.recipe)
        options.holdout = OWN["holdout"]


def _validation(options: argparse.Namespace, loaded: Loaded, load: Callable[[], Loaded]) -> list[LabelledVolume]:
    """Return what nets are tested on: a volume of its own, what was held out, or else what is trained on."""
    from cdeep3m.training.data import labelled_volume

    if options.validation:
        return load().training[:1]
    if share_of(options.holdout):
        return [labelled_volume(part.data[part.first :], part.label[part.first :]) for part in loaded.known]
    return loaded.training[:1]


def _judge(request: TrainRequest, engine: Engine, gpu: int, loaded: Loaded) -> Judge | None:
    """Return what scores and calibrates snapshots, where that is asked for and the engine can."""
    from cdeep3m.engines.base import InProcessEngine
    from cdeep3m.evaluation.held_out import Judge

    if not request.judging.is_needed or not isinstance(engine, InProcessEngine):
        return None
    return Judge(engine, loaded.known, gpu=gpu, precision=request.precision)


def _plan(
    options: argparse.Namespace,
    request: TrainRequest,
    engine: Engine,
    volumes: tuple[Sequence[LabelledVolume], Sequence[LabelledVolume]],
    *,
    judge: Judge | None,
    begun: float,
) -> dict[str, int]:
    """Measure how many iterations of each net fit into the time."""
    from cdeep3m.training.planning import plan_iterations

    return plan_iterations(
        request,
        engine,
        seconds=options.training_time,
        begun=begun,
        shares=shares_of(options, request.nets),
        snapshots=snapshots_of(options, request.judging),
        training=volumes[0],
        validation=volumes[1],
        judge=judge,
        make=make_of(options),
    )


def _as_planned(options: argparse.Namespace, request: TrainRequest, planned: Mapping[str, int]) -> TrainRequest:
    """Return the request with the iterations of each net."""
    from dataclasses import replace

    from cdeep3m.training.planning import settings_for

    count = snapshots_of(options, request.judging).count
    own = {net: settings_for(request.settings, iterations, snapshots=count) for net, iterations in planned.items()}
    return replace(request, own_settings=own)


def _weights(text: str | None, count: int) -> list[float]:
    """Return a weight for each volume."""
    from cdeep3m.errors import InputError

    if text is None:
        return [1.0] * count
    try:
        weights = [float(part) for part in text.split(",")]
    except ValueError:
        weights = []
    if len(weights) != count or not all(0 < weight < float("inf") for weight in weights):
        raise InputError(f"--weights {text}: expected {count} numbers above 0, one for each volume, as in 2,1")
    return weights


def _enhancement(options: argparse.Namespace) -> Enhancement | None:
    from cdeep3m.volumes.enhancement import Enhancement

    normalisation = normalisation_of(options)
    if options.denoise:
        return Enhancement(cut=options.denoise, whole_volume=options.whole_volume)
    return normalisation


def _show(options: argparse.Namespace, request: TrainRequest, training: Sequence[LabelledVolume]) -> None:
    from cdeep3m.report.patches import draw_patches

    side = options.patch_side or 320
    draw_patches(options.show_augmentation, training, request.augmentation, side=side, seed=options.seed or 0)
    print(f"Patches drawn: {options.show_augmentation}")


if __name__ == "__main__":
    sys.exit(main())
