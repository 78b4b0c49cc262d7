from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest

from cdeep3m.engines.base import CPU, LabelledVolume
from cdeep3m.engines.learning import Learning, Schedule
from cdeep3m.errors import EngineError, InputError, MissingFileError, RunError
from cdeep3m.nets.prototxts import NetMake
from cdeep3m.proto import prototxt
from cdeep3m.proto.caffemodel import read_state
from cdeep3m.rules import ORIGINAL
from cdeep3m.runs.gray_range import GrayRange, write_range
from cdeep3m.runs.trained import TrainedRun
from cdeep3m.training.folder import create_run
from cdeep3m.training.run import NetTraining, SolverSettings, TrainRequest, train, train_net, usable_snapshot
from fake_training_engine import FakeTrainingEngine, InProcess, write_snapshot

SHORT = SolverSettings(numiterations=10, snapshot_interval=4)


@pytest.fixture
def out(tmp_path):
    create_run(tmp_path / "out", make=NetMake(width=32))
    return tmp_path / "out"


def iterations(run, net):
    return [read_state(path).iter for path in sorted(TrainedRun(run).models(net).glob("*.solverstate"))]


def test_nets_are_trained_one_after_another_with_their_own_files(out):
    engine, seen = FakeTrainingEngine(), []
    request = TrainRequest(out=out, nets=("3fm", "1fm"), settings=SHORT)
    train(request, engine, report=lambda net, progress: seen.append((net, progress.done)))
    assert [job.folder for job in engine.jobs] == [out / "3fm", out / "1fm"]
    assert all(job.log == job.folder / "log" / "out.log" for job in engine.jobs)
    assert [job.gpu for job in engine.jobs] == [CPU, CPU]
    assert seen == [(net, n) for net in ("3fm", "1fm") for n in range(1, 11)]
    assert sorted(iterations(out, "1fm")) == [4, 8, 10]
    assert TrainedRun(out).nets() == ["1fm", "3fm"]


def test_options_become_fields_of_the_solver(out):
    settings = SolverSettings(
        **{"numiterations": 11, "base_learn": 0.02, "power": 0.7, "momentum": 0.8, "weight_decay": 0.001},
        **{"average_loss": 5, "lr_policy": "fixed", "iter_size": 3, "snapshot_interval": 6, "seed": 42},
    )
    before = prototxt.read_solver(out / "1fm" / "solver.prototxt")
    train(TrainRequest(out=out, nets=("1fm",), settings=settings), FakeTrainingEngine())
    after = prototxt.read_solver(out / "1fm" / "solver.prototxt")
    assert (after.max_iter, after.iter_size, after.average_loss, after.snapshot, after.random_seed) == (11, 3, 5, 6, 42)
    assert (after.lr_policy, round(after.base_lr, 6), round(after.power, 6)) == ("fixed", 0.02, 0.7)
    assert (round(after.momentum, 6), round(after.weight_decay, 6)) == (0.8, 0.001)
    assert (after.net, after.test_iter, after.display) == (before.net, before.test_iter, before.display)


def test_a_solver_of_another_type_is_written_and_stays_unless_another_is_asked_for(out):
    path = out / "1fm" / "solver.prototxt"
    path.write_text(f"# ours\n{path.read_text()}\nsolver_type: ADAGRAD\n")
    given = {"solver": "Adam", "momentum2": 0.75, "delta": 0.5}
    train(TrainRequest(out=out, nets=("1fm",), settings=replace(SHORT, **given)), FakeTrainingEngine())
    written = prototxt.read_solver(path)
    assert (written.type, written.momentum2, written.delta) == ("Adam", 0.75, 0.5)
    assert not written.HasField("solver_type")
    assert not written.HasField("rms_decay")
    assert path.read_text().startswith("# ours\n")
    train(TrainRequest(out=out, nets=("1fm",), settings=SHORT), FakeTrainingEngine())
    assert prototxt.read_solver(path) == written


