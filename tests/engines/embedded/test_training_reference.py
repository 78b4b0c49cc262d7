"""Training steps that Caffe recorded come out of this engine, through solver, list files and snapshots."""

from __future__ import annotations

import json
import re

import h5py
import numpy as np
import pytest
import torch
from google.protobuf import json_format

from cdeep3m.engines.base import TrainJob
from cdeep3m.engines.embedded.training import train
from cdeep3m.proto import prototxt
from cdeep3m.proto.caffe_pb2 import HDF5DataParameter, NetParameter, SolverParameter
from cdeep3m.proto.caffemodel import blob_shape, blob_to_array, read_model, read_state

NETS = ("1fm", "3fm", "5fm")
STEPS = "caffe/training_steps"
OUTPUT = re.compile(r"\] (?:Iteration (\d+), .*|    (Train|Test) net output #(\d+): \S+ = (\S+).*)")


@pytest.fixture(scope="module", params=NETS)
def net(request):
    return request.param


@pytest.fixture(scope="module")
def steps(reference, net):
    return reference / STEPS / net


@pytest.fixture(scope="module")
def folder(steps, tmp_path_factory):
    """A working folder whose net reads the recorded batches, in their order."""
    folder = tmp_path_factory.mktemp("steps")
    (folder / "snap").mkdir()
    message = json_format.ParseDict(json.loads((steps / "train_val.json").read_text()), NetParameter())
    for layer, phase in zip(message.layer, ("train", "test"), strict=False):
        assert layer.type == "PatchData"
        layer.type = "HDF5Data"
        layer.hdf5_data_param.CopyFrom(HDF5DataParameter(source=f"{phase}.txt", batch_size=2))
        write_batches(folder, steps / "batches.npz", phase)
    prototxt.write(folder / "train_val.prototxt", message)
    solver = json_format.ParseDict(json.loads((steps / "solver.json").read_text()), SolverParameter())
    prototxt.write(folder / "solver.prototxt", solver)
    return folder


@pytest.fixture(scope="module")
def log(folder, steps, net):
    """What our training logs that goes on from Caffe's snapshot of step 1."""
    return train_from(folder, steps / f"{net}_classifer_iter_1.solverstate")


def write_batches(folder, path, phase):
    with np.load(path) as batches:
        names = sorted(name.removesuffix("_data") for name in batches if re.fullmatch(rf"{phase}_\d+_data", name))
        for name in names:
            with h5py.File(folder / f"{name}.h5", "w") as file:
                file["data"], file["label"] = batches[f"{name}_data"], batches[f"{name}_label"]
    (folder / f"{phase}.txt").write_text("".join(f"{name}.h5\n" for name in names))


def train_from(folder, state):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    path = folder / f"{state.stem}.log"
    train(TrainJob(solver=folder / "solver.prototxt", folder=folder, snapshot=state, log=path), device="cpu")
    torch.set_num_threads(threads)
    return outputs(path)


def outputs(path) -> dict[tuple[int, str, int], float]:
    """Return the values of a log by iteration, kind and number of the output."""
    values, iteration = {}, 0
    for line in path.read_text().splitlines():
        if not (match := OUTPUT.search(line)):
            continue
        if match[1]:
            iteration = int(match[1])
            if "loss" in line:
                values[iteration, "Smoothed", 0] = float(line.rsplit(" ", 1)[1])
        else:
            values[iteration, match[2], int(match[3])] = float(match[4])
    return values


def read(folder, net, iteration):
    stem = f"{net}_classifer_iter_{iteration}"
    return read_model(folder / f"{stem}.caffemodel"), read_state(folder / f"{stem}.solverstate")


def owners(model) -> list[str]:
    """Type of the layer that each blob of the history belongs to."""
    return [layer.type for layer in model.layer for _ in layer.blobs]


def relative_error(found, expected) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_the_first_step_gives_caffes_history(folder, steps, net, log):
    (_, ours), (model, theirs) = read(folder / "snap", net, 2), read(steps, net, 2)
    histories = [
        np.concatenate([blob_to_array(blob).ravel() for blob, kind in pairs if kind != "BatchNorm"])
        for pairs in (zip(state.history, owners(model), strict=True) for state in (ours, theirs))
    ]
    assert relative_error(*histories) <= 5e-3


def test_the_first_step_gives_caffes_batch_statistics(folder, steps, net, log):
    (ours, our_state), (theirs, their_state) = read(folder / "snap", net, 2), read(steps, net, 2)
    models = [
        [blob for layer in model.layer if layer.type == "BatchNorm" for blob in layer.blobs] for model in (ours, theirs)
    ]
    histories = [
        [blob for blob, kind in zip(state.history, owners(theirs), strict=True) if kind == "BatchNorm"]
        for state in (our_state, their_state)
    ]
    for found, expected in (*zip(*models, strict=True), *zip(*histories, strict=True)):
        assert relative_error(blob_to_array(found), blob_to_array(expected)) <= 1e-5


def test_losses_follow_caffes_log(steps, log):
    """Float noise grows many times in each step (one ReLU that flips is enough): close at first, alike later."""
    expected = outputs(steps / "out.log")
    for iteration, tolerance in ((1, 3e-4), (2, 2e-3), (3, 0.05), (4, 0.15), (5, 0.15)):
        assert log[iteration, "Train", 0] == pytest.approx(expected[iteration, "Train", 0], abs=tolerance)


def test_the_last_pass_and_test_give_caffes_outputs(folder, steps, net):
    """The final display pass moves the running statistics before the test, in Caffe and here."""
    found = train_from(folder, steps / f"{net}_classifer_iter_6.solverstate")
    expected = {key: value for key, value in outputs(steps / "out.log").items() if key[0] == 6}
    assert found.keys() == expected.keys()
    assert len(found) == 5
    assert found == pytest.approx(expected, abs=3e-4, rel=1e-4)


def test_snapshots_have_the_structure_of_caffes(folder, steps, net, log):
    (ours, our_state), (theirs, their_state) = read(folder / "snap", net, 2), read(steps, net, 2)
    assert ours.name == theirs.name
    shapes = [
        [(layer.name, layer.type, [blob_shape(blob) for blob in layer.blobs]) for layer in model.layer if layer.blobs]
        for model in (ours, theirs)
    ]
    assert shapes[0] == shapes[1]
    made_by_caffe = {layer.name for layer in theirs.layer if layer.type == "Split"}
    assert [layer.name for layer in ours.layer] == [
        layer.name for layer in theirs.layer if layer.name not in made_by_caffe
    ]
    assert [blob_shape(blob) for blob in our_state.history] == [blob_shape(blob) for blob in their_state.history]
    assert (our_state.iter, our_state.current_step) == (their_state.iter, their_state.current_step)
    assert our_state.learned_net == f"snap/{net}_classifer_iter_2.caffemodel"
