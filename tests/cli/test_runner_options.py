"""Which options choose which runner."""

from __future__ import annotations

import argparse

import pytest

from box_engines import FilesOnly
from cdeep3m.cli.runner_options import add_runner_options
from cdeep3m.cli.runprediction import runner_for
from cdeep3m.engines.identity import IdentityEngine
from cdeep3m.runners.base import InThisProcess
from cdeep3m.runners.dask import OnDask
from cdeep3m.runners.processes import Processes, one_for_each_gpu
from cdeep3m.runners.slurm import OnSlurm


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_runner_options(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "gpus", "kind", "gpu"),
    [
        ((), [-1], type(None), -1),
        ((), [3], type(None), 3),
        (("--workers", "1"), [-1], InThisProcess, -1),
        (("--workers", "2"), [-1], Processes, -1),
        (("--dask", "tcp://a:1"), [0, 1], OnDask, 0),
        (("--slurm", "jobs=2,cores=1,memory=1GiB"), [-1], OnSlurm, -1),
        ((), [0, 1], Processes, 0),
        (("--workers", "4"), [0, 1], Processes, 0),
    ],
)
def test_options_and_gpus_choose_where_planes_are_predicted(words, gpus, kind, gpu):
    runner, on = runner_for(options(*words), IdentityEngine(), gpus)
    assert (type(runner), on) == (kind, gpu)


def test_every_gpu_has_a_process_which_sees_no_other(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert one_for_each_gpu([0, 2]) == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "2"}]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, 7,GPU-abc")
    assert [one["CUDA_VISIBLE_DEVICES"] for one in one_for_each_gpu([1, 2, 1])] == ["7", "GPU-abc", "7"]


def test_engines_over_files_deal_with_several_gpus_themselves():
    assert runner_for(options(), FilesOnly(), [0, 1]) == (None, 0)
