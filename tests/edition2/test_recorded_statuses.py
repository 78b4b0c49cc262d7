"""Exit statuses of runprediction.sh in exact mode of the second edition, against its recorded runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cdeep3m.cli import plot_validation, runprediction, runtraining
from cdeep3m.engines import select
from cdeep3m.engines.identity import IdentityEngine
from cdeep3m.errors import CDeep3MError, RunError
from cdeep3m.prediction.run import PredictRequest, predict
from cdeep3m.rules import EDITION2
from cdeep3m.volumes.hdf5 import write_datasets
from edition2.recordings import UNKNOWN, Recording, recordings, synth
from edition2.test_recorded_commands import status_of
from edition2.test_recorded_steps import every
from fake_training_engine import FakeTrainingEngine
from octave_cases import png_folder

HERE = ("augimages", "augimages/temp")
"""What CDeep3M2 leaves of its packages; arrays in memory leave nothing."""


def request_of(recorded: Recording, tmp_path) -> PredictRequest:
    """What a recorded command asked for, with the input that it had."""
    words = recorded.case["arguments"][1:]
    for net in ("1fm", "3fm", "5fm"):
        models = tmp_path / "model" / net / "trainedmodel"
        models.mkdir(parents=True)
        (models / f"{net}_classifer_iter_2.caffemodel").write_bytes(b"weights")
        (models.parent / "deploy.prototxt").touch()
    stack = synth(2, 40, 30, 1)
    png_folder(tmp_path / "img", stack)
    png_folder(tmp_path / "blk", np.stack([stack[0], np.zeros_like(stack[0])]))
    option = dict(zip(words, words[1:], strict=False))
    return PredictRequest(
        trained=tmp_path / words[-3],
        images=tmp_path / words[-2],
        out=tmp_path / words[-1],
        nets=tuple(option.get("--models", "1fm,3fm,5fm").split(",")),
        aug_speed=int(option.get("--augspeed", 10)),
        denoise=int(option["--denoise"]) if "--denoise" in option else None,
        rules=EDITION2,
    )


def ended_with(request: PredictRequest, engine: IdentityEngine | None = None) -> int:
    try:
        predict(request, engine or IdentityEngine(), gpu=-1)
    except CDeep3MError as error:
        return error.exit_code
    return 0


PREDICTED = (
    *("done_there", "error_there", "images_missing", "images_missing_denoise0"),
    *("black_plane", "denoise0_speed10", "one_model"),
)

ONE_FAILS = ("tool_fails", "tool_fails_one_model")
"""Runs whose nets fail."""
AGAIN = {"again_without_DONE": "denoise0_speed10", "after_failure_again": "tool_fails"}
"""Runs in a folder that another recorded one left behind."""
TYPED = ("no_args", "runtraining_no_args", "retrain_no_dir", "help")


class FailingEngine(IdentityEngine):
    """An engine whose nets fail."""

    def load(self, model, *, gpu=-1, precision="float32"):
        raise RunError("no net today")


def of_the_name(name: str, beside: Recording) -> Recording:
    """The recorded case of a name, from the file of another one."""
    return next(other for other in recordings("status") if (other.name, other.path) == (name, beside.path))


@every("status")
def test_a_command_ends_with_the_recorded_status(recorded: Recording, tmp_path, monkeypatch):
    case = recorded.case
    if recorded.name == "augspeed_3":
        arguments = ["--augspeed", "3", str(tmp_path), str(tmp_path), str(tmp_path / "o")]
        assert status_of(runprediction.main, arguments) == case["status"]
        return
    if recorded.name in TYPED:
        commands = {"runprediction.sh": runprediction.main, "runtraining.sh": runtraining.main}
        monkeypatch.chdir(tmp_path)
        (tmp_path / "aug").mkdir()
        assert status_of(commands[case["arguments"][0]], case["arguments"][1:]) == case["status"]
        return
    if recorded.name in ("1fmonly", "empty_augmentation_folder"):
        all_nets_are_trained(case, tmp_path, monkeypatch, files=16 if recorded.name == "1fmonly" else 0)
        return
    if recorded.name in ONE_FAILS:
        request = request_of(recorded, tmp_path)
        assert ended_with(request, FailingEngine()) == case["status"]
        assert (request.out / "ERROR").read_text().splitlines()[-1] == case["text"]["ERROR"].splitlines()[-1]
        return
    if recorded.name in AGAIN:
        request = request_of(of_the_name(AGAIN[recorded.name], recorded), tmp_path)
        failed = AGAIN[recorded.name] in ONE_FAILS
        ended_with(request, FailingEngine() if failed else IdentityEngine())
        for marker in ("DONE", "ERROR", "KILL.REQUEST"):
            (request.out / marker).unlink(missing_ok=True)
        assert ended_with(request) == case["status"]
        assert (request.out / "ERROR").read_text().splitlines()[-1] == case["text"]["ERROR"].splitlines()[-1]
        return
    if recorded.name not in PREDICTED:
        pytest.skip(UNKNOWN)
    request = request_of(recorded, tmp_path)
    request.out.mkdir()
    for marker in ("DONE", "ERROR"):
        if {"done_there": "DONE", "error_there": "ERROR"}.get(recorded.name) == marker:
            (request.out / marker).write_text("success\n0\n")
    assert ended_with(request) == case["status"]
    if case["status"] == 0 and recorded.name != "done_there":
        left = [name for name in case["files"] if not name.startswith(HERE)]
        assert [name for name in left if not (request.out / name).exists()] == []
        for link, target in case["links"].items():
            assert (request.out / link).readlink().name == target


def all_nets_are_trained(case, tmp_path, monkeypatch, *, files: int):
    """Train with an engine that writes what Caffe's tool would, and compare the files and the jobs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(select, "select_engine", lambda name, *, gpu: (FakeTrainingEngine(), [0]))
    augmented, out = (tmp_path / word for word in case["arguments"][-2:])
    augmented.mkdir()
    stack = synth(3, 8, 8, 1).T.astype(np.float32)
    for number in range(1, files + 1):
        path = augmented / f"training_full_stacks_v1_{number}.h5"
        write_datasets(path, {"data": stack, "label": np.float32(stack > 127)})
    assert status_of(runtraining.main, [*case["arguments"][1:-2], "--no-report", *case["arguments"][-2:]]) == 0
    assert [name for name in case["files"] if not name.endswith("out.log") and not (out / name).exists()] == []
    if "text" not in case:
        return
    recorded, written = case["text"]["parallel.jobs"].splitlines(), (out / "parallel.jobs").read_text().splitlines()
    assert len(written) == len(recorded)
    for ours, theirs in zip(written, recorded, strict=True):
        numbers = [word.replace("-", "").replace(".", "").replace("e", "").isdigit() for word in (ours, theirs)]
        assert float(ours) == float(theirs) if all(numbers) else ours.rsplit("/", 1)[-1] == theirs


def test_an_exact_prediction_needs_an_engine_that_predicts_arrays(tmp_path):
    recorded = Recording("x", {"arguments": ["", "--denoise", "0", "model", "img", "out"]}, tmp_path)
    request = replace(request_of(recorded, tmp_path), nets=("1fm",))
    with pytest.raises(CDeep3MError, match="embedded engine"):
        predict(request, FakeTrainingEngine(), gpu=-1)


def test_validation_is_plotted_under_the_names_of_the_second_edition(tmp_path):
    (tmp_path / "log.train").write_text("NumIters,Seconds,LearningRate,loss_deconv_all\n0,1,0.1,0.7\n3,2,0.1,0.5\n")
    (tmp_path / "log.test").write_text("NumIters,Seconds,LearningRate,accuracy_conv,loss_deconv_all\n0,1,0.1,0.6,0.7\n")
    assert plot_validation.main(["--edition", "2", str(tmp_path)]) == 0
    for name in ("loss.png", "loss.pdf", "accuracy.png", "accuracy.pdf"):
        assert (tmp_path / name).read_bytes()[:4] in (b"\x89PNG", b"%PDF")
