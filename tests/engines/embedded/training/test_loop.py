"""The training loop: what it logs, tests, writes, and how it goes on after a stop."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch

from cdeep3m.augmentation.settings import Augmentation
from cdeep3m.edition2.settings import Strengths
from cdeep3m.engines.base import LabelledVolume, TrainJob
from cdeep3m.engines.embedded.training.batches import REPLAYED
from cdeep3m.engines.embedded.training.glog import GLog
from cdeep3m.engines.embedded.training.loop import Training, completed_tests, train
from cdeep3m.engines.learning import Learning, Schedule
from cdeep3m.errors import EngineError, FormatError, InputError, MissingFileError
from cdeep3m.proto.caffe_pb2 import SolverParameter
from cdeep3m.proto.caffemodel import blob_to_array, read_model, read_state
from cdeep3m.proto.prototxt import read_solver
from cdeep3m.rules import CORRECTED, ORIGINAL
from cdeep3m.training.run import ignore_voxels_outside
from tiny_training import make_training

PARSE_LOG = {
    "iteration": re.compile(r"Iteration (\d+)"),
    "train": re.compile(r"Train net output #(\d+): (\S+) = ([\.\deE+-]+)"),
    "test": re.compile(r"Test net output #(\d+): (\S+) = ([\.\deE+-]+)"),
    "rate": re.compile(r"lr = ([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?[0-9]+)?)"),
}
"""The expressions of Caffe's parse_log.py."""


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(folder, *, report=None, state=None, weights=None, augmentation=None, learning=None, **settings) -> list[str]:
    solver = make_training(folder, **settings)
    if augmentation:
        ignore_voxels_outside(folder / "train_val.prototxt")
    log = folder / "out.log"
    given = {"snapshot": state, "weights": weights, "augmentation": augmentation, "learning": learning}
    job = TrainJob(solver=solver, folder=folder, log=log, **given)
    train(job, device="cpu", report=report)
    return messages(log)


def messages(log) -> list[str]:
    return [line.split("] ", 1)[1] for line in log.read_text().splitlines() if "] " in line]


def blobs(folder, iteration, name="snap/tiny") -> list[np.ndarray]:
    model = read_model(folder / f"{name}_iter_{iteration}.caffemodel")
    state = read_state(folder / f"{name}_iter_{iteration}.solverstate")
    weights = [blob_to_array(blob) for layer in model.layer for blob in layer.blobs]
    return weights + [blob_to_array(blob) for blob in state.history]


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def written(folder) -> list[str]:
    return sorted(path.name.removeprefix("tiny_iter_") for path in (folder / "snap").iterdir())


def stop_at(iteration, error):
    def report(progress):
        if progress.done == iteration:
            raise error

    return report


def test_a_training_learns(tmp_path):
    losses = []
    run(tmp_path, report=lambda progress: losses.append(progress.loss), max_iter=40, base_lr=0.1)
    assert len(losses) == 40
    assert losses[-1] < 0.85 * losses[0]


def test_the_log_tells_what_caffe_tells_in_its_order(tmp_path):
    log = run(tmp_path, max_iter=2, display=1, test_iter=[2], test_interval=2, snapshot=1, test_initialization=False)
    patterns = [
        r"Use CPU\.",
        r"Initializing solver from parameters: ",
        r"Creating training net from net file: train_val\.prototxt",
        r"Creating test net \(#0\) specified by net file: train_val\.prototxt",
        r"Solver scaffolding done\.",
        r"Starting Optimization",
        r"Solving tiny",
        r"Learning Rate Policy: poly",
        r"Iteration 0, loss = 0\.\d+",
        r"    Train net output #0: loss = (\S+) \(\* 1 = \1 loss\)",
        r"Iteration 0, lr = 0\.05",
        r"Snapshotting to binary proto file snap/tiny_iter_1\.caffemodel",
        r"Snapshotting solver state to binary proto file snap/tiny_iter_1\.solverstate",
        r"Iteration 1, loss = 0\.\d+",
        r"    Train net output #0: loss = (\S+) \(\* 1 = \1 loss\)",
        r"Iteration 1, lr = 0\.0287175",
        r"Snapshotting to binary proto file snap/tiny_iter_2\.caffemodel",
        r"Snapshotting solver state to binary proto file snap/tiny_iter_2\.solverstate",
        r"Iteration 2, loss = 0\.\d+",
        r"Iteration 2, Testing net \(#0\)",
        r"    Test net output #0: accuracy = 0\.\d+",
        r"    Test net output #1: class_Acc = \d\S*",
        r"    Test net output #2: class_Acc = \d\S*",
        r"    Test net output #3: loss = (\S+) \(\* 1 = \1 loss\)",
        r"Optimization Done\.",
        r"Optimization Done\.",
    ]
    assert len(log) == len(patterns)
    assert [line for line, pattern in zip(log, patterns, strict=True) if not re.fullmatch(pattern, line)] == []


