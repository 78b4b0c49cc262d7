"""caffe, caffe.bin: `caffe train`, as Caffe's own tool takes it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run
from cdeep3m.cli.gflags import with_two_dashes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

DESCRIPTION = """\
Train a net with the embedded engine, as Caffe does: `caffe train --solver=solver.prototxt --gpu=0`.

Paths in the solver and in its net are relative to the current folder. Log lines go to stderr.
"""

BREWS = ("train",)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse(with_two_dashes(sys.argv[1:] if argv is None else argv))
    return run(lambda: _train(options), debug=options.debug)


def _parser() -> CommandParser:
    parser = CommandParser("caffe", description=DESCRIPTION)
    parser.add_argument("brew", choices=BREWS, metavar="train", help="what to do; this engine has `train` alone")
    parser.add_argument("--solver", type=Path, required=True, metavar="FILE", help="solver.prototxt")
    parser.add_argument("--gpu", default="-1", metavar="N", help="GPU to use; -1 is the CPU (default)")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--snapshot", type=Path, metavar="FILE", help=".solverstate to go on from")
    start.add_argument("--weights", type=Path, metavar="FILE", help=".caffemodel to start from")
    return parser


def _train(options: argparse.Namespace) -> None:
    from cdeep3m.engines.base import TrainJob
    from cdeep3m.engines.embedded.engine import EmbeddedEngine
    from cdeep3m.engines.embedded.training import train

    job = TrainJob(
        solver=options.solver,
        folder=Path(),
        gpu=_first_gpu(options.gpu),
        snapshot=options.snapshot,
        weights=options.weights,
    )
    train(job, device=EmbeddedEngine().place(job.gpu), stream=sys.stderr)


def _first_gpu(gpus: str) -> int:
    """Return the GPU that trains: the first of a list; the embedded engine uses one.

    Examples
    --------
    >>> _first_gpu("-1"), _first_gpu("1,0"), _first_gpu("all")
    (-1, 1, 0)
    """
    from cdeep3m.errors import InputError

    first = "0" if gpus == "all" else gpus.split(",")[0]
    try:
        return int(first)
    except ValueError:
        raise InputError(f"--gpu={gpus}: a GPU number was expected (-1 is the CPU)") from None


if __name__ == "__main__":
    sys.exit(main())
