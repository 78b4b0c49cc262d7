"""Boxes on workers that are Slurm jobs, as many as there is work for, through dask-jobqueue."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cdeep3m.errors import InputError, needing
from cdeep3m.runners.dask import MOST_DEATHS, run_on

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cdeep3m.runners.base import Work

logger = logging.getLogger(__name__)

EXPECTED = "jobs=4,cores=2,memory=8GiB,walltime=04:00:00,queue=main"
NUMBERS = ("jobs", "cores", "processes")
NEEDED = ("jobs", "cores", "memory")


class OnSlurm:
    """Does boxes in Slurm jobs that come and go with the work; those that Slurm ends are replaced.

    Parameters
    ----------
    options : mapping of str to str
        As of `slurm_options`.
    """

    one_machine = False

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = options

    def run(self, work: Work, boxes: Iterable[int]) -> Iterator[int]:
        """Call `work` with every box; jobs are cancelled in the end."""
        with needing("dask-jobqueue", extra="slurm", module="dask_jobqueue"):
            import dask
            from dask_jobqueue import SLURMCluster
        with needing("distributed", extra="slurm", module="distributed"):
            from distributed import Client

        options = {name: value for name, value in self._options.items() if name != "jobs"}
        numbers = {name: int(options.pop(name)) for name in NUMBERS if name in options}
        directives = [f"--{name[2:]}={options.pop(name)}" for name in list(options) if name.startswith("--")]
        with (
            dask.config.set({"distributed.scheduler.allowed-failures": MOST_DEATHS}),
            SLURMCluster(**options, **numbers, job_extra_directives=directives) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            logger.info("dashboard: %s", client.dashboard_link)
            cluster.adapt(minimum_jobs=1, maximum_jobs=int(self._options["jobs"]))
            yield from run_on(client, work, boxes)

    def __str__(self) -> str:
        return f"up to {self._options['jobs']} Slurm jobs"


def slurm_options(text: str) -> dict[str, str]:
    """Return the options of Slurm jobs that a text such as `EXPECTED` gives.

    `jobs` is how many there are at most. Names that begin with two dashes go to sbatch; others, to dask-jobqueue's
    SLURMCluster, and say what one job has.

    Raises
    ------
    InputError
        When the text is of another form, or lacks one of `NEEDED`.

    Examples
    --------
    >>> slurm_options("jobs=4,cores=1,memory=2GiB,--gres=gpu:1")
    {'jobs': '4', 'cores': '1', 'memory': '2GiB', '--gres': 'gpu:1'}
    """
    pairs = [part.partition("=") for part in text.split(",")]
    options = {name.strip(): value.strip() for name, _, value in pairs}
    bad = [name for name, equals, value in pairs if not name.strip() or not equals or not value.strip()]
    bad += [name for name in NUMBERS if name in options and not (options[name].isdecimal() and int(options[name]))]
    if bad or not set(NEEDED) <= set(options):
        lacking = ", ".join(name for name in NEEDED if name not in options)
        found = f"nothing for {lacking}" if lacking and not bad else f"{text!r}"
        raise InputError(
            f"--slurm: found {found}; expected {', '.join(NEEDED)} and what else jobs need, like {EXPECTED}"
        )
    return options
