"""What the options of a training ask for, as values: the commands' options, a recipe's, or those of a call from Python.

Options are any object that has them as attributes, by their names on the command line; None is what was not given.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from cdeep3m.errors import InputError
from cdeep3m.rules import CORRECTED, Rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cdeep3m.augmentation.settings import Augmentation
    from cdeep3m.engines.base import Engine, LabelledVolume
    from cdeep3m.engines.learning import Learning
    from cdeep3m.nets.prototxts import NetMake
    from cdeep3m.runs.recipe import Followed
    from cdeep3m.training.estimate import NetCost
    from cdeep3m.training.holding_out import Split
    from cdeep3m.training.judging import Judge, Judging
    from cdeep3m.training.planning import Snapshots
    from cdeep3m.training.run import SolverSettings, TrainRequest
    from cdeep3m.volumes.enhancement import Enhancement

log = logging.getLogger(__name__)

RECIPES = ("original", "quick", "best")
"""The first one is the default, and sets nothing."""

OUR_POLICIES = ("cosine", "linear")
ADAMW = "AdamW"
SOLVERS: dict[str, dict[str, float]] = {
    "SGD": {},
    "Nesterov": {},
    "AdaGrad": {"momentum": 0.0},
    "RMSProp": {"momentum": 0.0, "base_learn": 1e-3, "rms_decay": 0.99},
    "AdaDelta": {"base_learn": 1.0, "delta": 1e-6},
    "Adam": {"base_learn": 1e-3},
    ADAMW: {"base_learn": 1e-3, "weight_decay": 1e-2},
}
"""The solvers, and where their defaults differ from SGD's, at whose rate they would diverge or hardly move."""

SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        "numiterations": 30000,
        "base_learn": 1e-2,
        "power": 0.8,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "average_loss": 16,
        "lr_policy": "poly",
        "iter_size": 8,
        "snapshot_interval": 2000,
    }
)
"""Settings of a solver that every command sets, and the original's values."""

MAKE = ("width", "least_channels", "patch_side", "bn_fraction", "batch", "initialisation", "classes", "binning")
"""Options that make other nets than DeepEM3D's."""

OWN: Mapping[str, Any] = MappingProxyType(
    {
        "shares": None,
        "training_time": None,
        "holdout": "0",
        "keep": "last",
        "patience": 0,
        "snapshots": None,
        "calibrate": False,
        "normalise": "none",
        "orientations": 16,
        "rare": 0.0,
        "workers": 1,
    }
)
"""Options that the original's commands do not have, and the values at which a training is the original's."""

ORIGINAL: Mapping[str, Any] = MappingProxyType(
    {
        **dict.fromkeys((*SETTINGS, *MAKE)),
        **dict.fromkeys(("solver", "momentum2", "rms_decay", "delta", "clip_gradients", "test_interval", "seed")),
        **dict.fromkeys(("models", "loss", "class_weights", "ignore")),
        "only_1fm": False,
        "precision": "float32",
        "warm_up": 0,
        "average": 0.0,
        "augment": "0",
        "resize": 0,
        "jitter": 0.0,
        "noise": 0.0,
        "denoise": 0,
        "whole_volume": False,
        **OWN,
    }
)
"""All options of `cdeep3m train` that say how to train, where none is given."""

NOT_SET_BY_RECIPES = (
    *("images", "labels", "out", "validation", "add", "weights", "roi", "channel", "time", "level", "axes"),
    *("recipe", "training_time", "given", "retrain", "additerations", "show_augmentation", "no_report"),
    *("engine", "gpu", "image", "memory", "exact", "edition", "debug"),
)
"""Options that say what is trained on, where and from what, and not how."""

SECOND = 2
"""The edition that is CDeep3M2."""
UNITS = {"s": 1, "m": 60, "h": 3600}
TIME = re.compile(r"(?:\d+(?:\.\d+)?[smh])+")
FALLS_BACK = ("holdout", "keep", "patience")
"""Options of a recipe that go where a volume has too few planes for them; never so where they were given."""
LENGTH = "numiterations"
GIVES_WAY = (*FALLS_BACK, LENGTH, "shares")
"""Options that give way to others unless they were given (`given` among the options names those)."""


def called_options(recipe: str, given: Mapping[str, Any]) -> SimpleNamespace:
    """Return the options of a training from Python: those given, then the recipe's, then the original's.

    Raises
    ------
    InputError
        There is no such recipe.

    Examples
    --------
    >>> options = called_options("quick", {"width": 16})
    >>> options.width, options.solver, options.momentum
    (16, 'AdamW', None)
    """
    from cdeep3m.training.recipes import recipe_called

    values = {**ORIGINAL, **recipe_called(recipe).options, **given}
    named = frozenset(name for name in GIVES_WAY if name in given)
    return SimpleNamespace(
        **values, recipe=recipe, given=named, retrain=None, additerations=2000, exact=False, edition=1
    )


