"""The options of `cdeep3m train` beyond the original: recipes, time, held-out planes, and where patches come from."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cdeep3m.errors import InputError
from cdeep3m.training.by_options import GIVES_WAY, OWN, RECIPES, seconds_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


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
        except InputError as error:
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
