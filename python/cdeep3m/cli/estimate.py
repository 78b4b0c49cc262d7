"""`cdeep3m estimate train|predict`: time, memory, disk and cost, before the hours are spent."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdeep3m.cli.common import CommandParser, run
from cdeep3m.cli.create_train_job import add_classes_option, add_net_options, like_of
from cdeep3m.cli.engine_options import add_engine_options, container_options
from cdeep3m.cli.progress import duration
from cdeep3m.cli.recipe_options import add_recipe_options, given_in, options_by_recipe
from cdeep3m.cli.training_options import add_augmentation_options, add_run_options, add_solver_options
from cdeep3m.cli.volume_options import add_selection_options, path_or_address
from cdeep3m.engines.measured import BATCH, MEASURED, PATCH, SIDE
from cdeep3m.rules import rules_of
from cdeep3m.training.by_options import (
    as_read,
    full_request_of,
    hold_out_what_there_is,
    make_of,
    normalisation_of,
    plan_by,
    split_of,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from cdeep3m.engines.base import Engine
    from cdeep3m.engines.measured import Device
    from cdeep3m.proto.caffe_pb2 import NetParameter
    from cdeep3m.training.estimate import NetCost
    from cdeep3m.training.run import TrainRequest
    from cdeep3m.training.sources import Loaded

DESCRIPTION = """\
Say how long a training or a prediction will take here, how much memory and disk, and what it will cost, from a
measurement of less than a minute a net on this machine and on your own data. Nothing is kept.

  cdeep3m estimate train IMAGES LABELS     with the options of `cdeep3m train`
  cdeep3m estimate predict MODEL IMAGES    with the options of `cdeep3m predict`
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    kind, rest = (words[0], words[1:]) if words and words[0] in ("train", "predict") else ("", words)
    if kind == "train":
        parser = _train_parser()
        parser.set_defaults(**options_by_recipe(rest))
        options = parser.parse(rest)
        options.given = given_in(rest)
        return run(lambda: _train(options), debug=options.debug)
    if kind == "predict":
        options = _predict_parser().parse(rest)
        return run(lambda: _predict(options), debug=options.debug)
    usages = "\n".join(each().format_usage() for each in (_train_parser, _predict_parser))
    parser = CommandParser("cdeep3m estimate", description=DESCRIPTION, epilog=usages)
    parser.add_argument("kind", choices=("train", "predict"), metavar="train|predict")
    parser.parse(rest)
    raise AssertionError("unreachable: the parser takes no other kind")


