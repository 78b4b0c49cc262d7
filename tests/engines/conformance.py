"""What every engine must do: an engine's test subclasses `EngineTests` and gives it an `engine`.

The net is a convolution over three planes, so what it predicts can be written down: the logistic function of a weighted
sum of the planes around each. Volumes have no symmetry, so swapped axes show.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from google.protobuf import text_format
from numpy.testing import assert_allclose

from cdeep3m.engines.base import (
    CPU,
    Engine,
    InProcessEngine,
    LabelledVolume,
    PredictJob,
    ReachingEngine,
    TrainedModel,
    TrainJob,
)
from cdeep3m.errors import CDeep3MError, EngineError
from cdeep3m.proto import prototxt
from cdeep3m.proto.caffe_pb2 import LayerParameter, NetParameter
from cdeep3m.proto.caffemodel import array_to_blob, read_model, read_state, write_model
from cdeep3m.volumes.hdf5 import read_dataset, write_datasets
from tiny_training import make_training, write_volume

if TYPE_CHECKING:
    from pathlib import Path

FRAMES = (0.01, 0.03, -0.02)
"""Weights of the planes before, at and after the one that is predicted."""
BIAS = -1.5

DEPLOY = """
name: "three frames"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 32 dim: 16 dim: 3 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {
  num_output: 2 kernel_size: 1 kernel_size: 1 kernel_size: 3
} }
layer { name: "flat" type: "Reshape" bottom: "conv" top: "flat" reshape_param {
  shape { dim: 0 dim: 0 dim: 0 dim: 0 }
} }
layer { name: "prob" type: "Softmax" bottom: "flat" top: "prob" }
"""


def addresses(planes: int = 4) -> np.ndarray:
    """A volume (z, y, x) without symmetry."""
    z, y, x = np.indices((planes, 16, 32))
    return ((z * 89 + y * 7 + x * 3 + (x * y) // 11) % 251).astype(np.uint8)


def make_model(folder: Path) -> TrainedModel:
    """Write the net of three frames and its weights."""
    weights = np.zeros((2, 1, 1, 1, 3), dtype=np.float32)
    weights[1] = FRAMES
    layer = LayerParameter(name="conv", type="Convolution")
    layer.blobs.extend([array_to_blob(weights), array_to_blob(np.array([0, BIAS], dtype=np.float32))])
    models = folder / "3fm" / "trainedmodel"
    models.mkdir(parents=True, exist_ok=True)
    model = TrainedModel(
        net="3fm", deploy=models.parent / "deploy.prototxt", weights=models / "3fm_classifer_iter_4.caffemodel"
    )
    prototxt.write(model.deploy, text_format.Parse(DEPLOY, NetParameter()))
    write_model(model.weights, NetParameter(name="three frames", layer=[layer]))
    return model


def make_stack(path: Path, volume: np.ndarray) -> Path:
    """Write a volume (z, y, x) as PreprocessPackage does."""
    write_datasets(path, {"data": volume.transpose(2, 1, 0)})
    return path


def logistic_sum(volume: np.ndarray) -> np.ndarray:
    """Probability of the foreground that the net of three frames gives, zeros outside the volume."""
    padded = np.pad(volume.astype(np.float64), ((1, 1), (0, 0), (0, 0)))
    scores = sum(weight * padded[k : k + len(volume)] for k, weight in enumerate(FRAMES)) + BIAS
    return 1 / (1 + np.exp(-scores))


def read_planes(folder: Path) -> np.ndarray:
    """Read `test.h5_shift_<z>.h5` of a folder, which must hold these files and no others: shape (z, 2, x, y)."""
    names = {path.name for path in folder.iterdir()}
    assert names == {f"test.h5_shift_{z}.h5" for z in range(len(names))}
    planes = [np.array(read_dataset(folder / f"test.h5_shift_{z}.h5")) for z in range(len(names))]
    assert {plane.dtype for plane in planes} == {np.dtype(np.float32)}
    return np.concatenate(planes)


class Interrupted(KeyboardInterrupt):
    """A Ctrl-C of the test's own."""