def test_an_engine_over_files_refuses_what_goes_beyond_caffe(out):
    request = TrainRequest(out=out, nets=("1fm",), settings=SHORT, learning=Learning(decay=0.5, average=0.5))
    with pytest.raises(InputError, match="fake learns as Caffe does: leave --solver AdamW, --average out"):
        train(request, FakeTrainingEngine())


def test_exact_mode_refuses_what_goes_beyond_caffe(out):
    with pytest.raises(InputError, match="either --exact or --average"):
        TrainRequest(out=out, learning=Learning(average=0.5), rules=ORIGINAL)


def test_what_goes_beyond_caffe_reaches_the_engine_and_the_record(out):
    learning = Learning(schedule=Schedule(shape="cosine"), average=0.5)
    engine = InProcess()
    train(TrainRequest(out=out, nets=("1fm",), settings=SHORT, learning=learning), engine)
    assert [job.learning for job in engine.jobs] == [learning]
    assert "1fm was trained with shape cosine, average 0.5" in (out / "readme.txt").read_text()
    train(TrainRequest(out=out, nets=("3fm",), settings=SHORT), engine)
    assert engine.jobs[1].learning is None


def test_without_a_seed_the_solver_keeps_its_own(out):
    train(TrainRequest(out=out, nets=("1fm",), settings=SHORT), FakeTrainingEngine())
    assert not prototxt.read_solver(out / "1fm" / "solver.prototxt").HasField("random_seed")


@pytest.mark.parametrize(("interval", "expected"), [(None, 20), (7, 7)])
def test_the_net_is_tested_as_often_as_asked_or_as_its_solver_says(out, interval, expected):
    train(TrainRequest(out=out, nets=("1fm",), settings=replace(SHORT, test_interval=interval)), FakeTrainingEngine())
    assert prototxt.read_solver(out / "1fm" / "solver.prototxt").test_interval == expected


def test_a_run_that_was_moved_writes_its_snapshots_where_it_is_now(out, tmp_path):
    moved = out.rename(tmp_path / "elsewhere")
    train(TrainRequest(out=moved, nets=("1fm",), settings=SHORT), FakeTrainingEngine())
    assert TrainedRun(moved).highest_iteration("1fm") == 10


def test_a_run_that_was_moved_reads_its_lists_where_it_is_now(out, listed, tmp_path):
    for name in ("train_file.txt", "valid_file.txt"):
        (out / name).write_text(f"{listed[0]}\n")
    moved = out.rename(tmp_path / "elsewhere")
    train(TrainRequest(out=moved, nets=("1fm",), settings=SHORT), FakeTrainingEngine())
    layers = prototxt.read_net(moved / "1fm" / "train_val.prototxt").layer
    sources = {layer.data_provider_param.data_source for layer in layers if layer.type == "PatchData"}
    assert sources == {str(moved / "train_file.txt"), str(moved / "valid_file.txt")}


@pytest.mark.parametrize("name", ["pl\udce4ne", "line\nfeed"])
def test_a_run_may_have_any_name(tmp_path, name, monkeypatch):
    out = tmp_path / name
    create_run(out, make=NetMake(width=32))
    monkeypatch.chdir(out / "1fm")  # where engines begin
    train(TrainRequest(out=out, nets=("1fm",), settings=SHORT), FakeTrainingEngine())
    place = out / "1fm" / prototxt.read_solver(out / "1fm" / "solver.prototxt").snapshot_prefix
    assert place.parent.samefile(out / "1fm" / "trainedmodel")


def test_an_interrupted_training_goes_on_from_its_highest_snapshot(out):
    request = TrainRequest(out=out, nets=("1fm",), settings=SHORT)
    with pytest.raises(EngineError, match="stopped at iteration 9"):
        train(request, FakeTrainingEngine(stops_at=9))
    engine = FakeTrainingEngine()
    train(request, engine)
    assert engine.jobs[0].snapshot.name == "1fm_classifer_iter_8.solverstate"