def test_parsers_of_caffes_log_read_it(tmp_path):
    run(tmp_path, max_iter=4, test_iter=[1], test_interval=2)
    lines = (tmp_path / "out.log").read_text().splitlines()
    found = {name: [m.groups() for m in map(pattern.search, lines) if m] for name, pattern in PARSE_LOG.items()}
    assert {int(groups[0]) for groups in found["iteration"]} == {0, 1, 2, 3, 4}
    assert [name for _, name, _ in found["train"]] == ["loss"] * 4
    assert [name for _, name, _ in found["test"]] == ["accuracy", "class_Acc", "class_Acc", "loss"] * 3
    assert [float(groups[0]) for groups in found["rate"]] == pytest.approx(
        [0.05 * (1 - i / 4) ** 0.8 for i in range(4)], rel=1e-5
    )
    start = next(line for line in lines if "Solving" in line).split()
    assert 1 <= int(start[0][1:3]) <= 12
    assert 1 <= int(start[0][3:]) <= 31
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{6}", start[1])


@pytest.mark.parametrize(
    ("settings", "iterations"),
    [
        ({"snapshot": 2}, [2, 4, 5]),
        ({"snapshot": 5}, [5]),
        ({}, [5]),
        ({"snapshot": 2, "snapshot_after_train": False}, [2, 4]),
        ({"snapshot_after_train": False}, []),
    ],
)
def test_snapshots_come_at_their_interval_and_at_the_end(tmp_path, settings, iterations):
    run(tmp_path, max_iter=5, **settings)
    assert written(tmp_path) == [f"{i}.{kind}" for i in iterations for kind in ("caffemodel", "solverstate")]


@pytest.mark.parametrize(
    ("settings", "iterations"),
    [({}, [0, 2, 4]), ({"test_initialization": False}, [2, 4]), ({"test_interval": 3}, [0, 3])],
)
def test_tests_come_at_their_interval(tmp_path, settings, iterations):
    log = run(tmp_path, **({"max_iter": 4, "test_iter": [1], "test_interval": 2} | settings))
    assert [line for line in log if "Testing" in line] == [f"Iteration {i}, Testing net (#0)" for i in iterations]


def test_the_shown_loss_is_the_mean_of_the_last_ones(tmp_path):
    log = run(tmp_path, iter_size=1, average_loss=2, max_iter=4)
    shown = [float(line.rsplit(" ", 1)[1]) for line in log if re.match(r"Iteration [0-3], loss", line)]
    losses = [float(line.split(" = ")[1].split(" ")[0]) for line in log if "Train net output" in line]
    expected = [losses[0], *[(a + b) / 2 for a, b in zip(losses, losses[1:], strict=False)]]
    assert shown == pytest.approx(expected, rel=2e-5)


def test_a_seeded_training_repeats_bit_for_bit(tmp_path):
    for name in ("one", "two"):
        run(tmp_path / name)
    run(tmp_path / "other", random_seed=8)
    one, two, other = (blobs(tmp_path / name, 6) for name in ("one", "two", "other"))
    assert same(one, two)
    assert not same(one, other)


