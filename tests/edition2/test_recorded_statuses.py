"""Exit statuses of runprediction.sh in exact mode of the second edition, against its recorded runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cdeep3m.cli import plot_validation, runprediction, runtraining
from cdeep3m.engines import select
from cdeep3m.engines.identity import IdentityEngine
from cdeep3m.errors import CDeep3MError
from cdeep3m.prediction.run import PredictRequest, predict
from cdeep3m.rules import EDITION2
from cdeep3m.volumes.hdf5 import write_datasets
from edition2.recordings import Recording, synth
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


def ended_with(request: PredictRequest) -> int:
    try:
        predict(request, IdentityEngine(), gpu=-1)
    except CDeep3MError as error:
        return error.exit_code
    return 0


PREDICTED = (
    *("done_there", "error_there", "images_missing", "images_missing_denoise0"),
    *("black_plane", "denoise0_speed10", "one_model"),
)

NOT_REPEATED = {
    "help": "help is no error here",
    "runtraining_help_never_ends": "CDeep3M2 never ends (24)",
    "empty_augmentation_folder": "CDeep3M2 trains on a folder without files (28)",
    "tool_fails": "exact mode predicts without Caffe's tool (25)",
    "tool_fails_one_model": "exact mode predicts without Caffe's tool (25)",
    "again_without_DONE": "a finished folder goes on here (26)",
    "after_failure_again": "a failed run goes on here (26)",
}
"""Recorded runs that exact mode does not repeat, and why; numbers are those of the defects."""


@every("status")
def test_a_command_ends_with_the_recorded_status(recorded: Recording, tmp_path, monkeypatch):
    case = recorded.case
    if recorded.name == "augspeed_3":
        arguments = ["--augspeed", "3", str(tmp_path), str(tmp_path), str(tmp_path / "o")]
        assert status_of(runprediction.main, arguments) == case["status"]
        return
    if recorded.name in ("no_args", "runtraining_no_args", "retrain_no_dir"):
        commands = {"runprediction.sh": runprediction.main, "runtraining.sh": runtraining.main}
        monkeypatch.chdir(tmp_path)
        (tmp_path / "aug").mkdir()
        assert status_of(commands[case["arguments"][0]], case["arguments"][1:]) == case["status"]
        return
    if recorded.name == "1fmonly":
        all_nets_are_trained(case, tmp_path, monkeypatch)
        return
    if recorded.name not in PREDICTED:
        pytest.skip(NOT_REPEATED.get(recorded.name, "a run that nothing here describes"))
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


def all_nets_are_trained(case, tmp_path, monkeypatch):
    """Train with an engine that writes what Caffe's tool would, and compare the files and the jobs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(select, "select_engine", lambda name, *, gpu: (FakeTrainingEngine(), [0]))
    (tmp_path / "aug").mkdir()
    stack = synth(3, 8, 8, 1).T.astype(np.float32)
    for number in range(1, 17):
        path = tmp_path / "aug" / f"training_full_stacks_v1_{number}.h5"
        write_datasets(path, {"data": stack, "label": np.float32(stack > 127)})
    assert status_of(runtraining.main, [*case["arguments"][1:-2], "--no-report", *case["arguments"][-2:]]) == 0
    out = tmp_path / case["arguments"][-1]
    assert [name for name in case["files"] if not name.endswith("out.log") and not (out / name).exists()] == []
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