def test_a_snapshot_that_was_cut_off_is_passed_over(out, caplog):
    train(TrainRequest(out=out, nets=("1fm",), settings=SHORT), FakeTrainingEngine())
    models = TrainedRun(out).models("1fm")
    (models / "1fm_classifer_iter_10.caffemodel").write_bytes(b"")
    (models / "1fm_classifer_iter_8.caffemodel").unlink()
    assert usable_snapshot(out / "1fm") == models / "1fm_classifer_iter_4.solverstate"
    assert "iter_10.solverstate cannot be used" in caplog.text


@pytest.mark.parametrize("total", [9, 10])
def test_a_net_that_is_trained_far_enough_is_skipped(out, caplog, total):
    caplog.set_level(logging.INFO)
    train(TrainRequest(out=out, nets=("1fm",), settings=SHORT), FakeTrainingEngine())
    engine = FakeTrainingEngine()
    train(TrainRequest(out=out, nets=("1fm", "3fm"), settings=replace(SHORT, numiterations=total)), engine)
    assert [job.folder.name for job in engine.jobs] == ["3fm"]
    assert f"1fm has reached iteration 10 of {total}: nothing to do" in caplog.text


def test_gpus_take_the_nets_in_turn(out):
    engine = FakeTrainingEngine()
    train(TrainRequest(out=out, settings=SHORT, gpus=(2, 5)), engine)
    assert [job.gpu for job in engine.jobs] == [2, 5, 2]


class FailingEngine(FakeTrainingEngine):
    """Cannot train some nets."""

    def __init__(self, failing):
        super().__init__()
        self.failing = failing

    def train(self, job, *, report=None):
        if job.folder.name in self.failing:
            raise EngineError(f"{job.folder.name} ran out of memory")
        super().train(job, report=report)


class ParallelEngine(FakeTrainingEngine):
    """Trains outside this process, as Caffe's tools do: each job waits until `together` of them run."""

    def __init__(self, together, *, failing=()):
        super().__init__()
        self.barrier = threading.Barrier(together)
        self.failing = failing
        self.stopped = threading.Event()
        self.on_gpu = {}

    def stop(self):
        self.stopped.set()

    def train(self, job, *, report=None):
        assert self.on_gpu.setdefault(job.gpu, job) is job, "two jobs on one GPU at a time"
        if self.barrier.n_waiting < self.barrier.parties:
            self.barrier.wait(20)
        try:
            if job.folder.name in self.failing:
                raise EngineError(f"{job.folder.name} ran out of memory")
            super().train(job, report=report)
        finally:
            del self.on_gpu[job.gpu]


def test_engines_beside_this_process_train_a_net_on_each_gpu_at_the_same_time(out):
    engine = ParallelEngine(together=3)
    train(TrainRequest(out=out, settings=SHORT, gpus=(0, 1, 2)), engine)
    assert {job.folder.name: job.gpu for job in engine.jobs} == {"1fm": 0, "3fm": 1, "5fm": 2}
    assert TrainedRun(out).nets() == ["1fm", "3fm", "5fm"]
    readme = (out / "readme.txt").read_text().splitlines()
    assert {f"{net} was trained by fake, GPU {gpu}" for net, gpu in (("1fm", 0), ("3fm", 1), ("5fm", 2))} <= set(readme)


def test_nets_of_one_gpu_are_trained_one_after_another(out):
    engine = ParallelEngine(together=1)
    train(TrainRequest(out=out, settings=SHORT, gpus=(0, 1)), engine)
    assert [job.folder.name for job in engine.jobs if job.gpu == 0] == ["1fm", "5fm"]


@pytest.mark.parametrize("engine", [ParallelEngine(together=1, failing=("1fm",)), FailingEngine(("1fm",))])
def test_error_of_one_net_keeps_no_other_from_being_trained(out, caplog, engine):
    with pytest.raises(EngineError, match="1fm ran out of memory") as caught:
        train(TrainRequest(out=out, settings=SHORT, gpus=(0, 1)), engine)
    assert caught.value.exit_code == 1
    assert TrainedRun(out).nets() == ["3fm", "5fm"]
    assert "1fm failed" in caplog.text