def test_an_augmented_training_repeats_bit_for_bit_and_goes_on_where_it_stopped(tmp_path):
    settings = {"snapshot": 3, "augmentation": Augmentation(strengths=Strengths.all_of(6), resize=3)}
    run(tmp_path / "whole", **settings)
    run(tmp_path / "again", **settings)
    run(tmp_path / "plain", snapshot=3)
    part = tmp_path / "part"
    part.mkdir()
    shutil.copytree(tmp_path / "whole" / "snap", part / "snap")
    for path in (part / "snap").glob("*_iter_6.*"):
        path.unlink()
    run(part, state=part / "snap" / "tiny_iter_3.solverstate", **settings)
    whole, again, resumed, plain = (blobs(tmp_path / name, 6) for name in ("whole", "again", "part", "plain"))
    assert same(whole, again)
    assert same(whole, resumed)
    assert not same(whole, plain)


def test_trainings_without_a_seed_differ(tmp_path):
    for name in ("one", "two"):
        run(tmp_path / name, random_seed=-1)
    assert not same(blobs(tmp_path / "one", 6), blobs(tmp_path / "two", 6))


def test_a_resumed_training_equals_one_that_was_not_interrupted(tmp_path):
    settings = {"test_iter": [2], "test_interval": 2, "snapshot": 3}
    whole = run(tmp_path / "whole", **settings)
    part = tmp_path / "part"
    part.mkdir()
    shutil.copytree(tmp_path / "whole" / "snap", part / "snap")
    for path in (part / "snap").glob("*_iter_6.*"):
        path.unlink()
    resumed = run(part, state=part / "snap" / "tiny_iter_3.solverstate", **settings)
    assert same(blobs(part, 6), blobs(tmp_path / "whole", 6))
    tests = [[line for line in log if "Test net output" in line][-8:] for log in (whole, resumed)]
    assert tests[0] == tests[1]


KINDS = {
    "Nesterov": {},
    "AdaGrad": {"momentum": 0.0},
    "RMSProp": {"momentum": 0.0, "rms_decay": 0.9},
    "AdaDelta": {"base_lr": 1.0},
    "Adam": {"base_lr": 0.01},
}
LEARNING = Learning(schedule=Schedule(shape="cosine", warm_up=2), decay=0.1, average=0.9)


