"""Caffe's tools as programs: small stand-ins record how they were called."""

from __future__ import annotations

import sys

import pytest

from cdeep3m.engines.base import CPU, PredictJob, Progress, TrainedModel, TrainJob
from cdeep3m.engines.identity import write_snapshot
from cdeep3m.engines.local import LocalCaffe
from cdeep3m.engines.select import select_engine
from cdeep3m.errors import EngineError
from cdeep3m.proto.caffe_pb2 import SolverParameter
from tiny_training import make_training

TOOL = f"""#!{sys.executable}
import pathlib, sys
print(pathlib.Path.cwd())
print("\\n".join(sys.argv[1:]))
print("I1122 17:47:32.295583  5892 solver.cpp:237] Iteration 4, loss = 0.5")
if "fail" in sys.argv[0]:
    print("Check failed: error == cudaSuccess (2 vs. 0)  out of memory")
    sys.exit(3)
for argument in sys.argv:
    if argument.startswith("--predict="):
        pathlib.Path(argument.split("=", 1)[1] + "_shift_0.h5").touch()
"""


@pytest.fixture
def tools(tmp_path, monkeypatch):
    folder = tmp_path / "caffe" / ".build_release" / "tools"
    folder.mkdir(parents=True)
    for name in ("caffe.bin", "predict_seg_new.bin"):
        (folder / name).write_text(TOOL)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("CAFFE_PATH", str(tmp_path / "caffe"))
    return folder


@pytest.fixture
def solver(tmp_path):
    return make_training(tmp_path / "run", max_iter=8)


def test_auto_takes_caffe_where_caffe_path_says_so(tools):
    engine, gpus = select_engine("auto", gpu="-1")
    assert engine.name == "caffe"
    assert gpus == [CPU]


def test_missing_tools_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CAFFE_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match=r"caffe\.bin was not found: set CAFFE_PATH"):
        select_engine("caffe")


@pytest.mark.parametrize(("name", "message"), [("tensorrt", "no engine is called"), ("embedded", "no GPU")])
def test_wrong_choices_are_told(name, message):
    with pytest.raises(EngineError, match=message):
        select_engine(name, gpu="first")


def test_training_calls_caffe_in_the_job_s_folder(tools, tmp_path, solver):
    seen: list[Progress] = []
    log = tmp_path / "out.log"
    write_snapshot(tmp_path / "a", 3)
    job = TrainJob(solver=solver, folder=solver.parent, snapshot=tmp_path / "a.solverstate", log=log, gpu=1)
    LocalCaffe.from_environment().train(job, report=seen.append)
    lines = log.read_text().splitlines()
    assert lines[:5] == [str(solver.parent), "train", f"--solver={solver}", f"--snapshot={job.snapshot}", "--gpu=1"]
    assert seen == [Progress(4, 8, 0.5)]


def test_training_on_the_cpu_says_so_in_the_solver_as_caffe_wants_it(tools, tmp_path):
    solver = make_training(tmp_path / "run", solver_mode=SolverParameter.GPU)
    log = tmp_path / "out.log"
    (tools / "caffe.bin").write_text(TOOL + "print(pathlib.Path(sys.argv[2].split('=')[1]).read_text())\n")
    LocalCaffe.from_environment().train(TrainJob(solver=solver, folder=solver.parent, log=log))
    assert "solver_mode: CPU" in log.read_text()
    assert "--gpu" not in log.read_text()
    assert "GPU" in solver.read_text()


def test_prediction_calls_the_tool_once_a_stack(tools, tmp_path):
    for name in ("deploy.prototxt", "w.caffemodel", "image_stacks_v1.h5", "image_stacks_v2.h5"):
        (tmp_path / name).touch()
    model = TrainedModel(net="1fm", deploy=tmp_path / "deploy.prototxt", weights=tmp_path / "w.caffemodel")
    stacks = [(tmp_path / f"image_stacks_v{k}.h5", tmp_path / f"v{k}") for k in (1, 2)]
    LocalCaffe.from_environment().predict(PredictJob(model=model, stacks=stacks, log=tmp_path / "log"))
    assert (tmp_path / "v1" / "test.h5_shift_0.h5").exists()
    assert (tmp_path / "v2" / "test.h5_shift_0.h5").exists()
    assert "--shift_axis=2\n--shift_stride=1\n--gpu=-1\n" in (tmp_path / "log").read_text()


def test_a_failure_tells_the_last_words_and_the_remedy(tools, tmp_path, solver):
    (tools / "caffe.bin").rename(tools / "fail.bin")
    engine = LocalCaffe({"caffe.bin": tools / "fail.bin"})
    with pytest.raises(EngineError, match=r"status 3.*smaller batch.*last words.*out of memory"):
        engine.train(TrainJob(solver=solver, folder=solver.parent))
