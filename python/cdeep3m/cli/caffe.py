"""caffe, caffe.bin: `caffe train`, as Caffe's own tool takes it."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, exact_by_environment, run
from cdeep3m.cli.gflags import with_two_dashes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.proto.caffe_pb2 import SolverParameter

DESCRIPTION = """\
Train a net with the embedded engine, as Caffe does: `caffe train --solver=solver.prototxt --gpu=0`.

Paths in the solver and in its net are relative to the current folder. Log lines go to stderr. Ctrl-C writes a snapshot
and stops; --snapshot goes on from one.
"""

GO_ON = "Go on with --snapshot and the last .solverstate that was written."

OTHER_BREWS = {
    "test": "the nets of a training are tested while it runs (test_iter, test_interval)",
    "time": "it has no timer",
    "device_query": "`nvidia-smi` lists the GPUs",
}
"""What Caffe's tool can do beside `train`, and why this one cannot."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = _parser()
    options = parser.parse(with_two_dashes(sys.argv[1:] if argv is None else argv))
    if options.brew != "train":
        reason = OTHER_BREWS.get(options.brew, "it does not know that")
        parser.error(f"this caffe has `train` alone, found `{options.brew}`: {reason}")
    if options.solver is None:
        parser.error("train needs --solver=FILE")
    return run(lambda: _train(options), debug=options.debug, how_to_go_on=GO_ON)


def _parser() -> CommandParser:
    parser = CommandParser("caffe", description=DESCRIPTION)
    parser.add_argument("brew", metavar="train", help="what to do; this engine has `train` alone")
    parser.add_argument("--solver", type=Path, metavar="FILE", help="solver.prototxt")
    parser.add_argument(
        "--gpu", metavar="N", help="GPU to use; -1 is the CPU (default: the solver's solver_mode and device_id)"
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--snapshot", type=Path, metavar="FILE", help=".solverstate to go on from")
    start.add_argument("--weights", type=Path, metavar="FILE", help=".caffemodel to start from")
    for already_so in ("--logtostderr", "--alsologtostderr"):
        parser.add_argument(already_so, nargs="?", help=argparse.SUPPRESS)
    return parser


def _train(options: argparse.Namespace) -> None:
    from cdeep3m.engines.base import TrainJob
    from cdeep3m.engines.embedded.engine import EmbeddedEngine
    from cdeep3m.engines.embedded.training.loop import train
    from cdeep3m.proto.prototxt import read_solver

    job = TrainJob(
        solver=options.solver,
        folder=Path(),
        gpu=_gpu(options.gpu, read_solver(options.solver)),
        snapshot=options.snapshot,
        weights=options.weights,
        exact=exact_by_environment(),
    )
    train(job, device=EmbeddedEngine().place(job.gpu), stream=sys.stderr)


def _gpu(flag: str | None, solver: SolverParameter) -> int:
    """Return the GPU that trains, as caffe.cpp chooses it; of several the first, as this engine uses one.

    Examples
    --------
    >>> from cdeep3m.proto.caffe_pb2 import SolverParameter
    >>> _gpu("-1", SolverParameter()), _gpu("all", SolverParameter())
    (-1, 0)
    >>> _gpu(None, SolverParameter(solver_mode="CPU")), _gpu(None, SolverParameter(device_id=2))
    (-1, 2)
    """
    from cdeep3m.engines.base import CPU
    from cdeep3m.errors import InputError
    from cdeep3m.proto.caffe_pb2 import SolverParameter

    if not flag:
        return solver.device_id if solver.solver_mode == SolverParameter.GPU else CPU
    first, *others = ("0" if flag == "all" else flag).split(",")
    if others:
        logging.getLogger(__name__).warning("--gpu=%s: this engine trains on one GPU, number %s", flag, first)
    try:
        return int(first)
    except ValueError:
        raise InputError(f"--gpu={flag}: a GPU number was expected (-1 is the CPU)") from None


if __name__ == "__main__":
    sys.exit(main())
