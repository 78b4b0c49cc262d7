"""The options of `cdeep3m train` beyond the original: recipes, time, held-out planes, and where patches come from."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from cdeep3m.engines.learning import Learning
    from cdeep3m.runs.recipe import Followed
    from cdeep3m.training.holding_out import Split
    from cdeep3m.training.judging import Judging
    from cdeep3m.training.planning import Snapshots
    from cdeep3m.volumes.enhancement import Enhancement

RECIPES = ("original", "quick", "best")
"""The first one is the default, and sets nothing."""

OWN = {
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
"""Options that the original's commands do not have, and the values at which a training is the original's."""

NOT_SET_BY_RECIPES = (
    *("images", "labels", "out", "validation", "add", "weights", "roi", "channel", "time", "level", "axes"),
    *("recipe", "training_time", "given", "retrain", "additerations", "show_augmentation", "no_report"),
    *("engine", "gpu", "image", "memory", "exact", "edition", "debug"),
)
"""Options that say what is trained on, where and from what, and not how."""

UNITS = {"s": 1, "m": 60, "h": 3600}
TIME = re.compile(r"(?:\d+(?:\.\d+)?[smh])+")
FALLS_BACK = ("holdout", "keep", "patience")
"""Options of a recipe that go where a volume has too few planes for them; never so where they were given."""
LENGTH = "numiterations"
GIVES_WAY = (*FALLS_BACK, LENGTH, "shares")


def add_recipe_options(parser: argparse.ArgumentParser) -> None:
    """Add what a recipe may set beside the original's options, and the recipe itself."""
    parser.add_argument(
        "--recipe",
        choices=RECIPES,
        default=RECIPES[0],
        help="a set of options: original, to the letter; quick, compact nets that a laptop trains in minutes; best, "
        "nets of full size for an hour of a GPU; options that are given count more (default: original)",
    )
    parser.add_argument(
        "--time",
        action=_TimeOrPoint,
        metavar="T",
        help="time for the whole training, as in 30m, 1500s or 1h30m: plans the iterations from a measurement on this "
        "machine (default: --numiterations); or, a plain number, which time, from 0, where a file holds several",
    )
    parser.set_defaults(training_time=None, time=None)
    parser.add_argument(
        "--shares", metavar="LIST", help="how --time is divided among the nets, as in 1,2,2 (default: alike)"
    )
    parser.add_argument(
        "--holdout",
        default=OWN["holdout"],
        metavar="F",
        help="part of the planes, as in 10%%, that is not trained on: snapshots are scored on it (default: 0, none)",
    )
    parser.add_argument(
        "--keep",
        choices=("last", "best"),
        default=OWN["keep"],
        help="the snapshot that predicts: the last one, or the one that does best on held-out planes (default: last)",
    )
    parser.add_argument(
        "--patience",
        type=int,
        default=OWN["patience"],
        metavar="N",
        help="end the training of a net after N scores that are no better than before (default: 0, never)",
    )
    parser.add_argument(
        "--snapshots",
        type=int,
        metavar="N",
        help="this many over the whole training, tested and scored (default: one each --snapshot_interval)",
    )
    parser.add_argument(
        "--calibrate",
        action=argparse.BooleanOptionalAction,
        default=OWN["calibrate"],
        help="find out what makes 0.5 the best threshold, on held-out planes or else on trained ones; predictions "
        "apply it (default: not)",
    )
    _add_data_options(parser)


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--normalise",
        choices=("none", "plane", "volume"),
        default=OWN["normalise"],
        help="give each plane, or the volume, the same mean and deviation of gray values; predictions do the same "
        "(default: none)",
    )
    parser.add_argument(
        "--orientations",
        type=int,
        choices=(1, 8, 16),
        default=OWN["orientations"],
        help="in which the volume is trained on: turns and flips of planes and of their order (default: 16)",
    )
    parser.add_argument(
        "--rare",
        type=float,
        default=OWN["rare"],
        metavar="F",
        help="part of the patches that is drawn around foreground, for rare classes, as in 0.5 (default: 0)",
    )
    parser.add_argument(
        "--workers", type=int, default=OWN["workers"], metavar="N", help="threads that cut out patches (default: 1)"
    )


