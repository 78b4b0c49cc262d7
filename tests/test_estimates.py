"""What a run will cost, from slow engines whose costs are known."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from cdeep3m.augmentation.settings import augmentation_of
from cdeep3m.cli import estimate as command
from cdeep3m.engines.base import LabelledVolume, Progress, TrainedModel
from cdeep3m.engines.identity import IdentityEngine
from cdeep3m.engines.measured import MEASURED
from cdeep3m.nets.prototxts import deploy
from cdeep3m.prediction.estimate import estimate_prediction
from cdeep3m.prediction.run import PredictRequest
from cdeep3m.proto import prototxt
from cdeep3m.tiling.grid import Tiling
from cdeep3m.training.estimate import CALIBRATION, estimate_training
from cdeep3m.training.run import SolverSettings, TrainRequest
from cdeep3m.volumes import open_volume, read_all
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


def test_a_training_is_estimated_with_the_options_of_a_training(tmp_path, images, monkeypatch, capsys):
    monkeypatch.setattr(command, "_engine", lambda options: (IdentityEngine(), options.gpu))
    labels = write_planes(tmp_path / "labels", (np.indices((3, 40, 50)).sum(0) // 9 % 2 * 255).astype(np.uint8))
    how = ["--models", "1fm", "--width", "32", "--patch_side", "32", "--iter_size", "1", "--numiterations", "500"]
    how += ["--augment", "5", "--resize", "2", "--gpu", "-1", "--seconds", "0.1", "--json"]
    assert command.main(["train", *how, str(images), str(labels)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seconds"] > 0
    assert told["elsewhere"] == []
    assert [(net["net"], net["iterations"]) for net in told["nets"]] == [("1fm", 500)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "labels"]


@pytest.fixture
def labelled(tmp_path):
    """Nine planes whose foreground is the brighter part, and their labels."""
    z, y, x = np.indices((9, 40, 48))
    data = ((z * 13 + y * 5 + x * 3) % 200).astype(np.uint8)
    return [
        str(write_planes(tmp_path / "images", data)),
        str(write_planes(tmp_path / "labels", (data > 120) * np.uint8(255))),
    ]


class Observed(IdentityEngine):
    """Keeps the jobs that it is given."""

    def __init__(self):
        super().__init__()
        self.jobs = []

    def train(self, job, *, report=None):
        solver = prototxt.read_solver(job.solver)
        self.jobs.append((job, solver.type, prototxt.read_net(job.folder / "deploy.prototxt")))
        super().train(job, report=report)


SMALL = ("--width", "32", "--least_channels", "2", "--patch_side", "32", "--gpu", "-1", "--seconds", "0.1", "--json")


def test_a_training_is_estimated_by_its_recipe(labelled, monkeypatch, capsys):
    engine = Observed()
    monkeypatch.setattr(command, "_engine", lambda options: (engine, options.gpu))
    how = ["--recipe", "best", *SMALL, "--numiterations", "95", "--holdout", "20%", "--shares", "1,2,2"]
    assert command.main(["train", *how, *labelled]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(net["net"], net["iterations"], net["scores"]) for net in told["nets"]] == [
        (net, 95, 10 + CALIBRATION) for net in ("1fm", "3fm", "5fm")
    ]
    assert {solver for _, solver, _ in engine.jobs} == {"Adam"}
    assert all(job.learning.decay == 1e-2 and job.augmentation.jitter == 0.2 for job, _, _ in engine.jobs)
    assert {volume.data.shape[-1] for job, _, _ in engine.jobs for volume in job.training} == {5}, "2 held out, gap 2"
    assert {volume.data.shape[-1] for job, _, _ in engine.jobs for volume in job.validation} == {2}


def test_an_estimate_of_quick_is_of_its_own_nets(labelled, monkeypatch, capsys):
    engine = Observed()
    monkeypatch.setattr(command, "_engine", lambda options: (engine, options.gpu))
    assert command.main(["train", "--recipe", "quick", "--gpu", "-1", "--seconds", "0.1", "--json", *labelled]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(net["net"], net["iterations"]) for net in told["nets"]] == [("1fm", 900)]
    assert told["elsewhere"] == []
    expected = deploy("1fm", width=8, least=16)
    assert all(net == expected for _, _, net in engine.jobs)


def test_an_estimate_for_a_time_tells_the_iterations_that_fit(labelled, monkeypatch, capsys):
    monkeypatch.setattr(command, "_engine", lambda options: (IdentityEngine(), options.gpu))
    how = ["--recipe", "quick", *SMALL, "--time", "60s"]
    assert command.main(["train", *how, *labelled]) == 0
    told = json.loads(capsys.readouterr().out)
    (net,) = told["nets"]
    assert 0.5 * 60 < told["seconds"] < 60
    assert net["seconds"] == pytest.approx(net["iterations"] * net["seconds_an_iteration"], rel=0.1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--recipe", "quick", "--exact"), "the original follows no recipe"),
        (("--time", "5m", "--numiterations", "3"), "both say how long to train"),
    ],
)
def test_what_no_training_takes_is_not_estimated(words, message, labelled, capsys):
    assert command.main(["train", *words, *labelled]) == 1
    assert message in capsys.readouterr().err


def test_engines_over_files_are_not_estimated_with_what_they_cannot_do(labelled, monkeypatch, capsys):
    monkeypatch.setattr(command, "_engine", lambda options: (FakeTrainingEngine(), options.gpu))
    assert command.main(["train", "--recipe", "quick", *labelled]) == 1
    assert "the engine fake" in capsys.readouterr().err


def test_what_is_estimated_is_trained_as_it_will_be(tmp_path):
    engine, augmentation = FakeTrainingEngine(), augmentation_of("5", 3)
    volume = LabelledVolume(*np.zeros((2, 30, 30, 5), np.uint8))
    request = TrainRequest(out=tmp_path / "out", nets=("1fm",), augmentation=augmentation)
    estimate_training(request, engine, training=[volume], validation=[volume], seconds=0.1)
    assert engine.jobs
    assert all(job.augmentation == augmentation for job in engine.jobs)


def test_a_prediction_is_estimated_with_the_options_of_a_prediction(tmp_path, images, monkeypatch, capsys):
    monkeypatch.setattr(command, "_engine", lambda options: (SlowEngine(), options.gpu))
    (tmp_path / "model" / "3fm" / "trainedmodel").mkdir(parents=True)
    (tmp_path / "model" / "3fm" / "trainedmodel" / "3fm_classifer_iter_1.caffemodel").write_bytes(b"weights")
    prototxt.write(tmp_path / "model" / "3fm" / "deploy.prototxt", deploy("3fm", width=32))
    how = ["--augspeed", "10", "--fit", "--gpu", "-1", "--seconds", "0.1", "--price", "2"]
    assert command.main(["predict", *how, str(tmp_path / "model"), str(images)]) == 0
    said = capsys.readouterr().out
    assert "3fm" in said
    assert "3 passes" in said
    assert "cost" in said
    assert "there" not in said


def test_a_part_of_a_dataset_inside_a_file_is_estimated(tmp_path, labelled, monkeypatch, capsys):
    monkeypatch.setattr(command, "_engine", lambda options: (SlowEngine(), options.gpu))
    model = tmp_path / "model" / "1fm"
    (model / "trainedmodel").mkdir(parents=True)
    (model / "trainedmodel" / "1fm_classifer_iter_1.caffemodel").write_bytes(b"weights")
    prototxt.write(model / "deploy.prototxt", deploy("1fm", width=32))
    with h5py.File(tmp_path / "cells.h5", "w") as file:
        file["raw"], file["truth"] = (read_all(open_volume(path)) for path in labelled)
        file["mask"] = np.zeros((1, 2), np.uint8)
    how = ["--roi", "0:4,0:40,0:48", "--axes", "zyx", "--gpu", "-1", "--seconds", "0.1", "--json"]
    raw, truth = (f"{tmp_path / 'cells.h5'}::{name}" for name in ("raw", "truth"))
    assert command.main(["predict", "--augspeed", "10", *how, str(tmp_path / "model"), raw]) == 0
    assert json.loads(capsys.readouterr().out)["nets"][0]["passes"] == 4
    engine = Observed()
    monkeypatch.setattr(command, "_engine", lambda options: (engine, options.gpu))
    assert command.main(["train", "--models", "1fm", *SMALL, *how[:4], raw, truth]) == 0
    assert engine.jobs[0][0].training[0].data.shape[-1] == 4


RESULTS = (Path(__file__).parents[1] / "docs" / "results.md").read_text()


def figures(pattern: str) -> list[float]:
    """Return the numbers of docs/results.md that a pattern finds."""
    found = re.findall(pattern, RESULTS, re.MULTILINE)
    assert found, pattern
    return [float(number) for number in found]


def test_other_devices_took_what_results_say():
    """To 10 %, in one of the tables of the page, which has several of some devices."""
    cpu, float32, fast, newer_float32, newer_fast = MEASURED
    for found, told in (
        (figures(r"three nets, 40 variants, by `runprediction.sh`: float32 \| ([\d.]+) s"), float32.predicting(4000)),
        (figures(r"variants, by `runprediction.sh`: float32 \| ([\d.]+) s"), newer_float32.predicting(4000)),
        (figures(r"40 variants.*\n.*\n\| the same, fast \| ([\d.]+) s"), fast.predicting(4000)),
        (figures(r"40 variants.*\n.*\n\| the same, fast \| ([\d.]+) s"), newer_fast.predicting(4000)),
        (figures(r"^\| 1fm, a window, float32 \| ([\d.]+) ms"), 1000 * float32.window),
        (figures(r"a window, fast \| ([\d.]+)"), 1000 * fast.window),
        (figures(r"batches of 5 patches a second, float32 \| ([\d.]+)"), 1 / float32.batch),
        (figures(r"batches of 5 patches a second, float32.*\n\| the same, fast \| ([\d.]+)"), 1 / fast.batch),
        (figures(r"batches of 5 patches a second, float32 \| ([\d.]+)"), 1 / newer_float32.batch),
        (figures(r"batches of 5 patches a second, float32.*\n\| the same, fast \| ([\d.]+)"), 1 / newer_fast.batch),
        (figures(r"^\| prediction, a plane of 1024 x 1024, 1fm \| ([\d.]+) s"), cpu.window),
        (figures(r"^\| training, a batch of .*, 1fm \| ([\d.]+) s"), cpu.batch),
        (figures(r"^\| `runprediction.sh` with one plane.*? \| ([\d.]+) s"), cpu.predicting(1)),
    ):
        assert any(told == pytest.approx(one, rel=0.1) for one in found), (told, found)


@pytest.mark.parametrize(("width", "told"), [(1, True), (8, False)])
def test_other_devices_are_told_for_full_size_nets(tmp_path, width, told):
    prototxt.write(tmp_path / "deploy.prototxt", deploy("1fm", width=width))
    assert command.is_full_size("1fm", tmp_path / "deploy.prototxt") == told


def test_what_other_devices_take_is_a_line_each(capsys):
    class Options:
        price, json = None, False

    elsewhere = {device: device.training(1000) for device in MEASURED}
    command._say(Options, [], seconds=1.0, disk=1, elsewhere=elsewhere)
    lines = capsys.readouterr().out.splitlines()[-len(MEASURED) :]
    assert lines[0] == "there      1 h 49 min   on 2 cores of an AMD EPYC, float32 (docs/results.md)"
    assert lines[1] == "there            43 s   on NVIDIA H100, float32 (docs/results.md)"
    Options.json = True
    command._say(Options, [], seconds=1.0, disk=1, elsewhere=elsewhere)
    assert json.loads(capsys.readouterr().out)["elsewhere"][2] == {
        "device": "NVIDIA H100",
        "precision": "fast",
        "seconds": pytest.approx(15.0, abs=0.1),
    }


@pytest.mark.parametrize("arguments", [[], ["walk"]])
def test_what_is_to_be_estimated_must_be_said(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 1
    assert "try cdeep3m estimate --help" in capsys.readouterr().err
