"""caffe, caffe.bin: `caffe train`, `test`, `time` and `device_query`, as Caffe's own tool takes them."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, exact_by_environment, run
from cdeep3m.cli.gflags import with_two_dashes
from cdeep3m.rules import rules_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cdeep3m.proto.caffe_pb2 import SolverParameter

DESCRIPTION = """\
Run Caffe's work with the embedded engine: `caffe train --solver=solver.prototxt --gpu=0`.

  train         train the net of --solver, from --snapshot or --weights on
  test          score the net of --model with --weights on the data that it names
  time          say how long the net of --model takes, as a whole: layers are not timed one by one
  device_query  describe the CUDA devices

Paths in a solver and in nets are relative to the current folder. Log lines go to stderr. Ctrl-C writes a snapshot and
stops; --snapshot goes on from one.
"""

GO_ON = "Go on with --snapshot and the last .solverstate that was written."

NEEDS = {"train": ("solver",), "test": ("model", "weights"), "time": ("model",), "device_query": ()}
"""What the tool does, and the flags that each of it needs."""

EFFECTS = ("stop", "snapshot", "none")
"""What a signal may do to a training."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = _parser()
    options = parser.parse(with_two_dashes(sys.argv[1:] if argv is None else argv))
    if options.brew not in NEEDS:
        parser.error(f"expected {', '.join(NEEDS)}, found `{options.brew}`")
    for flag in NEEDS[options.brew]:
        if getattr(options, flag) is None:
            parser.error(f"{options.brew} needs --{flag}=FILE")
    brew = {"train": _train, "test": _test, "time": _time, "device_query": _query}[options.brew]
    return run(lambda: brew(options), debug=options.debug, how_to_go_on=GO_ON)


def _parser() -> CommandParser:
    parser = CommandParser("caffe", description=DESCRIPTION)
    parser.add_argument("brew", metavar="train|test|time|device_query", help="what to do")
    parser.add_argument("--solver", type=Path, metavar="FILE", help="train: solver.prototxt")
    parser.add_argument("--model", type=Path, metavar="FILE", help="test, time: the net, such as train_val.prototxt")
    parser.add_argument(
        "--gpu",
        metavar="N",
        help="GPU to use; -1 is the CPU (default: for train the solver's solver_mode and device_id, else the CPU)",
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--snapshot", type=Path, metavar="FILE", help="train: .solverstate to go on from")
    start.add_argument("--weights", type=Path, metavar="FILE", help=".caffemodel to start from, or to test")
    parser.add_argument("--iterations", type=int, default=50, metavar="N", help="test, time: passes (default: 50)")
    for name, event, default in (("sigint", "Ctrl-C", "stop"), ("sighup", "SIGHUP", "snapshot")):
        parser.add_argument(
            f"--{name}_effect",
            choices=EFFECTS,
            default=default,
            metavar="EFFECT",
            help=f"train: what {event} does: stop (after a snapshot), snapshot or none (default: {default})",
        )
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
        rules=rules_of(exact=exact_by_environment()),
    )
    effects = {signal.SIGINT: options.sigint_effect, signal.SIGHUP: options.sighup_effect}
    with effects_of_signals(effects) as asked:
        train(job, device=EmbeddedEngine().place(job.gpu), stream=sys.stderr, asked=asked)


@contextmanager
def effects_of_signals(effects: dict[signal.Signals, str]) -> Iterator[Callable[[], bool]]:
    """Give signals their effects within the block; those that stop keep what handles them.

    Parameters
    ----------
    effects : dict of Signals to str
        One of `EFFECTS` each.

    Yields
    ------
    callable
        Returns whether one of them has asked for a snapshot since the last call.
    """
    asked: list[int] = []

    def take() -> bool:
        found = bool(asked)
        asked.clear()
        return found

    handlers = {
        number: (lambda *arguments: asked.append(arguments[0])) if effect == "snapshot" else (lambda *_: None)
        for number, effect in effects.items()
        if effect != "stop"
    }
    with ExitStack() as previous:
        for number, handler in handlers.items():
            previous.callback(signal.signal, number, signal.signal(number, handler))
        yield take


def _test(options: argparse.Namespace) -> None:
    from cdeep3m.engines.embedded.engine import EmbeddedEngine
    from cdeep3m.engines.embedded.training.brews import score_net
    from cdeep3m.engines.embedded.training.glog import GLog

    device = EmbeddedEngine().place(_gpu(options.gpu))
    with GLog(stream=sys.stderr) as log:
        score_net(options.model, options.weights, iterations=options.iterations, device=device, log=log)


def _time(options: argparse.Namespace) -> None:
    from cdeep3m.engines.embedded.engine import EmbeddedEngine
    from cdeep3m.engines.embedded.training.brews import time_net
    from cdeep3m.engines.embedded.training.glog import GLog

    device = EmbeddedEngine().place(_gpu(options.gpu))
    with GLog(stream=sys.stderr) as log:
        time_net(options.model, iterations=options.iterations, device=device, log=log)


def _query(options: argparse.Namespace) -> None:
    from cdeep3m.engines.embedded.training.brews import describe_devices
    from cdeep3m.engines.embedded.training.glog import GLog

    gpus = None if options.gpu in (None, "", "all") else _numbers(options.gpu)
    with GLog(stream=sys.stderr) as log:
        describe_devices(gpus, log=log)


def _gpu(flag: str | None, solver: SolverParameter | None = None) -> int:
    """Return the GPU that works, as caffe.cpp chooses it; of several the first, as this engine uses one.

    Examples
    --------
    >>> from cdeep3m.proto.caffe_pb2 import SolverParameter
    >>> _gpu("-1", SolverParameter()), _gpu("all", SolverParameter()), _gpu(None)
    (-1, 0, -1)
    >>> _gpu(None, SolverParameter(solver_mode="CPU")), _gpu(None, SolverParameter(device_id=2))
    (-1, 2)
    """
    from cdeep3m.engines.base import CPU
    from cdeep3m.proto.caffe_pb2 import SolverParameter

    if not flag:
        return solver.device_id if solver is not None and solver.solver_mode == SolverParameter.GPU else CPU
    first, *others = [0] if flag == "all" else _numbers(flag)
    if others:
        logging.getLogger(__name__).warning("--gpu=%s: this engine works on one GPU, number %d", flag, first)
    return first


def _numbers(flag: str) -> list[int]:
    from cdeep3m.errors import InputError

    try:
        return [int(number) for number in flag.split(",")]
    except ValueError:
        raise InputError(f"--gpu={flag}: expected a GPU number (-1 is the CPU)") from None


if __name__ == "__main__":
    sys.exit(main())