def _add_shared_options(parser: CommandParser) -> None:
    add_engine_options(parser)
    parser.add_argument("--price", type=float, metavar="P", help="of an hour on this device: adds the cost")
    parser.add_argument("--seconds", type=float, metavar="S", help="to measure each net for (default: about 15)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _train_parser() -> CommandParser:
    parser = CommandParser("cdeep3m estimate train", exact=True, description=DESCRIPTION)
    add_run_options(parser)
    add_solver_options(parser)
    add_augmentation_options(parser)
    add_net_options(parser)
    add_classes_option(parser)
    add_recipe_options(parser)
    parser.set_defaults(denoise=0)
    _add_shared_options(parser)
    add_selection_options(parser, time=False)
    parser.add_argument("images", metavar="IMAGES")
    parser.add_argument("labels", metavar="LABELS")
    return parser


def _predict_parser() -> CommandParser:
    parser = CommandParser("cdeep3m estimate predict", description=DESCRIPTION)
    _add_shared_options(parser)
    parser.add_argument("--augspeed", type=int, default=1, metavar="1|2|4|10", help="variants, as for predict")
    parser.add_argument("--fit", action="store_true", help="predict no more than is there, as for predict")
    parser.add_argument("--precision", choices=("float32", "fast"), default="float32", help="as for predict")
    parser.add_argument("--models", metavar="LIST", help="nets to use (default: all that are trained)")
    add_selection_options(parser)
    parser.add_argument("trained", type=Path, metavar="MODEL")
    parser.add_argument("images", metavar="IMAGES")
    return parser


def _train(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from cdeep3m.evaluation.held_out import judge_for
    from cdeep3m.training.estimate import SECONDS, estimate_training
    from cdeep3m.training.run import check_engine, check_retrain

    begun = time.monotonic()
    options.out = Path("estimate")
    loaded, request = _as_it_will_be_trained(options)
    check_retrain(request.retrain)
    engine, gpu = _engine(options)
    judge = judge_for(request, engine, gpu, loaded.known, classes=options.classes or 2)
    check_engine(request, engine, judge)
    tested = loaded.tested_on(held_out=request.judging.held_out)
    how: dict[str, Any] = {"training": loaded.training, "validation": tested, "judge": judge}
    alone = replace(request, gpus=(gpu,), retrain=None)
    if options.training_time:
        costs = plan_by(options, alone, engine, begun=begun, measured=options.seconds, **how)
    else:
        like, seconds = like_of(options, request.retrain), options.seconds or SECONDS
        costs = estimate_training(alone, engine, make=make_of(options), like=like, seconds=seconds, **how)
    _say(
        options,
        [_row_of(cost) for cost in costs],
        seconds=sum(cost.seconds for cost in costs),
        disk=sum(cost.disk for cost in costs),
        elsewhere=_elsewhere(options, request, sum(cost.iterations for cost in costs)),
    )


def _as_it_will_be_trained(options: argparse.Namespace) -> tuple[Loaded, TrainRequest]:
    """Read the volume as a training with these options will, and return what they ask for."""
    from cdeep3m.training.sources import Source, load_sources
    from cdeep3m.volumes import open_volume
    from cdeep3m.volumes.labels import Labelling

    rules = rules_of(exact=options.exact)
    nets = full_request_of(options, planes=0, rules=rules).nets
    images = path_or_address(options.images, options)
    if split_of(options, nets):
        hold_out_what_there_is(options, nets, open_volume(images, rules=rules).shape[0])
        full_request_of(options, planes=0, rules=rules)
    loaded = load_sources(
        [Source(images, path_or_address(options.labels, options, labels=True))],
        rules=rules,
        enhancement=normalisation_of(options),
        labelling=Labelling(classes=options.classes or 2, ignore=options.ignore),
        split=split_of(options, nets),
        orientations=options.orientations,
    )
    planes = loaded.training[0].data.shape[-1]
    return loaded, as_read(full_request_of(options, planes=planes, rules=rules))


def _row_of(cost: NetCost) -> dict[str, Any]:
    row = {
        "net": cost.net,
        "seconds": cost.seconds,
        "iterations": cost.iterations,
        "seconds_an_iteration": cost.iteration,
        "tests": cost.tests,
        "seconds_a_test": cost.test,
    }
    return {**row, "scores": cost.scores, "seconds_a_score": cost.score} if cost.scores else row


def _elsewhere(options: argparse.Namespace, request: TrainRequest, iterations: int) -> dict[Device, float | None]:
    """Return what nets of full size take on devices that were measured; nothing of others."""
    full_size = options.width in (None, 1) and options.patch_side in (None, PATCH) and request.retrain is None
    if not full_size:
        return {}
    batches = iterations * request.settings.iter_size * (options.batch or BATCH) / BATCH
    return {device: device.training(batches) for device in MEASURED}


def _predict(options: argparse.Namespace) -> None:
    from cdeep3m.engines.base import InProcessEngine
    from cdeep3m.errors import InputError
    from cdeep3m.prediction.estimate import SECONDS, estimate_prediction
    from cdeep3m.prediction.run import PredictRequest, images_of
    from cdeep3m.runs.trained import TrainedRun, nets_named
    from cdeep3m.tiling.grid import Tiling
    from cdeep3m.volumes import open_volume

    trained = TrainedRun(options.trained)
    nets = nets_named(options.models) if options.models else tuple(trained.default_nets())
    request = PredictRequest(
        trained=options.trained,
        images=images_of(path_or_address(options.images, options)),
        out=Path("estimate"),
        nets=nets,
        aug_speed=options.augspeed,
        fit=options.fit,
        precision=options.precision,
    )
    models = {net: trained.model(net) for net in nets}
    engine, gpu = _engine(options)
    if not isinstance(engine, InProcessEngine):
        raise InputError(f"the engine {engine.name} cannot be measured here: choose --engine embedded")
    volume = open_volume(request.images)
    tiling = Tiling.of(volume.shape, folder_input=volume.is_folder, fit=request.fit)
    cost = estimate_prediction(request, engine, models, volume, tiling, gpu=gpu, seconds=options.seconds or SECONDS)
    rows = [
        {"net": net.net, "seconds": net.seconds, "passes": net.passes, "seconds_a_pass": net.one_pass}
        for net in cost.nets
    ]
    elsewhere = {}
    if all(is_full_size(net, model.deploy) for net, model in models.items()):
        canvas = tiling.package(1, 1).canvas_shape
        windows = sum(net.passes for net in cost.nets) * canvas[0] * canvas[1] / SIDE**2
        elsewhere = {device: device.predicting(windows) for device in MEASURED}
    _say(options, rows, seconds=cost.seconds, disk=cost.disk, voxels=cost.voxels, elsewhere=elsewhere)


def is_full_size(net: str, deploy: Path) -> bool:
    """Say whether a net has as many channels as those that were measured on other devices."""
    from cdeep3m.nets import prototxts
    from cdeep3m.proto import prototxt

    def widest(message: NetParameter) -> int:
        return max((layer.convolution_param.num_output for layer in message.layer), default=0)

    return net in prototxts.NETS and widest(prototxt.read_net(deploy)) == widest(prototxts.deploy(net))


def _engine(options: argparse.Namespace) -> tuple[Engine, int]:
    from cdeep3m.engines.select import select_engine

    logging.getLogger("cdeep3m").setLevel(logging.WARNING)  # what it does is no run of the user's
    engine, gpus = select_engine(options.engine, gpu=options.gpu, **container_options(options))
    print(f"Engine: {engine.name}, {engine.device(gpus[0])}", file=sys.stderr)
    return engine, gpus[0]


def _say(
    options: argparse.Namespace,
    nets: list[dict[str, Any]],
    *,
    seconds: float,
    disk: int,
    voxels: int | None = None,
    elsewhere: Mapping[Device, float | None] | None = None,
) -> None:
    from cdeep3m.runs.events import peak_memory

    cost = seconds / 3600 * options.price if options.price else None
    memory = peak_memory()
    known = {device: there for device, there in (elsewhere or {}).items() if there is not None}
    others = [{"device": d.name, "precision": d.precision, "seconds": there} for d, there in known.items()]
    told = {"seconds": seconds, "memory": memory, "disk": disk, "cost": cost, "nets": nets, "elsewhere": others}
    if options.json:
        print(json.dumps(told, indent=1))
        return
    for net in nets:
        rest = ", ".join(_said(name, value) for name, value in net.items() if name not in ("net", "seconds"))
        print(f"{net['net']:8} {duration(net['seconds']):>12}   {rest}")
    print(f"{'in all':8} {duration(seconds):>12}")
    print(f"{'memory':8} {memory / 1e9:>9.1f} GB   of this machine; that of a GPU is not in it")
    print(f"{'disk':8} {disk / 1e9:>9.2g} GB")
    if cost is not None:
        each = f"   {cost / voxels * 1e6:.3g} a million voxels" if voxels else ""
        print(f"{'cost':8} {cost:>12.2f}{each}")
    for device, there in known.items():
        print(f"{'there':8} {duration(there):>12}   on {device.name}, {device.precision} (docs/results.md)")


def _said(name: str, value: float) -> str:
    """Return a number with its name, as a table shows it.

    Examples
    --------
    >>> _said("seconds_a_pass", 1.234), _said("passes", 40)
    ('1.23 seconds a pass', '40 passes')
    """
    return f"{value if isinstance(value, int) else format(value, '.3g')} {name.replace('_', ' ')}"


if __name__ == "__main__":
    sys.exit(main())
