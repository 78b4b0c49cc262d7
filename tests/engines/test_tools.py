"""Caffe's tools: which files they need, and what their last words mean."""

from __future__ import annotations

import pytest

from cdeep3m.engines.base import TrainJob
from cdeep3m.engines.job_files import training_files
from cdeep3m.engines.tools import ToolFailure, explanation, last_words
from cdeep3m.errors import FormatError, MissingFileError
from cdeep3m.nets.prototxts import NetMake
from cdeep3m.training.folder import create_run
from tiny_training import make_training

ABORTED = """\
F1122 17:47:32.295583  5892 syncedmem.cpp:56] Check failed: error == cudaSuccess (2 vs. 0)  out of memory
*** Check failure stack trace: ***
    @     0x7f2a6c0e05cd  google::LogMessage::Fail()
    @     0x7f2a6c0e2433  google::LogMessage::SendToLog()
    @           0x40a7fd  main
    @     0x7f2a6b0a5830  __libc_start_main
    @              (nil)  (unknown)
""".splitlines()


def test_failure_names_reason_and_last_words_without_the_stack():
    said = ToolFailure("caffe.bin", 134).explain([line.strip() for line in ABORTED], None)
    assert said == (
        "caffe.bin ended with status 134 (the GPU's memory is too small for this net and batch, or another program "
        "uses it: see nvidia-smi, use another GPU or a smaller batch); its last words: F1122 17:47:32.295583  5892 "
        "syncedmem.cpp:56] Check failed: error == cudaSuccess (2 vs. 0)  out of memory"
    )


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "the GPU's memory is too small"),
        ("Check failed: status == CUDNN_STATUS_SUCCESS (2 vs. 0)  CUDNN_STATUS_ALLOC_FAILED", "the GPU's memory"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "out of memory: close"),
        ("H5FD_write: file write failed: errno = 28, error message = 'No space left on device'", "the disk is full"),
        ("Check failed: error == cudaSuccess (8 vs. 0)  invalid device function", "this build of Caffe does not know"),
        ("(209 vs. 0)  no kernel image is available for execution on the device", "this build of Caffe does not know"),
        ("(35 vs. 0)  CUDA driver version is insufficient for CUDA runtime version", "no GPU that this build"),
        ("(38 vs. 0)  no CUDA-capable device is detected", "no GPU that this build"),
        ("Iteration 3, loss = 0.5", ""),
    ],
)
def test_known_words_are_explained(said, meaning):
    assert explanation(said).startswith(meaning)
    assert bool(explanation(said)) == bool(meaning)


def test_few_last_words_are_enough():
    assert last_words([str(k) for k in range(100)]) == "95 / 96 / 97 / 98 / 99"


def test_training_of_the_published_nets_reads_solver_net_lists_volumes_and_probabilities(tmp_path):
    create_run(tmp_path / "run", make=NetMake(width=32))
    folder = tmp_path / "run" / "1fm"
    (folder / "trainedmodel").mkdir(exist_ok=True)
    volumes = [tmp_path / f"{name}.h5" for name in ("a", "b", "valid")]
    for volume in volumes:
        volume.touch()
    (tmp_path / "run" / "train_file.txt").write_text(f"{volumes[0]}\n\n{volumes[1]}\n")
    (tmp_path / "run" / "valid_file.txt").write_text(f"{volumes[2]}\n")
    files = training_files(TrainJob(solver=folder / "solver.prototxt", folder=folder))
    own = ("solver.prototxt", "train_val.prototxt", "label_class_selection.prototxt")
    lists = (tmp_path / "run" / name for name in ("train_file.txt", "valid_file.txt"))
    assert set(files.reads) == {*volumes, *lists, *(folder / name for name in own)}
    assert files.snapshots == folder / "trainedmodel"


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (
            {"train_file.txt": "nowhere.h5\n"},
            MissingFileError,
            r"nowhere\.h5 is not there, but .*train_file\.txt needs it",
        ),
        ({"train_file.txt": "\n"}, FormatError, r"train_file\.txt is empty"),
        (
            {"train_file.txt": None},
            MissingFileError,
            r"train_file\.txt is not there, but .*train_val\.prototxt needs it",
        ),
        ({"train.h5": None}, MissingFileError, r"train\.h5 is not there"),
    ],
)
def test_missing_file_is_told_with_who_needs_it(tmp_path, change, error, said):
    solver = make_training(tmp_path)
    for name, text in change.items():
        (tmp_path / name).unlink() if text is None else (tmp_path / name).write_text(text)
    with pytest.raises(error, match=said):
        training_files(TrainJob(solver=solver, folder=tmp_path))


def test_folder_of_the_snapshots_must_be_there(tmp_path):
    solver = make_training(tmp_path, snapshot_prefix="elsewhere/a")
    with pytest.raises(MissingFileError, match=r"the folder .*elsewhere of snapshot_prefix"):
        training_files(TrainJob(solver=solver, folder=tmp_path))