class EngineTests:
    """The conformance suite; subclasses say which engine, and what it makes of a volume."""

    predicts_only_itself = False
    """Whether what an engine predicts does not depend on its weights."""

    odd_name = "a run's \u00e9 folder, 1:2"
    """Name of a folder that shells, lists and mounts may trip over."""

    @pytest.fixture
    def engine(self) -> Engine:
        raise NotImplementedError

    def expected(self, volume: np.ndarray) -> np.ndarray:
        """Probability of the foreground, shape (z, y, x)."""
        return logistic_sum(volume)

    @pytest.fixture
    def job(self, tmp_path):
        """Two stacks of a model whose folders' names are none that shells like."""
        folder = tmp_path / self.odd_name
        (folder / "aug").mkdir(parents=True)
        stacks = [
            (make_stack(folder / "aug" / f"image_stacks_v{k}.h5", addresses(planes)), folder / "out" / f"v{k}")
            for k, planes in ((1, 4), (2, 1))
        ]
        (folder / "out").mkdir()
        return PredictJob(model=make_model(folder / "trained"), stacks=stacks, log=folder / "out" / "out.log")

    @pytest.fixture
    def training(self, tmp_path):
        folder = tmp_path / "trained here" / "1fm"
        solver = make_training(folder, max_iter=3, snapshot=2, iter_size=1)
        return TrainJob(solver=solver, folder=folder, log=folder / "out.log")

    def test_says_what_it_is(self, engine):
        assert isinstance(engine, Engine)
        assert engine.name
        assert not engine.check()
        assert all(isinstance(gpu, int) and gpu >= 0 for gpu in engine.gpus())
        assert "CPU" in engine.device(CPU)
        assert "\n" not in engine.device(CPU)

    def test_predicts_every_plane_of_every_stack(self, engine, job):
        job.log.write_text("what was there\n")
        seen = []
        engine.predict(job, report=lambda progress: seen.append((progress.done, progress.total)))
        for stack, folder in job.stacks:
            volume = np.array(read_dataset(stack)).transpose(2, 1, 0)
            found = read_planes(folder)
            assert found.shape == (len(volume), 2, 32, 16)
            assert_allclose(found.sum(axis=1), 1, atol=1e-5)
            assert_allclose(found[:, 1].transpose(0, 2, 1), self.expected(volume), atol=1e-5)
        assert seen == [(1, 2), (2, 2)]
        assert job.log.read_text().startswith("what was there\n")
        assert len(job.log.read_text().splitlines()) > 1

    def test_takes_relative_paths_and_symbolic_links(self, engine, job, tmp_path, monkeypatch):
        (tmp_path / "link").symlink_to(job.stacks[1][0].parent, target_is_directory=True)
        (tmp_path / "weights.caffemodel").symlink_to(job.model.weights)
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "out").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        monkeypatch.chdir(tmp_path)
        here = type(tmp_path)()
        model = replace(job.model, weights=here / "weights.caffemodel")
        stack = (here / "link" / job.stacks[1][0].name, here / "out" / "v2")
        engine.predict(PredictJob(model=model, stacks=[stack]))
        assert_allclose(read_planes(tmp_path / "elsewhere" / "v2")[0, 1].T, self.expected(addresses(1))[0], atol=1e-5)

    @pytest.mark.parametrize("lost", ["deploy", "weights", "stack"])
    def test_missing_file_is_one_line_that_names_it(self, engine, job, lost):
        path = job.stacks[0][0] if lost == "stack" else getattr(job.model, lost)
        path.unlink()
        with pytest.raises(CDeep3MError) as caught:
            engine.predict(job)
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_damaged_stack_is_one_line_and_leaves_no_planes(self, engine, job):
        stack, folder = job.stacks[0]
        stack.write_bytes(stack.read_bytes()[:600])
        with pytest.raises(CDeep3MError) as caught:
            engine.predict(job)
        assert stack.name in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not folder.exists() or not list(folder.iterdir())

    def test_weights_of_another_net_are_refused(self, engine, job):
        if self.predicts_only_itself:
            pytest.skip("this engine has no weights")
        write_model(job.model.weights, NetParameter(layer=[LayerParameter(name="another", type="Convolution")]))
        with pytest.raises(CDeep3MError) as caught:
            engine.predict(job)
        assert "\n" not in str(caught.value)

    def test_interrupted_prediction_ends_there_and_can_be_taken_up(self, engine, job):
        def interrupt(progress):
            raise Interrupted

        with pytest.raises(Interrupted):
            engine.predict(job, report=interrupt)
        assert len(read_planes(job.stacks[0][1])) == 4
        assert not job.stacks[1][1].exists()
        engine.predict(replace(job, stacks=job.stacks[1:]))
        assert len(read_planes(job.stacks[1][1])) == 1

    def test_training_leaves_snapshots_and_caffe_s_log(self, engine, training):
        training.log.write_text("what was there\n")
        seen = []
        engine.train(training, report=seen.append)
        folder = training.folder / "snap"
        assert {path.name for path in folder.iterdir()} == {
            f"tiny_iter_{k}.{kind}" for k in (2, 3) for kind in ("caffemodel", "solverstate")
        }
        for k in (2, 3):
            assert read_model(folder / f"tiny_iter_{k}.caffemodel").layer
            state = read_state(folder / f"tiny_iter_{k}.solverstate")
            assert state.iter == k
            assert (training.folder / state.learned_net).samefile(folder / f"tiny_iter_{k}.caffemodel")
        assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
        assert (seen[-1].done, seen[-1].total) == (3, 3)
        assert all(progress.loss is not None and math.isfinite(progress.loss) for progress in seen)
        log = training.log.read_text()
        assert log.startswith("what was there\n")
        assert "] Iteration 1, loss = " in log

    def test_training_goes_on_from_a_snapshot_that_was_moved(self, engine, training, tmp_path):
        engine.train(training)
        old = tmp_path / "trained long ago"
        training.folder.parent.rename(old)
        solver = make_training(training.folder, max_iter=5, snapshot=2, iter_size=1)
        seen = []
        job = replace(training, solver=solver, snapshot=old / "1fm" / "snap" / "tiny_iter_3.solverstate")
        engine.train(job, report=seen.append)
        assert min(progress.done for progress in seen) >= 3
        names = {path.name for path in (training.folder / "snap").glob("*.solverstate")}
        assert names == {"tiny_iter_4.solverstate", "tiny_iter_5.solverstate"}

    def test_training_starts_from_weights_and_reads_files_wherever_they_lie(self, engine, training, tmp_path):
        engine.train(replace(training, log=None))
        weights = tmp_path / "w.caffemodel"
        (training.folder / "snap" / "tiny_iter_3.caffemodel").rename(weights)
        data = tmp_path / "on another disk"
        data.mkdir()
        write_volume(data / "far.h5", 3)
        (tmp_path / "link.h5").symlink_to(data / "far.h5")
        (training.folder / "train_file.txt").write_text(f"{tmp_path / 'link.h5'}\n../../on another disk/far.h5\n")
        link = tmp_path / "by another name"
        link.symlink_to(training.folder, target_is_directory=True)
        snapshots = tmp_path / "snapshots"
        snapshots.mkdir()
        make_solver_write_to(training.solver, link / ".." / ".." / "snapshots" / "b")
        seen = []
        engine.train(TrainJob(solver=link / "solver.prototxt", folder=link, weights=weights), report=seen.append)
        assert seen[-1].done == 3
        assert (snapshots / "b_iter_3.caffemodel").is_file()

    @pytest.mark.parametrize("lost", ["solver.prototxt", "train_val.prototxt"])
    def test_missing_part_of_a_training_is_one_line_that_names_it(self, engine, training, lost):
        (training.folder / lost).unlink()
        with pytest.raises(CDeep3MError) as caught:
            engine.train(training)
        assert lost in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_interrupted_training_ends_and_leaves_whole_files(self, engine, training):
        def interrupt(progress):
            raise Interrupted

        with pytest.raises(Interrupted):
            engine.train(training, report=interrupt)
        for path in (training.folder / "snap").iterdir():
            assert not path.name.startswith(".")
            (read_state if path.suffix == ".solverstate" else read_model)(path)

    def test_volumes_in_memory_are_trained_on_or_refused(self, engine, training):
        with h5py.File(training.folder / "train.h5") as file:
            volume = LabelledVolume(file["data"][()], file["label"][()])
        job = replace(training, training=[volume], validation=[volume])
        if isinstance(engine, InProcessEngine):
            engine.train(job)
            assert (training.folder / "snap" / "tiny_iter_3.caffemodel").is_file()
        else:
            with pytest.raises(EngineError, match="in memory"):
                engine.train(job)