class _TimeOrPoint(argparse.Action):
    """Tell how long to train, 30m, from which time of a file to train on, 3."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        del parser, option
        if str(values).isdigit():
            namespace.time = int(values)
            return
        try:
            namespace.training_time = seconds_of(values)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentError(self, str(error)) from None


def options_by_recipe(words: Sequence[str]) -> Mapping[str, Any]:
    """Return the options that the recipe sets that a command line names; none where it names none that is known."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--recipe", nargs="?")
    try:
        named = parser.parse_known_args(list(words))[0].recipe
    except argparse.ArgumentError:
        named = None
    if named not in RECIPES[1:]:
        return {}
    from cdeep3m.training.recipes import recipe_called

    return recipe_called(named).options


def given_in(words: Sequence[str]) -> frozenset[str]:
    """Return which of the options that give way to others were given on a command line."""
    return frozenset(name for name in GIVES_WAY for word in words if word.split("=")[0] == f"--{name}")


def seconds_of(text: str) -> float:
    """Return a time in seconds.

    Examples
    --------
    >>> seconds_of("30m"), seconds_of("1500s"), seconds_of("1h30m"), seconds_of("0.5h")
    (1800.0, 1500.0, 5400.0, 1800.0)
    """
    if not TIME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a time as in 30m, 1500s or 1h30m")
    seconds = sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+)([smh])", text))
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a time above 0")
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
    from cdeep3m.errors import InputError

    number = text.removesuffix("%")
    try:
        share = float(number) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise InputError(f"--holdout {text}: expected a part of the planes, as in 10% or 0.1, or 0 for none")
    return share


def split_of(options: argparse.Namespace, nets: tuple[str, ...]) -> Split | None:
    """Return how planes are held out."""
    from cdeep3m.training.holding_out import Split, gap_of

    share = share_of(options.holdout)
    return Split(share=share, gap=gap_of(nets)) if share else None


def judging_of(options: argparse.Namespace) -> Judging:
    """Return what is asked of snapshots; what a recipe asks for goes where nothing is held out."""
    from cdeep3m.training.judging import Judging

    _judge_two_classes_alone(options)
    held_out = share_of(options.holdout) > 0
    if not held_out and options.recipe != RECIPES[0]:
        for name in FALLS_BACK[1:]:
            if name not in options.given:
                setattr(options, name, OWN[name])
    return Judging(held_out=held_out, keep=options.keep, patience=options.patience, calibrate=options.calibrate)


def _judge_two_classes_alone(options: argparse.Namespace) -> None:
    """Leave scores and calibrations that a recipe asks for out where there are several classes."""
    from cdeep3m.errors import InputError

    if (options.classes or 2) == 2:
        return
    if "holdout" in options.given and share_of(options.holdout):
        raise InputError("--holdout with --classes: snapshots of two classes alone are scored; leave --holdout out")
    options.holdout, options.calibrate = OWN["holdout"], OWN["calibrate"]


def shares_of(options: argparse.Namespace, nets: tuple[str, ...]) -> dict[str, float]:
    """Return the part of the time for each net, of any sum; alike where a recipe's are those of other nets.

    Raises
    ------
    InputError
        There are more or fewer than nets, or one is no number above 0.
    """
    from cdeep3m.errors import InputError

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


def snapshots_of(options: argparse.Namespace, judging: Judging) -> Snapshots:
    """Return what happens beside the iterations of a net in a training whose time is planned."""
    from cdeep3m.errors import InputError
    from cdeep3m.training.planning import Snapshots

    if options.snapshots is not None and options.snapshots < 1:
        raise InputError(f"--snapshots {options.snapshots}: expected a number of at least 1")
    return Snapshots(count=options.snapshots or 1, scored=judging.held_out, calibrated=judging.calibrate)


def learning_with_sampling(options: argparse.Namespace, learning: Learning) -> Learning:
    """Return how a training learns, and where its patches are drawn."""
    from dataclasses import replace

    from cdeep3m.engines.learning import Sampling

    return replace(learning, sampling=Sampling(rare=options.rare, workers=options.workers))


def normalisation_of(options: argparse.Namespace) -> Enhancement | None:
    """Return what `--normalise` asks for."""
    from cdeep3m.errors import InputError
    from cdeep3m.volumes.enhancement import Normalisation

    if options.normalise == "none":
        return None
    if options.denoise:
        raise InputError("--normalise and --denoise both change gray values: leave one of them out")
    return Normalisation(whole_volume=options.normalise == "volume")


def followed_by(options: argparse.Namespace) -> Followed | None:
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