def test_errors_of_several_nets_are_told_together(out):
    with pytest.raises(RunError, match="1fm: 1fm ran out of memory; 5fm: 5fm ran out of memory"):
        train(TrainRequest(out=out, settings=SHORT), FailingEngine(("1fm", "5fm")))
    assert TrainedRun(out).nets() == ["3fm"]


def test_a_full_disk_stops_all_nets(out):
    class NoRoom(FakeTrainingEngine):
        def train(self, job, *, report=None):
            self.jobs.append(job)
            raise OSError(errno.ENOSPC, "No space left on device", "snapshot")

    engine = NoRoom()
    with pytest.raises(RunError, match="the disk is full"):
        train(TrainRequest(out=out, settings=SHORT), engine)
    assert len(engine.jobs) == 1


def test_interrupt_stops_all_running_nets(out):
    class Endless(ParallelEngine):
        def train(self, job, *, report=None):
            if self.barrier.wait(20) == 0:
                os.kill(os.getpid(), signal.SIGINT)
            assert self.stopped.wait(20)
            raise EngineError("stopped")

    engine = Endless(together=2)
    with pytest.raises(KeyboardInterrupt):
        train(TrainRequest(out=out, nets=("1fm", "3fm"), settings=SHORT, gpus=(0, 1)), engine)
    assert engine.stopped.is_set()


def test_second_training_of_a_net_is_refused_while_one_runs(out):
    class Nested(FakeTrainingEngine):
        def train(self, job, *, report=None):
            with pytest.raises(RunError, match="another training is running in .*1fm") as caught:
                train(TrainRequest(out=out, nets=("1fm",), settings=SHORT), FakeTrainingEngine())
            assert "\n" not in str(caught.value)
            super().train(job, report=report)

    train(TrainRequest(out=out, nets=("1fm",), settings=SHORT), Nested())
    assert TrainedRun(out).nets() == ["1fm"]


def test_parallel_jobs_has_twelve_lines_a_job(out):
    train(TrainRequest(out=out, settings=SHORT, gpus=(3,)), FakeTrainingEngine())
    lines = (out / "parallel.jobs").read_text().splitlines()
    assert len(lines) == 36
    assert lines[:12] == ["10", "3", "0.01", "0.8", "0.9", "0.0005", "16", "poly", "8", "4", "1fm", str(out)]
    assert lines[22] == "3fm"


def test_volumes_in_memory_reach_the_engine(out):
    engine, volumes = FakeTrainingEngine(), [LabelledVolume(*np.zeros((2, 4, 5, 3), np.uint8))]
    train(TrainRequest(out=out, nets=("1fm",), settings=SHORT), engine, training=volumes, validation=volumes[:0])
    assert engine.jobs[0].training is volumes
    assert engine.jobs[0].validation == []


@pytest.fixture
def old(tmp_path):
    """A run whose 1fm reached 30, whose 3fm has weights alone, and whose 5fm has nothing."""
    create_run(tmp_path / "old", make=NetMake(width=32))
    for iteration in (9, 30):
        write_snapshot(tmp_path / "old" / "1fm" / "trainedmodel" / "1fm_classifer", iteration)
    write_snapshot(tmp_path / "old" / "3fm" / "trainedmodel" / "3fm_classifer", 7)
    (tmp_path / "old" / "3fm" / "trainedmodel" / "3fm_classifer_iter_7.solverstate").unlink()
    return tmp_path / "old"


def test_retraining_goes_on_from_each_net_s_own_iteration(out, old):
    write_snapshot(old / "3fm" / "trainedmodel" / "3fm_classifer", 12)
    engine = FakeTrainingEngine()
    request = TrainRequest(out=out, nets=("1fm", "3fm"), settings=SHORT, retrain=old, additerations=5)
    train(request, engine)
    assert [job.snapshot.name for job in engine.jobs] == [
        "1fm_classifer_iter_30.solverstate",
        "3fm_classifer_iter_12.solverstate",
    ]
    assert [TrainedRun(out).highest_iteration(net) for net in ("1fm", "3fm")] == [35, 17]
    assert sorted(iterations(out, "1fm")) == [9, 30, 32, 35]
    assert f"1fm was retrained from iteration 30 of {old}" in (out / "readme.txt").read_text()