def settings_of(options: Any) -> SolverSettings:
    """Return the solver's settings."""
    from cdeep3m.training.run import SolverSettings

    named = settings_in(options)
    if options.lr_policy in OUR_POLICIES:
        named["lr_policy"] = "fixed"
    if options.solver == ADAMW:
        named |= {"weight_decay": 0.0, "solver": "Adam"}
    return SolverSettings(seed=options.seed, test_interval=options.test_interval, **named)


def settings_in(options: Any) -> dict[str, Any]:
    """Return the values of the options, and the defaults of the chosen solver for those that were not given."""
    names = [*SETTINGS, "solver", "momentum2", "rms_decay", "delta", "clip_gradients"]
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return dict(SETTINGS) | SOLVERS.get(options.solver, {}) | given


def learning_from(options: Any) -> Learning:
    """Return what goes beyond a solver.prototxt."""
    from cdeep3m.engines.learning import Learning, Loss, Schedule, class_weights_of, loss_of

    loss = Loss() if options.loss is None else loss_of(options.loss)
    if options.class_weights is not None:
        loss = replace(loss, class_weights=class_weights_of(options.class_weights))
    shape: Any = options.lr_policy if options.lr_policy in OUR_POLICIES else "caffe"
    decay = settings_in(options)["weight_decay"] if options.solver == ADAMW else 0.0
    loss = replace(loss, ignore=options.ignore)
    schedule = Schedule(shape=shape, warm_up=options.warm_up)
    return Learning(loss=loss, schedule=schedule, decay=decay, average=options.average)


def augmentation_from(options: Any) -> Augmentation:
    """Return what changes patches at random."""
    from cdeep3m.augmentation.settings import augmentation_of

    return replace(augmentation_of(options.augment, options.resize), jitter=options.jitter, noise=options.noise)


def nets_of(options: Any, *, planes: int) -> tuple[str, ...]:
    """Return the nets; where none was named, those for images of so many planes.

    CDeep3M2 trains all nets with --1fmonly (its defect 24), and so does its exact mode.
    """
    from cdeep3m.training.run import default_nets

    if options.only_1fm and not (options.exact and options.edition == SECOND):
        return ("1fm",)
    if options.models is not None:
        return tuple(net.strip() for net in options.models.split(","))
    return default_nets(planes)


def make_of(options: Any) -> NetMake | None:
    """Return how the nets differ from DeepEM3D's, or None where no such option was given."""
    from cdeep3m.nets.prototxts import NetMake

    given = {name: getattr(options, name) for name in MAKE if getattr(options, name, None) is not None}
    return NetMake(**given) if given else None


def seconds_of(text: str) -> float:
    """Return a time in seconds.

    Raises
    ------
    InputError
        It is none.

    Examples
    --------
    >>> seconds_of("30m"), seconds_of("1500s"), seconds_of("1h30m"), seconds_of("0.5h")
    (1800.0, 1500.0, 5400.0, 1800.0)
    """
    if not TIME.fullmatch(text):
        raise InputError(f"{text!r}: expected a time as in 30m, 1500s or 1h30m")
    seconds = sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+)([smh])", text))
    if not seconds:
        raise InputError(f"{text!r}: expected a time above 0")
    return seconds


def share_of(text: str) -> float:
    """Return the part that `--holdout` asks for.

    Raises
    ------
    InputError
        It is none.

    Examples
    --------
    >>> share_of("10%"), share_of("0.1"), share_of("0")
    (0.1, 0.1, 0.0)
    """
    number = text.removesuffix("%")
    try:
        share = float(number) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise InputError(f"--holdout {text}: expected a part of the planes, as in 10% or 0.1, or 0 for none")
    return share


def split_of(options: Any, nets: tuple[str, ...]) -> Split | None:
    """Return how planes are held out."""
    from cdeep3m.training.holding_out import Split, gap_of

    share = share_of(options.holdout)
    return Split(share=share, gap=gap_of(nets)) if share else None


def judging_of(options: Any) -> Judging:
    """Return what is asked of snapshots; what a recipe asks for goes where nothing is held out."""
    from cdeep3m.training.judging import Judging

    held_out = share_of(options.holdout) > 0
    if not held_out and options.recipe != RECIPES[0]:
        for name in FALLS_BACK[1:]:
            if name not in options.given:
                setattr(options, name, OWN[name])
    return Judging(held_out=held_out, keep=options.keep, patience=options.patience, calibrate=options.calibrate)


def shares_of(options: Any, nets: tuple[str, ...]) -> dict[str, float]:
    """Return the part of the time for each net, of any sum; alike where a recipe's are those of other nets.

    Raises
    ------
    InputError
        There are more or fewer than nets, or one is no number above 0.
    """
    other_nets = options.shares is not None and options.shares.count(",") != len(nets) - 1
    if options.shares is None or (other_nets and "shares" not in options.given):
        return dict.fromkeys(nets, 1.0)
    try:
        shares = [float(part) for part in options.shares.split(",")]
    except ValueError:
        shares = []
    if len(shares) != len(nets) or not all(0 < share < float("inf") for share in shares):
        raise InputError(
            f"--shares {options.shares}: expected {len(nets)} numbers above 0, one for each of {', '.join(nets)}"
        )
    return dict(zip(nets, shares, strict=True))


