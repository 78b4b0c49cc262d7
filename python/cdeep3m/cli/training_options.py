"""The options that runtraining.sh, trainworker.sh and caffetrain.sh share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdeep3m.training.by_options import ADAMW, SETTINGS, SOLVERS

if TYPE_CHECKING:
    import argparse

_SETTINGS = (
    ("numiterations", "iterations to train to"),
    ("base_learn", "learning rate at the start"),
    ("power", "exponent with which the poly policy lowers the learning rate"),
    ("momentum", "part of the last update that the next one keeps"),
    ("weight_decay", "pull of the weights towards 0"),
    ("average_loss", "iterations over which the reported loss is averaged"),
    (
        "lr_policy",
        "how the learning rate falls: fixed, step, exp, inv, multistep, poly, sigmoid; beyond Caffe, cosine, linear",
    ),
    ("iter_size", "batches in one iteration"),
    ("snapshot_interval", "iterations between snapshots"),
)


def add_solver_options(parser: argparse.ArgumentParser) -> None:
    """Add what changes a solver.prototxt, and what goes beyond it."""
    for name, meaning in _SETTINGS:
        default = SETTINGS[name]
        others = [f"{its[name]:g} with {solver}" for solver, its in SOLVERS.items() if name in its]
        shown = "; ".join([str(default), *([", ".join(others)] if others else [])])
        parser.add_argument(f"--{name}", type=type(default), metavar="N", help=f"{meaning} (default: {shown})")
    parser.add_argument(
        "--test_interval", type=int, metavar="N", help="iterations between tests (default: the net's own, 20 or 10)"
    )
    add_precision_option(parser)
    parser.add_argument("--seed", type=int, metavar="N", help="make the training repeatable (default: it is not)")
    _add_kind_options(parser)
    _add_learning_options(parser)


def _add_kind_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--solver",
        choices=tuple(SOLVERS),
        metavar="NAME",
        help=f"one of Caffe's: {', '.join(name for name in SOLVERS if name != ADAMW)}; or {ADAMW}, Adam with weight "
        "decay apart from the gradients (default: the solver's own, SGD)",
    )
    for name, meaning, default in (
        ("momentum2", "Adam: part of the mean of squared gradients that is kept", "0.999"),
        ("rms_decay", "RMSProp: part of the mean of squared gradients that is kept", "0.99"),
        ("delta", "what is added to a root before it divides", "1e-8; 1e-6 with AdaDelta"),
        ("clip_gradients", "longest that all gradients together may be; longer ones are scaled down", "no limit"),
    ):
        parser.add_argument(f"--{name}", type=float, metavar="N", help=f"{meaning} (default: {default})")


def _add_learning_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--warm_up",
        type=float,
        default=0,
        metavar="N",
        help="iterations in which the learning rate rises; below 1, that part of all (default: 0)",
    )
    parser.add_argument(
        "--average",
        type=float,
        default=0.0,
        metavar="F",
        help="predict with a running average of the weights that keeps this part of itself at every iteration, as in "
        "0.99 (default: 0, no average)",
    )
    parser.add_argument(
        "--loss",
        metavar="LIST",
        help="what is minimised: ce (cross-entropy), dice, focal (cross-entropy with an exponent), smoothing (of its "
        "labels), each with a number where the usual one is not wanted, as in ce,dice=0.5 (default: as Caffe does)",
    )
    parser.add_argument(
        "--class-weights",
        metavar="LIST",
        help="weights of the classes in the cross-entropy: batch (the rarest in each batch counts most), frequency (of "
        "all labels), equal, or numbers as in 1,5 (default: batch, as Caffe does)",
    )
    parser.add_argument(
        "--ignore", type=int, metavar="N", help="label of voxels that nobody has labelled, which do not count"
    )


def add_precision_option(parser: argparse.ArgumentParser) -> None:
    """Add --precision."""
    parser.add_argument(
        "--precision",
        choices=("float32", "fast"),
        default="float32",
        help="float32: as exactly as Caffe; fast: convolutions with bfloat16, several times as fast on a GPU, weights "
        "stay float32 (default: float32)",
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add what chooses the nets of a run, and a run to go on from."""
    parser.add_argument("--1fmonly", dest="only_1fm", action="store_true", help="train 1fm alone")
    parser.add_argument(
        "--models", metavar="LIST", help="nets to train (default: 1fm,3fm,5fm; on a single plane 1fm alone)"
    )
    parser.add_argument("--retrain", metavar="DIR", help="go on from the models of the training in DIR")
    parser.add_argument(
        "--additerations", type=int, default=2000, metavar="N", help="iterations that --retrain adds (default: 2000)"
    )


def add_augmentation_options(parser: argparse.ArgumentParser) -> None:
    """Add what changes training patches at random."""
    parser.add_argument(
        "--augment",
        default="0",
        metavar="N|INI",
        help="secondary augmentation: contrast, sharpness, blur, noise, skew and others, drawn anew for each patch; "
        "strength 0 (none) to 10, or an .ini file as augconfig.py writes it (default: 0)",
    )
    parser.add_argument(
        "--resize",
        type=int,
        default=0,
        metavar="N",
        help="tertiary augmentation: patches smaller and larger than life; strength 0 (none) to 10 (default: 0)",
    )
    parser.add_argument(
        "--jitter",
        type=float,
        default=0.0,
        metavar="F",
        help="change contrast and brightness of each patch by up to this part, as in 0.2 (default: 0)",
    )
    parser.add_argument(
        "--noise",
        type=float,
        default=0.0,
        metavar="F",
        help="add noise to each patch, of a standard deviation that is drawn from 0 to this part of the way from black "
        "to white, as in 0.1 (default: 0)",
    )
