from __future__ import annotations

import h5py
import numpy as np
import pytest

from cdeep3m.cli import caffetrain, create_train_job, runtraining, train, trainworker
from cdeep3m.engines import select
from cdeep3m.engines.learning import Learning, Loss, Schedule
from cdeep3m.errors import EngineError
from cdeep3m.nets.prototxts import NetMake, deploy
from cdeep3m.proto import prototxt
from cdeep3m.rules import CORRECTED, ORIGINAL
from cdeep3m.runs.trained import TrainedRun
from cdeep3m.training.folder import create_run
from fake_training_engine import FakeTrainingEngine, InProcess
from octave_cases import png_folder, synth

SHORT = ("--numiterations", "3", "--width", "32")


@pytest.fixture
def engine(monkeypatch):
    """The engine that every command gets, with CPU as its device."""
    fake = FakeTrainingEngine()
    monkeypatch.setattr(select, "select_engine", lambda name, *, gpu: (fake, [-1] if gpu == "all" else [int(gpu)]))
    return fake


@pytest.fixture
def augmented(tmp_path):
    folder = tmp_path / "aug"
    folder.mkdir()
    for variant in range(1, 17):
        with h5py.File(folder / f"training_full_stacks_v{variant}.h5", "w") as file:
            file["data"] = file["label"] = np.zeros((4, 3, 2), np.float32)
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def runs(*words):
    return [str(word) for word in words]


def test_runtraining_trains_three_nets_and_says_where_they_are(engine, augmented, out, capsys):
    assert runtraining.main(runs(*SHORT, augmented, out)) == 0
    assert capsys.readouterr().out == f"Training has completed. Results are stored in {out}\n"
    assert TrainedRun(out).nets() == ["1fm", "3fm", "5fm"]
    assert (out / "train_file.txt").read_text() == (out / "valid_file.txt").read_text()


@pytest.mark.parametrize(
    ("words", "nets"),
    [
        (["--1fmonly"], ["1fm"]),
        (["--models", "5fm,1fm"], ["5fm", "1fm"]),
        (["--mod", "3fm"], ["3fm"]),
        (["--1fm"], ["1fm"]),
    ],
)
def test_options_choose_the_nets_and_may_be_abbreviated(engine, augmented, out, words, nets):
    assert runtraining.main(runs(*SHORT, *words, augmented, out)) == 0
    assert [job.folder.name for job in engine.jobs] == nets


def test_options_may_follow_the_folders(engine, augmented, out):
    assert runtraining.main(runs(augmented, "--numiter=4", out, "--1fmonly", "--iter_s", 2, "--width", 32)) == 0
    solver = prototxt.read_solver(out / "1fm" / "solver.prototxt")
    assert (solver.max_iter, solver.iter_size) == (4, 2)


def test_the_same_command_goes_on(engine, augmented, out):
    engine.stops_at = 3
    command = runs(*SHORT, "--snapshot_interval", 2, "--1fmonly", augmented, out)
    assert runtraining.main(command) == 4
    engine.stops_at = None
    assert runtraining.main(command) == 0
    assert engine.jobs[-1].snapshot.name == "1fm_classifer_iter_2.solverstate"


def test_gpu_reaches_the_engine(engine, augmented, out):
    assert runtraining.main(runs(*SHORT, "--1fmonly", "--gpu", "-1", augmented, out)) == 0
    assert engine.jobs[0].gpu == -1
    assert trainworker.main(runs("--numiterations", 5, "--1fmonly", "--gpu", 2, out)) == 0
    assert engine.jobs[1].gpu == 2


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ([], 1),
        (["one"], 1),
        (["--numiterations", "many", "a", "b"], 1),
        (["--nosuchoption", "a", "b"], 1),
        (["-h"], 0),
        (["--help"], 0),
    ],
)
def test_usage_of_runtraining(words, status, capsys):
    with pytest.raises(SystemExit) as stop:
        runtraining.main(words)
    assert stop.value.code == status
    printed = capsys.readouterr()
    assert (printed.out if status == 0 else printed.err).startswith("usage: runtraining.sh ")


