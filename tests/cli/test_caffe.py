"""Scripts that called Caffe's own tool can call ours."""

from __future__ import annotations

import os
import re
import signal

import pytest

from cdeep3m.cli.caffe import main
from cdeep3m.proto.caffemodel import read_state
from tiny_training import make_training


@pytest.fixture
def folder(tmp_path, monkeypatch):
    make_training(tmp_path, max_iter=2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "flags",
    [
        ["--solver=solver.prototxt", "--gpu=-1"],
        ["-solver", "solver.prototxt", "-gpu", "-1"],
        ["--solver", "solver.prototxt", "--gpu", "-1", "--logtostderr=1"],
    ],
)
def test_flags_are_those_of_caffe(folder, capsys, flags):
    assert main(["train", *flags]) == 0
    assert sorted(path.name for path in (folder / "snap").iterdir()) == [
        "tiny_iter_2.caffemodel",
        "tiny_iter_2.solverstate",
    ]
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ caffe\.cpp:217\] Optimization Done\.", lines[-1])


def test_the_solvers_gpu_falls_back_to_the_cpu_with_one_warning(folder, capsys, caplog, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert main(["train", "--solver=solver.prototxt"]) == 0
    assert [r.getMessage() for r in caplog.records if "GPU 0" in r.getMessage()] == [
        "GPU 0 was asked for, but PyTorch sees no such CUDA device here: running on the CPU"
    ]
    assert "Use CPU." in capsys.readouterr().err


def test_a_training_goes_on_from_a_snapshot_or_from_weights(folder):
    assert main(["train", "--solver=solver.prototxt", "--gpu=-1"]) == 0
    make_training(folder, max_iter=3)
    assert main(["train", "--solver=solver.prototxt", "--gpu=-1", "--snapshot=snap/tiny_iter_2.solverstate"]) == 0
    assert read_state(folder / "snap" / "tiny_iter_3.solverstate").iter == 3
    make_training(folder, max_iter=1)
    assert main(["train", "--solver=solver.prototxt", "--gpu=-1", "--weights=snap/tiny_iter_3.caffemodel"]) == 0
    assert read_state(folder / "snap" / "tiny_iter_1.solverstate").iter == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["train"], "train needs --solver=FILE"),
        (["test", "--model=train_val.prototxt"], "test needs --weights=FILE"),
        (["time"], "time needs --model=FILE"),
        (["brew"], "expected train, test, time, device_query, found `brew`"),
        (["train", "--solver=s", "--sigint_effect=dance"], "invalid choice: 'dance'"),
        (["train", "--solver=s", "--snapshot=a", "--weights=b"], "not allowed with argument"),
        ([], "required: train|test|time|device_query"),
    ],
)
def test_wrong_usage_is_told_and_exits_with_1(capsys, arguments, problem):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("usage: caffe ")
    assert problem in error


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--solver=gone.prototxt"], "gone.prototxt is not there"),
        (["--solver=solver.prototxt", "--gpu=two"], "--gpu=two: expected a GPU number"),
        (["--solver=solver.prototxt", "--gpu=-1", "--snapshot=gone.solverstate"], "gone.solverstate is not there"),
        (["--solver=solver.prototxt", "--gpu=-1", "--weights=gone.caffemodel"], "gone.caffemodel is not there"),
    ],
)
def test_what_cannot_be_trained_is_one_line(folder, capsys, flags, problem):
    assert main(["train", *flags]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ERROR, ")]
    assert len(errors) == 1
    assert problem in errors[0]


def test_exact_mode_stops_at_a_batch_without_background(folder, capsys, monkeypatch):
    (folder / "train_file.txt").write_text("valid.h5\n")
    import h5py

    with h5py.File(folder / "valid.h5", "r+") as file:
        file["label"][...] = 1
    assert main(["train", "--solver=solver.prototxt", "--gpu=-1"]) == 0
    monkeypatch.setenv("CDEEP3M_EXACT", "1")
    assert main(["train", "--solver=solver.prototxt", "--gpu=-1"]) == 1
    assert "without any background voxel: the original stops here" in capsys.readouterr().err


def test_an_interrupt_exits_as_shells_expect(folder, capsys, monkeypatch):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("cdeep3m.engines.embedded.training.loop.train", interrupted)
    assert main(["train", "--solver=solver.prototxt", "--gpu=-1"]) == 130
    assert "Go on with --snapshot" in capsys.readouterr().err


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("cdeep3m ")


def logged(said: str) -> list[str]:
    """What the log lines in `said` say."""
    return re.findall(r"^[IW]\d{4} [\d:.]+ +\d+ caffe\.cpp:\d+\] (.*)$", said, re.MULTILINE)


@pytest.fixture
def trained(folder):
    assert main(["train", "--solver=solver.prototxt", "--gpu=-1"]) == 0
    return folder


def test_a_net_is_tested_on_batches_and_its_means_are_told(trained, capsys):
    capsys.readouterr()
    words = ["--model=train_val.prototxt", "--weights=snap/tiny_iter_2.caffemodel", "--iterations=3", "-gpu", "-1"]
    assert main(["test", *words]) == 0
    lines = logged(capsys.readouterr().err)
    assert lines[0] == "Running for 3 iterations."
    names = ("accuracy", "class_Acc", "class_Acc", "loss")
    batches = [(line.split(",")[0], line.split()[2]) for line in lines if line.startswith("Batch")]
    assert batches == [(f"Batch {k}", name) for k in range(3) for name in names]
    scores = [float(line.split(" = ")[1]) for line in lines if ", accuracy = " in line]
    means = dict(line.split(" = ", 1) for line in lines[-4:])
    assert float(means["accuracy"]) == pytest.approx(sum(scores) / 3, rel=1e-5)
    assert re.fullmatch(r"(\S+) \(\* 1 = \1 loss\)", means["loss"])
    assert lines[-5] == f"Loss: {means['loss'].split()[0]}"


def test_weights_of_another_net_are_not_tested(trained, capsys):
    (trained / "other.prototxt").write_text((trained / "train_val.prototxt").read_text().replace('"score"', '"other"'))
    assert main(["test", "--model=other.prototxt", "--weights=snap/tiny_iter_2.caffemodel", "--iterations=1"]) == 1
    assert "ERROR, layer other" in capsys.readouterr().err


def test_a_net_is_timed_in_both_directions(folder, capsys):
    assert main(["time", "--model=train_val.prototxt", "--iterations", "2", "--gpu=-1"]) == 0
    lines = logged(capsys.readouterr().err)
    assert lines[:2] == ["*** Benchmark begins ***", "Testing for 2 iterations."]
    for kind in ("Average Forward pass", "Average Backward pass", "Average Forward-Backward", "Total Time"):
        assert [float(line.split()[-2]) > 0 for line in lines if line.startswith(f"{kind}: ")] == [True]
    assert lines[-1] == "*** Benchmark ends ***"


def test_a_net_without_a_loss_is_timed_forwards(folder, capsys):
    from engines.conformance import make_model

    deploy = make_model(folder / "trained").deploy
    assert main(["time", f"--model={deploy}", "--iterations=1"]) == 0
    lines = logged(capsys.readouterr().err)
    assert "The net has no loss: nothing was run backwards." in lines
    assert not [line for line in lines if "Backward" in line]


def test_devices_are_described_or_missed_in_one_line(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert main(["device_query", "--gpu=all"]) == 1
    assert capsys.readouterr().err.startswith("ERROR, PyTorch sees 0 CUDA devices here: expected one at least")


@pytest.mark.parametrize(
    ("flags", "number", "status", "iterations"),
    [
        (["--sigint_effect=snapshot"], signal.SIGINT, 0, {1, 3}),
        (["--sigint_effect=none"], signal.SIGINT, 0, {3}),
        ([], signal.SIGINT, 130, {1}),
        ([], signal.SIGHUP, 0, {1, 3}),
        (["--sighup_effect=none"], signal.SIGHUP, 0, {3}),
        (["--sighup_effect=stop"], signal.SIGHUP, 129, {1}),
        (["--sigint_effect=none"], signal.SIGTERM, 143, {1}),
    ],
)
def test_signals_have_the_effects_that_flags_say(folder, monkeypatch, flags, number, status, iterations):
    from cdeep3m.engines.embedded.training import loop as training

    make_training(folder, max_iter=3)
    iterate = training.Training._iterate

    def iterate_and_signal(self):
        iterate(self)
        if self.solver.iteration == 1:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(training.Training, "_iterate", iterate_and_signal)
    assert main(["train", "--solver=solver.prototxt", "--gpu=-1", *flags]) == status
    states = (folder / "snap").glob("*.solverstate")
    assert {read_state(path).iter for path in states} == iterations
