"""A training that takes a fraction of a second: a net of two convolutions, and volumes that it can learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
from google.protobuf import text_format

from cdeep3m.proto import prototxt
from cdeep3m.proto.caffe_pb2 import NetParameter, SolverParameter

if TYPE_CHECKING:
    from pathlib import Path

NET = """
name: "tiny"
layer {
  name: "data" type: "PatchData" top: "data" top: "label" include { phase: TRAIN }
  patch_sampler_param {
    batch_size: 2 data_patch_shape { dim: 8 dim: 8 dim: 3 } label_patch_shape { dim: 8 dim: 8 dim: 1 }
  }
  data_provider_param { data_source: "train_file.txt" batch_size: 16 backend: HDF5 }
}
layer {
  name: "data" type: "PatchData" top: "data" top: "label" include { phase: TEST }
  patch_sampler_param {
    batch_size: 3 data_patch_shape { dim: 8 dim: 8 dim: 3 } label_patch_shape { dim: 8 dim: 8 dim: 1 }
  }
  data_provider_param { data_source: "valid_file.txt" batch_size: 1 backend: HDF5 }
}
layer {
  name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param {
    num_output: 4 kernel_size: 3 kernel_size: 3 kernel_size: 3 pad: 1 pad: 1 pad: 0 weight_filler { type: "xavier" }
  }
}
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer {
  name: "score" type: "Convolution" bottom: "conv" top: "score"
  convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "gaussian" std: 0.1 } }
}
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
layer {
  name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy" top: "class_Acc"
  include { phase: TEST }
}
"""

SOLVER = SolverParameter(
    net="train_val.prototxt",
    base_lr=0.05,
    lr_policy="poly",
    power=0.8,
    momentum=0.9,
    weight_decay=5e-4,
    max_iter=6,
    iter_size=2,
    average_loss=4,
    display=1,
    snapshot_prefix="snap/tiny",
    random_seed=7,
)


def make_training(folder: Path, **settings) -> Path:
    """Write net, solver (with `settings` changed) and volumes to `folder`; return the solver's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "snap").mkdir(exist_ok=True)
    prototxt.write(folder / "train_val.prototxt", text_format.Parse(NET, NetParameter()))
    for name, seed in (("train", 0), ("valid", 1)):
        write_volume(folder / f"{name}.h5", seed)
        (folder / f"{name}_file.txt").write_text(f"{name}.h5\n")
    solver = SolverParameter()
    solver.CopyFrom(SOLVER)
    solver.MergeFrom(SolverParameter(**settings))
    prototxt.write(folder / "solver.prototxt", solver)
    return folder / "solver.prototxt"


def write_volume(path: Path, seed: int) -> None:
    """Write a volume whose bright voxels are the foreground."""
    data = np.random.default_rng(seed).integers(0, 255, (14, 12, 5), dtype=np.uint8)
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = data, (data > 140).astype(np.uint8)
