"""Scripts that called Caffe's own tool can call ours."""

from __future__ import annotations

import re

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
        (["time", "--solver=solver.prototxt"], "has `train` alone, found `time`"),
        (["device_query"], "`nvidia-smi` lists the GPUs"),
        (["train", "--solver=s", "--snapshot=a", "--weights=b"], "not allowed with argument"),
        ([], "required: train"),
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
        (["--solver=solver.prototxt", "--gpu=two"], "--gpu=two: a GPU number was expected"),
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