class InProcessEngineTests(EngineTests):
    """What engines must do beside, that predict arrays."""

    @pytest.mark.parametrize(("ends_at", "iterations"), [(2, [2]), (None, [2, 3])])
    def test_snapshots_are_handed_over_whole_and_may_end_the_training(self, engine, training, ends_at, iterations):
        seen = []

        def after_snapshot(weights):
            state = read_state(weights.with_suffix(".solverstate"))
            assert read_model(weights).layer
            seen.append(state.iter)
            return state.iter == ends_at

        engine.train(replace(training, after_snapshot=after_snapshot))
        assert seen == iterations
        found = {path.name for path in (training.folder / "snap").glob("*.caffemodel")}
        assert found == {f"tiny_iter_{k}.caffemodel" for k in iterations}

    def test_windows_give_what_files_give(self, engine, job):
        net = engine.load(job.model)
        volume = np.pad(addresses(4), ((1, 1), (0, 0), (0, 0)))
        assert net.frames == 3
        planes = list(net.foreground(volume[z : z + 3] for z in range(4)))
        assert {plane.dtype for plane in planes} == {np.dtype(np.float32)}
        assert_allclose(np.stack(planes), self.expected(addresses(4)), atol=1e-5)

    def test_windows_are_asked_for_as_they_are_needed(self, engine, job):
        asked = []

        def windows():
            for z in range(64):
                asked.append(z)
                yield np.zeros((3, 16, 32), dtype=np.uint8)

        next(engine.load(job.model).foreground(windows()))
        assert len(asked) < 64

    def test_a_net_that_looks_at_its_own_voxel_alone_reaches_no_further(self, engine, job):
        assert isinstance(engine, ReachingEngine)
        assert engine.reach(job.model) == 0

    def test_window_of_another_depth_is_refused(self, engine, job):
        with pytest.raises(CDeep3MError, match="3"):
            list(engine.load(job.model).foreground([np.zeros((5, 16, 32), dtype=np.uint8)]))


def make_solver_write_to(path: Path, prefix: Path) -> None:
    """Change snapshot_prefix."""
    solver = prototxt.read_solver(path)
    solver.snapshot_prefix = str(prefix)
    prototxt.write(path, solver)