def snapshots_of(options: Any, judging: Judging) -> Snapshots:
    """Return what happens beside the iterations of a net in a training whose time is planned."""
    from cdeep3m.training.planning import Snapshots

    if options.snapshots is not None and options.snapshots < 1:
        raise InputError(f"--snapshots {options.snapshots}: expected a number of at least 1")
    return Snapshots(count=options.snapshots or 1, scored=judging.held_out, calibrated=judging.calibrate)


def learning_with_sampling(options: Any, learning: Learning) -> Learning:
    """Return how a training learns, and where its patches are drawn."""
    from cdeep3m.engines.learning import Sampling

    return replace(learning, sampling=Sampling(rare=options.rare, workers=options.workers))


def normalisation_of(options: Any) -> Enhancement | None:
    """Return what `--normalise` asks for."""
    from cdeep3m.volumes.enhancement import Normalisation

    if options.normalise == "none":
        return None
    if options.denoise:
        raise InputError("--normalise and --denoise both change gray values: leave one of them out")
    return Normalisation(whole_volume=options.normalise == "volume")


def followed_by(options: Any) -> Followed | None:
    """Return the recipe that a training follows, with every option; None for one that the original could do."""
    from cdeep3m.runs.recipe import Followed
    from cdeep3m.training.recipes import recipe_called

    if options.recipe == RECIPES[0] and all(getattr(options, name) == default for name, default in OWN.items()):
        return None
    recipe = recipe_called(options.recipe)
    settings: dict[str, Any] = {
        name: value for name, value in vars(options).items() if name not in NOT_SET_BY_RECIPES and value is not None
    }
    settings["seed"] = options.seed
    return Followed(name=recipe.name, version=recipe.version, options=settings, seconds=options.training_time)


def request_of(options: Any, *, planes: int, rules: Rules = CORRECTED) -> TrainRequest:
    """Return what the options of the original's commands ask for, of volumes of so many planes (0: not known)."""
    from cdeep3m.training.run import TrainRequest

    return TrainRequest(
        out=options.out,
        nets=nets_of(options, planes=planes),
        settings=settings_of(options),
        retrain=Path(options.retrain) if options.retrain else None,
        additerations=options.additerations,
        rules=rules,
        precision=options.precision,
        augmentation=augmentation_from(options),
        learning=learning_from(options),
    )


def full_request_of(options: Any, *, planes: int, rules: Rules = CORRECTED) -> TrainRequest:
    """Return what all options ask for, those among them that the original's commands do not have.

    Raises
    ------
    InputError
        Options that cannot be together, or a value out of range.
    """
    recipe = followed_by(options) is not None
    if recipe and options.exact:
        raise InputError("the original follows no recipe, plans no time and scores no snapshots: use --exact or these")
    request, judging = request_of(options, planes=planes, rules=rules), judging_of(options)
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


def as_read(request: TrainRequest) -> TrainRequest:
    """Return a request whose ignored label is the number that labels have in memory."""
    from cdeep3m.volumes.labels import IGNORED

    loss = request.learning.loss
    if loss.ignore is None:
        return request
    return replace(request, learning=replace(request.learning, loss=replace(loss, ignore=IGNORED)))


def hold_out_what_there_is(options: Any, nets: tuple[str, ...], planes: int) -> None:
    """Hold nothing out where a recipe asks for that, not the user, and a volume of so many planes has too few."""
    from cdeep3m.training.holding_out import FEWEST_TRAINED

    split = split_of(options, nets)
    if split is None or "holdout" in options.given or split.left(planes) >= FEWEST_TRAINED:
        return
    log.info("%d planes: too few to hold some out as the recipe %s does; none are", planes, options.recipe)
    options.holdout = OWN["holdout"]


def plan_by(
    options: Any,
    request: TrainRequest,
    engine: Engine,
    *,
    begun: float,
    training: Sequence[LabelledVolume],
    validation: Sequence[LabelledVolume],
    judge: Judge | None = None,
    measured: float | None = None,
) -> list[NetCost]:
    """Measure how many iterations of each net fit into the time that the options give.

    Parameters
    ----------
    options, request
        The options, and what they ask for.
    engine : Engine
    begun : float
        When that time began, on `time.monotonic`.
    training, validation : sequences of LabelledVolume
    judge : Judge, optional
    measured : float, optional
        Seconds to measure each net for; None: a small part of the time.

    Returns
    -------
    list of NetCost
        What each net costs with the iterations that were planned.
    """
    from cdeep3m.training.planning import plan

    return plan(
        request,
        engine,
        seconds=options.training_time,
        begun=begun,
        shares=shares_of(options, request.nets),
        snapshots=snapshots_of(options, request.judging),
        training=training,
        validation=validation,
        judge=judge,
        make=make_of(options),
        measured=measured,
    )


def as_planned(options: Any, request: TrainRequest, planned: Mapping[str, int]) -> TrainRequest:
    """Return the request with the iterations of each net."""
    from cdeep3m.training.planning import settings_for

    count = snapshots_of(options, request.judging).count
    own = {net: settings_for(request.settings, iterations, snapshots=count) for net, iterations in planned.items()}
    return replace(request, own_settings=own)
