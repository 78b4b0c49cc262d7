"""What real Caffe predicted and trained (reference/caffe), and how to repeat it with the embedded engine."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import h5py
import numpy as np
import torch
from google.protobuf import json_format

from cdeep3m.engines.base import CPU, TrainedModel, TrainJob
from cdeep3m.engines.embedded.engine import EmbeddedEngine
from cdeep3m.engines.embedded.prediction.stacks import window_at
from cdeep3m.engines.embedded.training.loop import train
from cdeep3m.proto import prototxt
from cdeep3m.proto.caffe_pb2 import HDF5DataParameter, NetParameter, SolverParameter
from cdeep3m.proto.caffemodel import blob_to_array, read_model, read_state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cdeep3m.engines.base import Precision

NETS = ("1fm", "3fm", "5fm")
PREDICTIONS = "caffe/prediction"
STEPS = "caffe/training_steps"
OUTPUT = re.compile(r"\] (?:Iteration (\d+), .*|    (Train|Test) net output #(\d+): \S+ = (\S+).*)")

HISTORY_TOLERANCE = 5e-3
BATCH_NORM_TOLERANCE = 1e-5
LOSS_TOLERANCE = 3e-4
"""How far one training step may differ between two independent float32 implementations."""

Outputs = dict[tuple[int, str, int], float]
"""Values of a log by iteration, kind and number of the output."""


# Predictions


def recorded_model(reference: Path, net: str, folder: Path) -> TrainedModel:
    """Return a model that Caffe trained; its deploy.prototxt is written to `folder`."""
    recorded = reference / PREDICTIONS / net
    message = json_format.Parse((recorded / "deploy.json").read_text(), NetParameter())
    prototxt.write(folder / "deploy.prototxt", message)
    return TrainedModel(net=net, deploy=folder / "deploy.prototxt", weights=next(recorded.glob("*.caffemodel")))


def recorded_run(reference: Path, folder: Path) -> Path:
    """Lay the models that Caffe trained out as the folder of a training, and return it."""
    for net in NETS:
        (folder / net / "trainedmodel").mkdir(parents=True)
        model = recorded_model(reference, net, folder / net)
        shutil.copy(model.weights, folder / net / "trainedmodel" / f"{net}_classifer_iter_240.caffemodel")
    return folder


def recorded_volume(reference: Path, net: str, volume: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images (z, y, x) and what Caffe predicted for them (z, class, x, y)."""
    with np.load(reference / PREDICTIONS / net / f"{volume}.npz") as arrays:
        return arrays["data"].transpose(2, 1, 0), arrays["prob"]


def predicted(model: TrainedModel, data: np.ndarray, *, gpu: int = CPU, precision: Precision = "float32") -> np.ndarray:
    """Predict every plane of a volume as predict_seg_new.bin does: (z, class, x, y)."""
    net = EmbeddedEngine().load(model, gpu=gpu, precision=precision)
    return np.stack(list(net.probabilities(window_at(data, z, net.frames) for z in range(len(data)))))


def foreground_pairs(found: np.ndarray, expected: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the foreground of every plane of two predictions."""
    for one, other in zip(found, expected, strict=True):
        yield one[1], other[1]


# Training steps


def make_steps(steps: Path, folder: Path) -> None:
    """Make a working folder whose net reads the recorded batches, in their order."""
    (folder / "snap").mkdir()
    message = json_format.ParseDict(json.loads((steps / "train_val.json").read_text()), NetParameter())
    for layer, phase in zip(message.layer, ("train", "test"), strict=False):
        assert layer.type == "PatchData"
        layer.type = "HDF5Data"
        layer.hdf5_data_param.CopyFrom(HDF5DataParameter(source=f"{phase}.txt", batch_size=2))
        _write_batches(folder, steps / "batches.npz", phase)
    prototxt.write(folder / "train_val.prototxt", message)
    solver = json_format.ParseDict(json.loads((steps / "solver.json").read_text()), SolverParameter())
    prototxt.write(folder / "solver.prototxt", solver)


def _write_batches(folder: Path, path: Path, phase: str) -> None:
    with np.load(path) as batches:
        names = sorted(name.removesuffix("_data") for name in batches if re.fullmatch(rf"{phase}_\d+_data", name))
        for name in names:
            with h5py.File(folder / f"{name}.h5", "w") as file:
                file["data"], file["label"] = batches[f"{name}_data"], batches[f"{name}_label"]
    (folder / f"{phase}.txt").write_text("".join(f"{name}.h5\n" for name in names))


def train_from(folder: Path, state: Path, *, device: str = "cpu", precision: Precision = "float32") -> Outputs:
    """Go on from one of Caffe's solver states; return what is logged. Snapshots go to `folder`/snap."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    path = folder / f"{state.stem}.log"
    job = TrainJob(solver=folder / "solver.prototxt", folder=folder, snapshot=state, log=path, precision=precision)
    train(job, device=device)
    torch.set_num_threads(threads)
    return outputs(path)


def outputs(path: Path) -> Outputs:
    """Return the values of a log."""
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


def snapshot(folder: Path, net: str, iteration: int) -> tuple[NetParameter, object]:
    """Return the model and the state of a snapshot."""
    stem = f"{net}_classifer_iter_{iteration}"
    return read_model(folder / f"{stem}.caffemodel"), read_state(folder / f"{stem}.solverstate")


def history_error(folder: Path, steps: Path, net: str) -> float:
    """Relative L2 error of the history after the step from Caffe's snapshot 1 to 2, over all blobs but BatchNorm's."""
    (_, ours), (model, theirs) = snapshot(folder / "snap", net, 2), snapshot(steps, net, 2)
    histories = [
        np.concatenate([blob_to_array(blob).ravel() for blob, kind in pairs if kind != "BatchNorm"])
        for pairs in (zip(state.history, owners(model), strict=True) for state in (ours, theirs))
    ]
    return relative_error(*histories)


def batch_norm_error(folder: Path, steps: Path, net: str) -> float:
    """Largest relative error of a BatchNorm blob, or of its history, after the same step."""
    (ours, our_state), (theirs, their_state) = snapshot(folder / "snap", net, 2), snapshot(steps, net, 2)
    models = [
        [blob for layer in model.layer if layer.type == "BatchNorm" for blob in layer.blobs] for model in (ours, theirs)
    ]
    histories = [
        [blob for blob, kind in zip(state.history, owners(theirs), strict=True) if kind == "BatchNorm"]
        for state in (our_state, their_state)
    ]
    pairs = [*zip(*models, strict=True), *zip(*histories, strict=True)]
    return max(relative_error(blob_to_array(found), blob_to_array(expected)) for found, expected in pairs)


def owners(model: NetParameter) -> list[str]:
    """Type of the layer that each blob of the history belongs to."""
    return [layer.type for layer in model.layer for _ in layer.blobs]


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """L2 norm of the difference, relative to what is expected."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