def test_an_interrupted_retraining_ends_where_it_would_have_ended(out, old):
    request = TrainRequest(out=out, nets=("1fm",), settings=SHORT, retrain=old, additerations=5)
    with pytest.raises(EngineError):
        train(request, FakeTrainingEngine(stops_at=33))
    engine = FakeTrainingEngine()
    train(request, engine)
    assert engine.jobs[0].snapshot.name == "1fm_classifer_iter_32.solverstate"
    assert TrainedRun(out).highest_iteration("1fm") == 35
    assert (out / "readme.txt").read_text().count("retrained") == 1


def test_a_snapshot_to_retrain_from_is_copied_whole_or_not_at_all(out, old, monkeypatch):
    def stop_half_way(source, target):
        target.write_bytes(source.read_bytes()[:9])
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", stop_half_way)
    with pytest.raises(KeyboardInterrupt):
        train(TrainRequest(out=out, nets=("1fm",), settings=SHORT, retrain=old), FakeTrainingEngine())
    assert not list((out / "1fm" / "trainedmodel").iterdir())


def test_retraining_from_weights_alone_starts_from_them(out, old):
    engine = FakeTrainingEngine()
    train(TrainRequest(out=out, nets=("3fm",), settings=SHORT, retrain=old, additerations=5), engine)
    assert engine.jobs[0].snapshot is None
    assert engine.jobs[0].weights == old / "3fm" / "trainedmodel" / "3fm_classifer_iter_7.caffemodel"
    assert TrainedRun(out).highest_iteration("3fm") == 5


def test_retraining_of_nothing_says_so_and_keeps_the_iterations(out, old, caplog):
    caplog.set_level(logging.INFO)
    train(TrainRequest(out=out, nets=("5fm",), settings=SHORT, retrain=old, additerations=5), FakeTrainingEngine())
    assert TrainedRun(out).highest_iteration("5fm") == 10
    assert f"no trained 5fm in {old}: it is trained from scratch, for 10 iterations" in caplog.text


def test_a_missing_net_stops_the_run_before_it_starts(out):
    engine = FakeTrainingEngine()
    with pytest.raises(RunError, match=r"has no folder 7fm\. .*CreateTrainJob") as error:
        train(TrainRequest(out=out, nets=("1fm", "7fm"), settings=SHORT), engine)
    assert error.value.exit_code == 2
    assert not engine.jobs
    assert not (out / "parallel.jobs").exists()


def test_a_missing_solver_and_folders_in_the_way_have_their_statuses(out):
    job = NetTraining(folder=out / "1fm", settings=SHORT)
    (out / "1fm" / "log").touch()
    with pytest.raises(RunError) as error:
        train_net(job, FakeTrainingEngine())
    assert error.value.exit_code == 3
    (out / "1fm" / "log").unlink()
    (out / "1fm" / "trainedmodel").rmdir()
    (out / "1fm" / "trainedmodel").touch()
    with pytest.raises(RunError) as error:
        train_net(job, FakeTrainingEngine())
    assert error.value.exit_code == 4
    (out / "1fm" / "solver.prototxt").unlink()
    with pytest.raises(MissingFileError) as missing:
        train_net(job, FakeTrainingEngine())
    assert missing.value.exit_code == 2


@pytest.mark.parametrize(
    "wrong",
    [
        *({"numiterations": 0}, {"iter_size": -1}, {"snapshot_interval": 0}, {"average_loss": 0}),
        *({"base_learn": 0.0}, {"base_learn": float("nan")}, {"momentum": 1.0}, {"weight_decay": -1.0}),
        *({"lr_policy": "cosine"},),
    ],
)
def test_a_setting_out_of_range_is_named(wrong):
    (name,) = wrong
    with pytest.raises(InputError, match=f"--{name} .*: expected "):
        SolverSettings(**wrong)


