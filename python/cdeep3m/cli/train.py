"""`cdeep3m train`: from images and labels to trained nets, without files in between."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdeep3m.cli.common import CommandParser, rules_from, run
from cdeep3m.cli.create_train_job import add_classes_option, add_net_options, like_of
from cdeep3m.cli.engine_options import add_engine_options
from cdeep3m.cli.preprocess_training_data import confirm
from cdeep3m.cli.recipe_options import add_recipe_options, given_in, options_by_recipe
from cdeep3m.cli.report import add_report_option, report_at_end
from cdeep3m.cli.training_options import add_augmentation_options, add_run_options, add_solver_options
from cdeep3m.cli.trainworker import engine_of, train_by
from cdeep3m.cli.volume_options import add_selection_options, path_or_address
from cdeep3m.training.by_options import (
    ORIGINAL,
    as_planned,
    as_read,
    followed_by,
    full_request_of,
    hold_out_what_there_is,
    make_of,
    normalisation_of,
    plan_by,
    share_of,
    split_of,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from cdeep3m.engines.base import LabelledVolume
    from cdeep3m.runs.recipe import Followed
    from cdeep3m.training.estimate import NetCost
    from cdeep3m.training.run import TrainRequest
    from cdeep3m.volumes.address import Address
    from cdeep3m.volumes.enhancement import Enhancement

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

    from cdeep3m.evaluation.held_out import judge_for
    from cdeep3m.nets.prototxts import NETS
    from cdeep3m.runs.provenance import keep_record, warn_of_other_images
    from cdeep3m.runs.recipe import demand_same_recipe
    from cdeep3m.system.files import demand_apart
    from cdeep3m.training.folder import create_run, demand_nets
    from cdeep3m.training.sources import Source, load_sources, record_of
    from cdeep3m.volumes.labels import Labelling

    begun = time.monotonic()
    asked = _request(options, planes=0)  # tells of wrong settings before images are read
    demand_nets(options.out, asked.nets)
    named = [(options.images, options.labels), *options.add, *([options.validation] if options.validation else [])]
    pairs = [
        (path_or_address(images, options), path_or_address(labels, options, labels=True)) for images, labels in named
    ]
    demand_apart(options.out, [path for pair in pairs for path in pair], below=NETS)
    count = 1 + len(options.add)
    weights = _weights(options.weights, count)
    enhancement = _enhancement(options)
    _hold_out_what_there_is(options, asked, [images for images, _ in pairs[:count]])
    asked = _request(options, planes=0)
    wanted = followed_by(options)
    earlier = None if options.show_augmentation else demand_same_recipe(options.out, wanted, usual=ORIGINAL)
    labelling = Labelling(classes=options.classes or 2, ignore=options.ignore)
    load = partial(
        load_sources, rules=rules_from(options), confirm=confirm, enhancement=enhancement, labelling=labelling
    )
    loaded = load(
        [Source(*pair, weight) for pair, weight in zip(pairs[:count], weights, strict=True)],
        split=split_of(options, asked.nets),
        orientations=options.orientations,
    )
    request = as_read(_request(options, planes=loaded.training[0].data.shape[-1]))
    if options.show_augmentation:
        _show(options, request, loaded.training)
        return
    held_out = share_of(options.holdout) > 0
    validation = load([Source(*pairs[-1])]).training[:1] if options.validation else loaded.tested_on(held_out=held_out)
    like = like_of(options, request.retrain)
    create_run(options.out, make=make_of(options), like=like, images=loaded.images)
    record = record_of(loaded, enhancement=enhancement, augmentation=request.augmentation)
    warn_of_other_images(request.retrain, record)
    keep_record(options.out, record)
    engine, gpus = engine_of(options)
    judge = judge_for(request, engine, gpus[0], loaded.known, classes=options.classes or 2)
    request = replace(request, gpus=tuple(gpus))
    if wanted:
        data: dict[str, Any] = {"training": loaded.training, "validation": validation}
        plan = partial(plan_by, options, request, engine, begun=begun, judge=judge, **data)
        request = _by_recipe(options, request, wanted, earlier, plan)
    train_by(request, engine, training=loaded.training, validation=validation, judge=judge)
    report_at_end(options)
    print(f"Training has completed. Results are stored in {options.out}")


def _by_recipe(
    options: argparse.Namespace,
    request: TrainRequest,
    wanted: Followed,
    earlier: Followed | None,
    plan: Callable[[], list[NetCost]],
) -> TrainRequest:
    """Note what is followed; return the request with the iterations that were planned, or are planned now."""
    from dataclasses import replace

    from cdeep3m.runs.recipe import keep_recipe

    if options.training_time:
        known = earlier.iterations if earlier else {}
        planned = known or {cost.net: cost.iterations for cost in plan()}
        wanted, request = replace(wanted, iterations=planned), as_planned(options, request, planned)
    keep_recipe(options.out, wanted)
    return request


def _request(options: argparse.Namespace, *, planes: int) -> TrainRequest:
    return full_request_of(options, planes=planes, rules=rules_from(options))


def _hold_out_what_there_is(
    options: argparse.Namespace, request: TrainRequest, images: Sequence[Path | Address]
) -> None:
    """Hold nothing out where a recipe asks for that, not the command line, and a volume has too few planes."""
    from cdeep3m.volumes import open_volume

    if split_of(options, request.nets):
        planes = min(open_volume(each, rules=rules_from(options)).shape[0] for each in images)
        hold_out_what_there_is(options, request.nets, planes)


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
