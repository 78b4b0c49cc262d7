"""What a run will cost, from slow engines whose costs are known."""

from __future__ import annotations

import time

import numpy as np
import pytest

from cdeep3m.cli import estimate as command
from cdeep3m.engines.base import LabelledVolume, Progress, TrainedModel
from cdeep3m.engines.identity import IdentityEngine
from cdeep3m.prediction.estimate import estimate_prediction
from cdeep3m.prediction.run import PredictRequest
from cdeep3m.proto import prototxt
from cdeep3m.tiling.grid import Tiling
from cdeep3m.training.estimate import estimate_training
from cdeep3m.training.run import SolverSettings, TrainRequest
from cdeep3m.volumes import open_volume
from example_runs import write_planes
from fake_training_engine import FakeTrainingEngine

PASS = 0.02
ITERATION, TEST = 0.01, 0.15


class SlowEngine(IdentityEngine):
    """Takes `PASS` seconds for a pass."""

    def load(self, model, **how):
        net = super().load(model, **how)
        foreground = net.foreground

        def slowly(windows):
            for values in foreground(windows):
                time.sleep(PASS)
                yield values

        net.foreground = slowly
        return net


class SlowTraining(FakeTrainingEngine):
    """Takes `ITERATION` seconds for an iteration, and `TEST` for a test before one."""

    def train(self, job, *, report=None):
        interval = prototxt.read_solver(job.solver).test_interval

        def slowly(progress):
            time.sleep(ITERATION + (TEST if (progress.done - 1) % interval == 0 and progress.done > 1 else 0))
            report(Progress(progress.done, progress.total))

        super().train(job, report=slowly)


@pytest.fixture
def images(tmp_path):
    return write_planes(tmp_path / "images", np.random.default_rng(0).integers(0, 256, (3, 40, 50), dtype=np.uint8))


@pytest.mark.parametrize(("net", "variants"), [("1fm", 8), ("3fm", 16)])
def test_passes_of_the_whole_volume_are_counted_and_timed(tmp_path, images, net, variants):
    volume = open_volume(images)
    request = PredictRequest(trained=tmp_path, images=images, out=tmp_path / "out", nets=(net,), fit=True)
    model = {net: TrainedModel(net=net, deploy=tmp_path, weights=tmp_path)}
    tiling = Tiling.of(volume.shape, fit=True)
    cost = estimate_prediction(request, SlowEngine(), model, volume, tiling, gpu=-1, seconds=0.3)
    (one,) = cost.nets
    assert one.passes == 3 * variants
    assert PASS <= one.one_pass < 10 * PASS
    assert cost.seconds >= one.passes * PASS
    assert cost.voxels == 3 * 40 * 50
    assert 0.3 * cost.voxels < cost.disk < 1.3 * cost.voxels
    assert not (tmp_path / "out").exists()


def test_iterations_and_tests_are_timed_apart(tmp_path):
    volume = LabelledVolume(*np.zeros((2, 30, 30, 5), np.uint8))
    settings = SolverSettings(numiterations=1000, test_interval=100)
    request = TrainRequest(out=tmp_path / "out", nets=("1fm",), settings=settings)
    (cost,) = estimate_training(request, SlowTraining(), training=[volume], validation=[volume], seconds=0.2)
    assert (cost.iterations, cost.tests) == (1000, 10)
    assert ITERATION <= cost.iteration < TEST
    assert TEST / 3 <= cost.test < 10 * TEST
    assert cost.seconds == pytest.approx(1000 * cost.iteration + 10 * cost.test, rel=0.1)
    assert cost.disk > 0
    assert not (tmp_path / "out").exists()


def test_cost_is_that_of_the_hours(capsys):
    class Options:
        price, json = 3.0, False

    command._say(Options, [{"net": "1fm", "seconds": 7200.0}], seconds=7200.0, disk=10**9, voxels=4 * 10**6)
    out = capsys.readouterr().out
    assert "in all      2 h 0 min" in out
    assert "cost             6.00   1.5 a million voxels" in out


@pytest.mark.parametrize("arguments", [[], ["walk"]])
def test_what_is_to_be_estimated_must_be_said(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 1
    assert "try cdeep3m estimate --help" in capsys.readouterr().err