def resumed_copy(whole, part, iteration, *, last, **settings):
    """Copy a training without its last snapshot, and go on from an earlier one."""
    part.mkdir()
    shutil.copytree(whole / "snap", part / "snap")
    for path in (part / "snap").glob(f"*_iter_{last}.*"):
        path.unlink()
    run(part, state=part / "snap" / f"tiny_iter_{iteration}.solverstate", **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_every_solver_learns_and_goes_on_bit_for_bit_where_it_stopped(tmp_path, kind):
    settings = {"type": kind, "max_iter": 40, "snapshot": 15, "delta": 1e-6} | KINDS[kind]
    losses = []
    run(tmp_path / "whole", report=lambda progress: losses.append(progress.loss), **settings)
    resumed_copy(tmp_path / "whole", tmp_path / "part", 30, last=40, **settings)
    assert losses[-1] < losses[0]
    assert same(blobs(tmp_path / "whole", 40), blobs(tmp_path / "part", 40))


def test_a_snapshot_holds_the_averages_and_the_training_goes_on_from_its_own_weights(tmp_path):
    settings = {"type": "Adam", "snapshot": 4, "test_iter": [2], "test_interval": 6, "learning": LEARNING}
    whole, part = tmp_path / "whole", tmp_path / "part"
    log = run(whole, **settings)
    resumed_copy(whole, part, 4, last=6, **settings)
    names = [f"{n}.{suffix}" for n in (4, 6) for suffix in ("caffemodel", "solverstate", "unaveraged")]
    assert written(whole) == written(part) == names
    assert same(blobs(whole, 6), blobs(part, 6))
    states = [read_state(whole / "snap" / f"tiny_iter_{n}.solverstate").learned_net for n in (4, 6)]
    assert states == ["snap/tiny_iter_4.unaveraged", "snap/tiny_iter_6.unaveraged"]
    own, averaged = (read_model(whole / "snap" / f"tiny_iter_6.{kind}") for kind in ("unaveraged", "caffemodel"))
    assert own != averaged
    assert "Learning Rate Policy: cosine" in log


def test_tests_are_made_with_the_averages(tmp_path):
    last = {"test_iter": [20], "test_interval": 6, "test_initialization": False, "display": 0}
    log = run(tmp_path, learning=LEARNING, **last)
    shown = [line for line in log if "Test net output" in line][-4:]
    weights = tmp_path / "snap" / "tiny_iter_6.caffemodel"
    again = tmp_path / "again"
    log = run(again, weights=weights, **last | {"max_iter": 0})
    assert [line for line in log if "Test net output" in line][-4:] == shown


def test_averages_start_where_a_training_without_them_stopped(tmp_path):
    run(tmp_path, max_iter=3)
    plain = read_model(tmp_path / "snap" / "tiny_iter_3.caffemodel")
    run(tmp_path, state=tmp_path / "snap" / "tiny_iter_3.solverstate", learning=Learning(average=0.9), max_iter=4)
    before, own, averaged = (
        blob_to_array(model.layer[1].blobs[0])
        for model in (
            plain,
            *(read_model(tmp_path / "snap" / f"tiny_iter_4.{k}") for k in ("unaveraged", "caffemodel")),
        )
    )
    share = 4 / 14
    np.testing.assert_allclose(averaged, share * before + (1 - share) * own, rtol=1e-5)


def test_a_training_does_not_go_on_from_averages_in_place_of_its_own_weights(tmp_path):
    run(tmp_path, max_iter=3, learning=LEARNING)
    (tmp_path / "snap" / "tiny_iter_3.unaveraged").unlink()
    with pytest.raises(MissingFileError, match="tiny_iter_3.unaveraged is not there"):
        run(tmp_path, state=tmp_path / "snap" / "tiny_iter_3.solverstate", learning=LEARNING)


def test_the_state_of_another_type_of_solver_is_refused(tmp_path):
    run(tmp_path, max_iter=3)
    state = tmp_path / "snap" / "tiny_iter_3.solverstate"
    with pytest.raises(FormatError, match="another type of solver"):
        run(tmp_path, state=state, type="Adam")
    with pytest.raises(FormatError, match="another type of solver"):
        run(tmp_path, state=state, type="AdaGrad", momentum=0.0)


@pytest.mark.parametrize("iteration", [1, 4])
def test_an_interrupt_leaves_a_snapshot_that_the_training_goes_on_from(tmp_path, iteration):
    run(tmp_path / "whole")
    part = tmp_path / "part"
    with pytest.raises(KeyboardInterrupt):
        run(part, report=stop_at(iteration, KeyboardInterrupt))
    assert messages(part / "out.log")[-1] == "Optimization stopped early."
    assert written(part) == [f"{iteration}.caffemodel", f"{iteration}.solverstate"]
    run(part, state=part / "snap" / f"tiny_iter_{iteration}.solverstate")
    assert same(blobs(part, 6), blobs(tmp_path / "whole", 6))


def test_an_interrupt_within_an_iteration_undoes_it(tmp_path, monkeypatch):
    from cdeep3m.engines.embedded.net.layers.softmax_with_loss import SoftmaxWithLoss

    run(tmp_path / "whole")
    calls, forward = [], SoftmaxWithLoss.forward

    def interrupted(self, *bottoms):
        calls.append(1)
        if len(calls) == 2 * 3 + 2:
            raise KeyboardInterrupt
        return forward(self, *bottoms)

    part = tmp_path / "part"
    monkeypatch.setattr(SoftmaxWithLoss, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(part)
    monkeypatch.undo()
    run(part, state=part / "snap" / "tiny_iter_3.solverstate")
    assert same(blobs(part, 6), blobs(tmp_path / "whole", 6))


def test_an_interrupt_before_the_first_iteration_writes_nothing(tmp_path, monkeypatch):
    from cdeep3m.engines.embedded.net.layers.patch_data import PatchData

    def interrupted(self, *bottoms):
        raise KeyboardInterrupt

    monkeypatch.setattr(PatchData, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert written(tmp_path) == []


def test_a_full_disk_leaves_the_earlier_snapshots_whole(tmp_path, monkeypatch):
    from cdeep3m.proto import caffemodel

    run(tmp_path, max_iter=2)
    before = blobs(tmp_path, 2)

    def full(self, content):
        self.write_text("some of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caffemodel.Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        run(tmp_path, state=tmp_path / "snap" / "tiny_iter_2.solverstate", max_iter=3)
    assert written(tmp_path) == ["2.caffemodel", "2.solverstate"]
    assert same(blobs(tmp_path, 2), before)


def test_weights_start_a_training_anew(tmp_path):
    run(tmp_path / "first")
    start = tmp_path / "first" / "snap" / "tiny_iter_6.caffemodel"
    run(tmp_path / "second", weights=start, base_lr=0.0, weight_decay=0.0, max_iter=1)
    first, second = (read_model(path) for path in (start, tmp_path / "second" / "snap" / "tiny_iter_1.caffemodel"))
    pairs = zip(first.layer, second.layer, strict=True)
    assert all(a.blobs == b.blobs for a, b in pairs if a.type != "BatchNorm")


def test_test_nets_use_the_very_blobs_that_are_trained(tmp_path):
    solver = make_training(tmp_path, test_iter=[1, 1], test_interval=3, test_net=["train_val.prototxt"])
    with GLog() as log:
        training = Training(
            TrainJob(solver=solver, folder=tmp_path), read_solver(solver), torch.device("cpu"), log, print
        )
    trained = {layer.name: layer.blobs for layer in training.net.layers}
    assert len(training.tests) == 2
    for net in training.tests:
        for layer in net.layers:
            assert all(blob is trained[layer.name][i] for i, blob in enumerate(layer.blobs))


def test_a_training_that_diverges_stops_with_its_last_snapshot(tmp_path):
    with pytest.raises(EngineError, match=r"the loss is nan at iteration \d+: the training diverged"):
        run(tmp_path, base_lr=1e20, max_iter=50, snapshot=1, lr_policy="fixed")
    last = max(int(name.split(".")[0]) for name in written(tmp_path))
    assert f"{last}.solverstate" in written(tmp_path)


def test_volumes_in_memory_replace_files(tmp_path):
    solver = make_training(tmp_path, test_iter=[1], test_interval=3)
    for path in tmp_path.glob("*.h5"):
        path.unlink()
    data = np.random.default_rng(0).integers(0, 255, (5, 12, 14), dtype=np.uint8).transpose(2, 1, 0)
    volume = LabelledVolume(data, data > 140)
    train(TrainJob(solver=solver, folder=tmp_path, training=[volume], validation=[volume]), device="cpu")
    assert written(tmp_path) == ["6.caffemodel", "6.solverstate"]


def test_progress_counts_the_iterations_of_the_whole_training(tmp_path):
    run(tmp_path, max_iter=4, snapshot=2)
    seen = []
    run(tmp_path, max_iter=6, report=seen.append, state=tmp_path / "snap" / "tiny_iter_4.solverstate")
    assert [(p.done, p.total) for p in seen] == [(5, 6), (6, 6)]


def test_a_training_that_repeats_loads_no_compiler_and_leaves_nothing_in_tmpdir(tmp_path):
    solver, temporary = make_training(tmp_path, max_iter=1), tmp_path / "temporary"
    temporary.mkdir()
    program = f"""
import os, sys
os.chdir({str(tmp_path)!r})
from pathlib import Path
from cdeep3m.engines.base import TrainJob
from cdeep3m.engines.embedded.training.loop import train
train(TrainJob(solver=Path({str(solver)!r}), folder=Path(".")), device="cpu")
print([name for name in ("torch._dynamo", "torch._inductor") if name in sys.modules])
"""
    said = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout == "[]\n", said.stderr
    assert list(temporary.iterdir()) == []


def test_the_settings_of_torch_are_left_as_they_were(tmp_path):
    run(tmp_path, max_iter=1)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("settings", "error", "problem"),
    [
        ({"snapshot_prefix": "gone/tiny"}, MissingFileError, "gone of snapshot_prefix is not there"),
        ({"net": "gone.prototxt"}, MissingFileError, r"gone\.prototxt is not there"),
        ({"train_net": "train_val.prototxt"}, InputError, "2 nets to train"),
        ({"test_iter": [1]}, InputError, "without a test_interval"),
        ({"type": "Adamax"}, InputError, "solver type 'Adamax'"),
    ],
)
def test_settings_that_cannot_be_trained_are_told_at_once(tmp_path, settings, error, problem):
    with pytest.raises(error, match=problem):
        run(tmp_path, **settings)
    assert written(tmp_path) == []


def test_snapshot_and_weights_exclude_each_other(tmp_path):
    with pytest.raises(InputError, match="expected one of them"):
        run(tmp_path, state=tmp_path / "a.solverstate", weights=tmp_path / "a.caffemodel")


@pytest.mark.parametrize(
    ("settings", "iteration", "count"),
    [
        ({"test_interval": 10}, 0, 0),
        ({"test_interval": 10}, 1, 1),
        ({"test_interval": 10}, 21, 3),
        ({"test_interval": 10, "test_initialization": False}, 21, 2),
        ({}, 21, 0),
    ],
)
def test_tests_are_counted(settings, iteration, count):
    assert completed_tests(SolverParameter(**settings), iteration) == count


def without_background(folder):
    """Make every voxel of the training's volumes foreground."""
    for path in folder.glob("*.h5"):
        with h5py.File(path, "r+") as file:
            file["label"][...] = 1


def train_in_mode(folder, *, rules):
    train(TrainJob(solver=folder / "solver.prototxt", folder=folder, rules=rules), device="cpu")


@pytest.mark.correction(20, "corrected")
def test_a_training_without_background_goes_on_to_its_end_with_a_warning(tmp_path, caplog):
    make_training(tmp_path)
    without_background(tmp_path)
    train_in_mode(tmp_path, rules=CORRECTED)
    assert written(tmp_path) == ["6.caffemodel", "6.solverstate"]
    assert "training batch without any background voxel; its background weight is 0" in caplog.text
    assert all(np.isfinite(blob).all() for blob in blobs(tmp_path, 6))


@pytest.mark.correction(20, "exact")
def test_a_training_without_background_stops_at_once_in_exact_mode(tmp_path):
    make_training(tmp_path)
    without_background(tmp_path)
    with pytest.raises(InputError, match="without any background voxel: the original stops here"):
        train_in_mode(tmp_path, rules=ORIGINAL)
    assert written(tmp_path) == []


@pytest.mark.correction(20, "same")
def test_a_training_with_background_in_every_batch_is_the_same_in_both_modes(tmp_path, caplog):
    for rules in (ORIGINAL, CORRECTED):
        make_training(tmp_path / rules.name)
        train_in_mode(tmp_path / rules.name, rules=rules)
    assert same(blobs(tmp_path / "original", 6), blobs(tmp_path / "corrected", 6))
    assert not caplog.text


def distance(one, other) -> float:
    """How far the weights of two trainings are apart, relative to their size; BatchNorm's sums would outweigh them."""
    vectors = [np.concatenate([blob.ravel() for blob in found if blob.size > 4]) for found in (one, other)]
    return float(np.linalg.norm(vectors[0] - vectors[1]) / np.linalg.norm(vectors[1]))


def test_on_the_cpu_fast_trainings_are_float32_and_it_is_said(tmp_path, caplog):
    for precision in ("float32", "fast"):
        solver = make_training(tmp_path / precision)
        train(TrainJob(solver=solver, folder=solver.parent, precision=precision), device="cpu")
    assert same(blobs(tmp_path / "float32", 6), blobs(tmp_path / "fast", 6))
    assert caplog.messages == ["training with float32: --precision fast is for GPUs"]


@pytest.mark.gpu
def test_fast_numbers_learn_nearly_the_same_on_a_gpu_and_leave_float32(tmp_path):
    for precision in ("float32", "fast"):
        solver = make_training(tmp_path / precision)
        train(TrainJob(solver=solver, folder=solver.parent, precision=precision), device="cuda")
    assert 0 < distance(blobs(tmp_path / "fast", 6), blobs(tmp_path / "float32", 6)) < 0.05


@pytest.mark.gpu
def test_replayed_batches_learn_what_plain_ones_do(tmp_path, monkeypatch):
    for name, most in (("plain", set()), ("replayed", REPLAYED)):
        monkeypatch.setattr("cdeep3m.engines.embedded.training.batches.REPLAYED", most)
        monkeypatch.setattr("cdeep3m.engines.embedded.training.loop.secrets.randbelow", lambda _: 7)
        solver = make_training(tmp_path / name, random_seed=-1)
        train(TrainJob(solver=solver, folder=solver.parent), device="cuda")
    assert distance(blobs(tmp_path / "replayed", 6), blobs(tmp_path / "plain", 6)) < 1e-3