@pytest.mark.parametrize(
    "words",
    [
        ["--models", "1fm,2fm"],
        ["--models", ""],
        ["--momentum", "1"],
        ["--lr_policy", "stairs"],
        ["--average", "1"],
        ["--warm_up", "-1"],
        ["--loss", "hinge"],
        ["--loss", "dice=much"],
        ["--class-weights", "rare"],
        ["--exact", "--lr_policy", "cosine"],
    ],
)
def test_wrong_values_exit_with_1_and_make_nothing(engine, augmented, out, words, capsys):
    assert runtraining.main(runs(*words, augmented, out)) == 1
    assert capsys.readouterr().err.startswith("ERROR, ")
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "written", "learning"),
    [
        ([], ("", 0.01, 0.9, 5e-4, "poly"), None),
        (["--solver", "RMSProp"], ("RMSProp", 0.001, 0.0, 5e-4, "poly"), None),
        (["--solver", "Adam", "--base_learn", "0.5", "--momentum", "0.5"], ("Adam", 0.5, 0.5, 5e-4, "poly"), None),
        (["--solver", "AdamW"], ("Adam", 0.001, 0.9, 0.0, "poly"), Learning(decay=0.01)),
        (["--solver", "AdamW", "--weight_decay", "0.25"], ("Adam", 0.001, 0.9, 0.0, "poly"), Learning(decay=0.25)),
        (
            ["--lr_policy", "cosine", "--warm_up", "3"],
            ("", 0.01, 0.9, 5e-4, "fixed"),
            Learning(schedule=Schedule(shape="cosine", warm_up=3)),
        ),
        (["--average", "0.5"], ("", 0.01, 0.9, 5e-4, "poly"), Learning(average=0.5)),
        (
            ["--loss", "ce,dice=0.5", "--class-weights", "1,5"],
            ("", 0.01, 0.9, 5e-4, "poly"),
            Learning(loss=Loss(dice=0.5, class_weights=(1.0, 5.0))),
        ),
        (["--loss", "ce", "--class-weights", "batch"], ("", 0.01, 0.9, 5e-4, "poly"), None),
    ],
)
def test_options_say_how_to_learn(augmented, out, words, written, learning, monkeypatch):
    engine = InProcess()
    monkeypatch.setattr(select, "select_engine", lambda name, *, gpu: (engine, [-1]))
    assert runtraining.main(runs(*SHORT, "--models", "1fm", *words, augmented, out)) == 0
    solver = prototxt.read_solver(out / "1fm" / "solver.prototxt")
    found = [round(value, 6) for value in (solver.base_lr, solver.momentum, solver.weight_decay)]
    assert (solver.type if solver.HasField("type") else "", *found, solver.lr_policy) == written
    assert engine.jobs[0].learning == learning


def test_a_job_that_cannot_be_made_exits_with_2_and_makes_nothing(engine, augmented, out, capsys):
    (augmented / "training_full_stacks_v3.h5").unlink()
    assert runtraining.main(runs(augmented, out)) == 2
    assert "holds 15 .h5 files, expected 16" in capsys.readouterr().err
    assert runtraining.main(runs(augmented / "nowhere", out)) == 2
    assert not out.exists()


