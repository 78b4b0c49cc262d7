"""The options that choose where the boxes of a run are done."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cdeep3m.runners.base import Runner


def add_runner_options(parser: argparse.ArgumentParser) -> None:
    """Add --workers, --dask and --slurm, of which one may be given."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="work in N processes of this machine, which divide its cores among them (default: 1)",
    )
    where.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="work on a Dask cluster: its scheduler's address, such as tcp://host:8786, or scheduler file",
    )
    where.add_argument(
        "--slurm",
        metavar="OPTIONS",
        help="work in Slurm jobs, started as there is work: such as jobs=4,cores=2,memory=8GiB,walltime=04:00:00",
    )


def add_share_option(parser: argparse.ArgumentParser) -> None:
    """Add --share."""
    parser.add_argument(
        "--share",
        type=share,
        metavar="K/N",
        help="do no more than the K-th of N shares, as one of an array of jobs does; the one that comes last finishes",
    )


def share(text: str) -> tuple[int, int]:
    """Return the numbers of an argument such as "3/10".

    Raises
    ------
    argparse.ArgumentTypeError
        When there is no such share.

    Examples
    --------
    >>> share("3/10")
    (3, 10)
    """
    first, _, second = text.partition("/")
    if not (first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
        raise argparse.ArgumentTypeError(f"found {text}; expected K/N, a share and how many there are, like 3/10")
    return int(first), int(second)


def chosen_runner(options: argparse.Namespace) -> Runner | None:
    """Return the runner that the options choose, or None where they choose none."""
    chosen = options.workers is not None or options.dask or options.slurm is not None
    return runner_of(options) if chosen else None


def runner_of(options: argparse.Namespace) -> Runner:
    """Return the runner that the options choose.

    Raises
    ------
    InputError
        When an option is of another form than it should be.
    """
    from cdeep3m.errors import InputError
    from cdeep3m.runners.base import InThisProcess

    if options.dask:
        from cdeep3m.runners.dask import OnDask

        return OnDask(options.dask)
    if options.slurm is not None:
        from cdeep3m.runners.slurm import OnSlurm, slurm_options

        return OnSlurm(slurm_options(options.slurm))
    if options.workers is None or options.workers == 1:
        return InThisProcess()
    if options.workers < 1:
        raise InputError(f"--workers {options.workers}: expected 1 or more")
    from cdeep3m.runners.processes import Processes, shares_of_cores

    return Processes(shares_of_cores(options.workers, cores()))


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
