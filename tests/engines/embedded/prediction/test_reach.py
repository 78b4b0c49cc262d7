"""How far a net looks: convolutions of known sizes, and nets of which some layers count for little."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from google.protobuf import text_format

from cdeep3m.engines.base import TrainedModel
from cdeep3m.engines.embedded.engine import EmbeddedEngine
from cdeep3m.errors import NetError
from cdeep3m.proto import prototxt
from cdeep3m.proto.caffe_pb2 import LayerParameter, NetParameter
from cdeep3m.proto.caffemodel import array_to_blob, write_model

if TYPE_CHECKING:
    from pathlib import Path

DEPLOY = """
name: "wide"
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: 1 dim: 32 dim: 32 dim: 1 }} }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {{
  num_output: 2 kernel_size: {side} kernel_size: {side} kernel_size: 1 pad: {pad} pad: {pad} pad: 0
}} }}
layer {{ name: "flat" type: "Reshape" bottom: "conv" top: "flat" reshape_param {{
  shape {{ dim: 0 dim: 0 dim: 0 dim: 0 }}
}} }}
layer {{ name: "prob" type: "Softmax" bottom: "flat" top: "prob" }}
"""


def model(folder: Path, kernel: np.ndarray) -> TrainedModel:
    side = len(kernel)
    weights = np.zeros((2, 1, side, side, 1), np.float32)
    weights[1, 0, :, :, 0] = kernel
    layer = LayerParameter(name="conv", type="Convolution")
    layer.blobs.extend([array_to_blob(weights), array_to_blob(np.zeros(2, np.float32))])
    prototxt.write(
        folder / "deploy.prototxt", text_format.Parse(DEPLOY.format(side=side, pad=side // 2), NetParameter())
    )
    write_model(folder / "w.caffemodel", NetParameter(name="wide", layer=[layer]))
    return TrainedModel(net="1fm", deploy=folder / "deploy.prototxt", weights=folder / "w.caffemodel")


@pytest.mark.parametrize("far", [1, 4])
def test_a_kernel_is_looked_at_to_its_edge(far: int, tmp_path: Path) -> None:
    assert EmbeddedEngine().reach(model(tmp_path, np.ones((2 * far + 1, 2 * far + 1)))) == far


def test_what_counts_for_little_is_out_of_reach(tmp_path: Path) -> None:
    kernel = np.zeros((15, 15))
    kernel[7, 7], kernel[7, 9], kernel[0, 7] = 90, -9.5, 0.5
    assert EmbeddedEngine().reach(model(tmp_path, kernel)) == 2


def test_a_net_that_sees_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NetError, match="does not depend on its input"):
        EmbeddedEngine().reach(model(tmp_path, np.zeros((3, 3))))