def test_a_truncated_stack_exits_with_2_and_is_named(engine, augmented, out, capsys):
    damaged = augmented / "training_full_stacks_v12.h5"
    damaged.write_bytes(damaged.read_bytes()[:1500])
    assert runtraining.main(runs(augmented, out)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(damaged) in line
    assert not out.exists()


def test_retrain_of_no_directory_exits_with_3(engine, augmented, out, capsys):
    assert runtraining.main(runs("--retrain", augmented / "nowhere", augmented, out)) == 3
    assert capsys.readouterr().err == f"ERROR, {augmented / 'nowhere'} is not a directory\n"
    assert not out.exists()


def test_retrain_adds_iterations_to_the_same_nets(engine, augmented, out, tmp_path):
    assert runtraining.main(runs(*SHORT, "--1fmonly", augmented, out)) == 0
    new = tmp_path / "new"
    retrain = ("--retrain", out, "--additerations", 2)
    assert runtraining.main(runs("--1fmonly", *retrain, augmented, new)) == 0
    assert TrainedRun(new).highest_iteration("1fm") == 5
    assert prototxt.read_net(new / "1fm" / "deploy.prototxt") == deploy("1fm", width=32)


def test_an_engine_that_fails_exits_with_4_and_its_words(engine, augmented, out, capsys):
    engine.stops_at = 1
    assert runtraining.main(runs(*SHORT, "--models", "3fm", augmented, out)) == 4
    assert "ERROR, stopped at iteration 1" in capsys.readouterr().err


def test_validation_folder_that_is_missing_exits_with_2(engine, augmented, out):
    assert runtraining.main(runs("--validation_dir", augmented / "nowhere", augmented, out)) == 2
    assert not out.exists()


def test_trainworker_statuses(engine, out, tmp_path, monkeypatch, capsys):
    create_run(out, make=NetMake(width=32))
    assert trainworker.main(runs("--numiterations", 3, out)) == 0
    assert trainworker.main(runs("--models", "1fm,7fm", out)) == 2
    assert trainworker.main(runs(tmp_path / "nowhere")) == 2
    assert trainworker.main(runs("--retrain", tmp_path / "nowhere", out)) == 1
    engine.stops_at = 4
    assert trainworker.main(runs("--numiterations", 5, out)) == 1

    def no_gpu(name, *, gpu):
        raise EngineError("no GPU here")

    monkeypatch.setattr(select, "select_engine", no_gpu)
    assert trainworker.main(runs(out)) == 4
    assert capsys.readouterr().err.endswith("ERROR, no GPU here\n")


def test_caffetrain_trains_one_net_and_keeps_its_log_folder(engine, out):
    create_run(out, make=NetMake(width=32))
    assert caffetrain.main(runs("--numiterations", 3, "--base_learn", "2e-2", "3fm", out)) == 0
    assert [job.folder for job in engine.jobs] == [out / "3fm"]
    assert engine.jobs[0].log == out / "3fm" / "log" / "out.log"
    assert prototxt.read_solver(out / "3fm" / "solver.prototxt").base_lr == np.float32(0.02)


def test_caffetrain_statuses(engine, out, capsys):
    assert caffetrain.main(runs("1fm", out)) == 2
    assert "solver.prototxt is not there" in capsys.readouterr().err
    create_run(out, make=NetMake(width=32))
    (out / "1fm" / "log").touch()
    assert caffetrain.main(runs("1fm", out)) == 3
    (out / "3fm" / "trainedmodel").rmdir()
    (out / "3fm" / "trainedmodel").touch()
    assert caffetrain.main(runs("3fm", out)) == 4
    engine.stops_at = 1
    assert caffetrain.main(runs("5fm", out)) == 1


def test_create_train_job_makes_the_folder(augmented, out, capsys):
    assert create_train_job.main(runs("--width", 32, augmented, out, augmented)) == 0
    assert capsys.readouterr().out == f"Train job created in {out}\n"
    assert len((out / "train_file.txt").read_text().splitlines()) == 16


def test_create_train_job_of_a_missing_folder_exits_with_1(augmented, out, capsys):
    assert create_train_job.main(runs(augmented / "nowhere", out, augmented)) == 1
    assert capsys.readouterr().err.startswith(f"ERROR, {augmented / 'nowhere'} is not a directory")
    with pytest.raises(SystemExit) as stop:
        create_train_job.main(runs(augmented, out))
    assert stop.value.code == 1


@pytest.mark.parametrize("command", [runtraining, trainworker, caffetrain, create_train_job])
def test_every_command_tells_its_version(command, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("cdeep3m ")


@pytest.mark.parametrize("how", ["--exact", "CDEEP3M_EXACT", None])
@pytest.mark.parametrize("command", [runtraining, trainworker, caffetrain])
def test_exact_mode_reaches_the_engine(command, how, engine, augmented, out, monkeypatch):
    create_run(out, make=NetMake(width=32))
    monkeypatch.setenv("CDEEP3M_EXACT", "1" if how == "CDEEP3M_EXACT" else "")
    words = ["--numiterations", "3", *(["--exact"] if how == "--exact" else [])]
    places = {runtraining: [augmented, f"{out}2"], trainworker: [out], caffetrain: ["1fm", out]}
    assert command.main(runs(*words, *places[command])) == 0
    assert {job.rules for job in engine.jobs} == {ORIGINAL if how else CORRECTED}


@pytest.mark.parametrize(("planes", "nets"), [(1, ["1fm"]), (2, ["1fm", "3fm", "5fm"])])
def test_a_single_plane_trains_1fm_alone(engine, out, tmp_path, planes, nets, caplog):
    images = png_folder(tmp_path / "images", synth(planes, 20, 24, 1))
    labels = png_folder(tmp_path / "labels", synth(planes, 20, 24, 2, "bool").astype(np.uint8) * 255)
    caplog.set_level("INFO")
    assert train.main(runs(*SHORT, images, labels, out)) == 0
    assert [job.folder.name for job in engine.jobs] == nets
    assert ("a single plane: 1fm is trained alone" in caplog.text) == (planes == 1)


def test_a_net_that_no_training_has_is_refused_before_anything_is_read(tmp_path, capsys):
    assert train.main(runs("--models", "1fm,7fm", tmp_path / "absent", tmp_path / "absent", tmp_path / "out")) == 1
    assert "found --models 7fm; expected some of 1fm,3fm,5fm" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