@pytest.mark.parametrize("wrong", [{"nets": ()}, {"nets": ("1fm", "")}, {"nets": ("1fm", "1fm")}, {"additerations": 0}])
def test_a_request_out_of_range_is_refused(tmp_path, wrong):
    with pytest.raises(InputError, match=": expected "):
        TrainRequest(out=tmp_path, **wrong)


@pytest.fixture
def listed(out, tmp_path):
    """A run over files that nobody noted the images of."""
    files = [tmp_path / f"v{k}.h5" for k in (1, 2)]
    for path in files:
        path.write_bytes(b"data")
    (out / "train_file.txt").write_text("".join(f"{path}\n" for path in files))
    return files


def test_a_training_does_not_go_on_with_files_that_were_replaced(out, listed):
    request = TrainRequest(out=out, nets=("1fm",), settings=SHORT)
    train(request, FakeTrainingEngine())
    listed[1].write_bytes(b"other data")
    engine = FakeTrainingEngine()
    for asked in (request, replace(request, nets=("3fm",))):
        with pytest.raises(RunError, match="holds a training on other files"):
            train(asked, engine)
    assert engine.jobs == []
    with pytest.raises(RunError, match="--retrain"):
        train(replace(request, settings=replace(SHORT, numiterations=20)), engine)


def test_a_training_without_snapshots_takes_the_files_that_are_there(out, listed):
    request = TrainRequest(out=out, nets=("1fm",), settings=SHORT)
    with pytest.raises(EngineError):
        train(request, FakeTrainingEngine(stops_at=2))
    listed[1].write_bytes(b"other data")
    train(request, FakeTrainingEngine())
    train(request, FakeTrainingEngine())


def test_files_made_anew_of_the_same_images_will_do(out, listed):
    write_range(out, GrayRange(type="uint8", low=0, high=255, source="these images"))
    request = TrainRequest(out=out, nets=("1fm",), settings=SHORT)
    train(request, FakeTrainingEngine())
    os.utime(listed[0], (1, 1))
    train(request, FakeTrainingEngine())


def test_exact_mode_goes_on_with_any_files_and_leaves_no_note(out, listed):
    request = TrainRequest(out=out, nets=("1fm",), settings=SHORT, rules=ORIGINAL)
    train(request, FakeTrainingEngine())
    listed[1].write_bytes(b"other data")
    train(request, FakeTrainingEngine())
    assert not (out / ".made_of.json").exists()


def test_a_finished_net_is_none_of_other_settings(out, caplog):
    request = TrainRequest(out=out, nets=("1fm",), settings=replace(SHORT, seed=1))
    train(request, FakeTrainingEngine())
    train(replace(request, settings=replace(SHORT, snapshot_interval=2, test_interval=5)), FakeTrainingEngine())
    for other, words in ((replace(SHORT, base_learn=0.5), "--base_learn 0.5"), (replace(SHORT, seed=2), "--seed 2")):
        with pytest.raises(RunError, match=f"is finished; this run says {words}"):
            train(replace(request, settings=other), FakeTrainingEngine())
    assert "goes on with" not in caplog.text


def test_other_settings_are_said_when_a_net_goes_on(out, caplog):
    request = TrainRequest(out=out, nets=("1fm",), settings=SHORT)
    with pytest.raises(EngineError):
        train(request, FakeTrainingEngine(stops_at=9))
    train(replace(request, settings=replace(SHORT, base_learn=0.001)), FakeTrainingEngine())
    assert "1fm goes on with --base_learn 0.001; so far it was --base_learn 0.01" in caplog.text


def test_settings_of_the_net_that_is_retrained_do_not_count(out, tmp_path):
    train(TrainRequest(out=out, nets=("1fm",), settings=SHORT), FakeTrainingEngine())
    create_run(tmp_path / "new", make=NetMake(width=32))
    slower = TrainRequest(
        out=tmp_path / "new", nets=("1fm",), settings=replace(SHORT, base_learn=0.1), retrain=out, additerations=4
    )
    train(slower, FakeTrainingEngine())
    train(slower, FakeTrainingEngine())
