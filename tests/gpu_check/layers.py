"""Every layer on a GPU gives the tops and gradients that it gives on the processor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from google.protobuf import text_format

from cdeep3m.engines.embedded.net.layers import make_layer
from cdeep3m.engines.embedded.net.layers.base import Context, Layer
from cdeep3m.proto.caffe_pb2 import TRAIN, LayerParameter

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOB = (2, 6, 16, 12)
STACK = (2, 3, 12, 10, 5)

CASES: dict[str, tuple[str, tuple[tuple[int, ...], ...], int]] = {
    "Accuracy": ("", ((2, 2, 8, 8), (2, 1, 8, 8)), 2),
    "BatchNorm": ("", (BLOB,), 1),
    "Concat": ("", (BLOB, BLOB), 1),
    "Convolution": ("convolution_param { num_output: 9 kernel_size: 3 pad: 1 stride: 2 }", (BLOB,), 1),
    "Convolution 1x1": ("convolution_param { num_output: 9 kernel_size: 1 }", (BLOB,), 1),
    "Convolution 1x7": ("convolution_param { num_output: 9 kernel_h: 1 kernel_w: 7 pad_w: 3 }", (BLOB,), 1),
    "Convolution, dilated": ("convolution_param { num_output: 3 kernel_size: 3 pad: 2 dilation: 2 }", (BLOB,), 1),
    "Convolution, groups": ("convolution_param { num_output: 4 kernel_size: 3 group: 2 }", (BLOB,), 1),
    "Convolution, 3-D": ("convolution_param { num_output: 4 kernel_size: 3 pad: 1 pad: 1 pad: 0 }", (STACK,), 1),
    "Crop": ("crop_param { axis: 2 offset: 1 }", (BLOB, (2, 6, 9, 7)), 1),
    "Deconvolution": ("convolution_param { num_output: 2 kernel_size: 4 stride: 2 pad: 1 }", (BLOB,), 1),
    "Deconvolution, dilated": (
        "convolution_param { num_output: 2 kernel_size: 4 stride: 2 pad: 7 dilation: 5 }",
        (BLOB,),
        1,
    ),
    "Deconvolution, many": ("convolution_param { num_output: 12 kernel_size: 4 stride: 2 pad: 1 }", (BLOB,), 1),
    "Dropout": ("dropout_param { dropout_ratio: 0.5 }", (BLOB,), 1),
    "Eltwise": ("eltwise_param { coeff: 1 coeff: 0.1 }", (BLOB, BLOB), 1),
    "Flatten": ("", (BLOB,), 1),
    "InnerProduct": ("inner_product_param { num_output: 5 }", (BLOB,), 1),
    "Pooling": ("pooling_param { kernel_size: 3 stride: 2 }", (BLOB,), 1),
    "Pooling AVE": ("pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }", (BLOB,), 1),
    "Power": ("power_param { power: 2 scale: 0.5 shift: 3 }", (BLOB,), 1),
    "ReLU": ("", (BLOB,), 1),
    "Reshape": ("reshape_param { shape { dim: 0 dim: 0 dim: -1 } }", (BLOB,), 1),
    "Scale": ("scale_param { bias_term: true }", (BLOB,), 1),
    "Sigmoid": ("", (BLOB,), 1),
    "Slice": ("slice_param { axis: 1 }", (BLOB,), 2),
    "Softmax": ("", (BLOB,), 1),
    "SoftmaxWithLoss": ("", ((2, 2, 8, 8), (2, 1, 8, 8)), 2),
    "Split": ("", (BLOB,), 2),
    "TanH": ("", (BLOB,), 1),
}
"""Name (its first word is the type), settings, shapes of the bottoms, number of tops."""

WITHOUT_NUMBERS = {"DummyData", "HDF5Data", "Input", "PatchData", "Silence"}
"""Types that read data or do nothing."""

FILLED = 'weight_filler { type: "gaussian" std: 0.2 } bias_filler { type: "constant" value: 0.3 }'
PARAMETERS = ("convolution_param {", "inner_product_param {")


def difference(name: str, device: torch.device) -> float:
    """Return the largest relative difference between a layer's tops and gradients here and on `device`."""
    here, there = (_results(name, place) for place in (torch.device("cpu"), device))
    return max(_relative(one, other) for one, other in zip(here, there, strict=True))


def _results(name: str, device: torch.device) -> list[torch.Tensor]:
    _, shapes, tops = CASES[name]
    layer = _layer(name, device)
    generator = torch.Generator().manual_seed(1)
    bottoms = [torch.randn(shape, generator=generator) for shape in shapes]
    if layer.type in ("Accuracy", "SoftmaxWithLoss"):
        bottoms[1] = (bottoms[1] > 0).float()
    placed = [bottom.to(device).requires_grad_(layer.type != "Accuracy") for bottom in bottoms]
    made = layer.forward(*placed)
    wanted = [blob for blob in (*placed, *layer.blobs) if blob.requires_grad]
    parts = [top for top in made if top.requires_grad]
    gradients: Sequence[torch.Tensor | None] = ()
    if parts:
        weights = [torch.randn(top.shape, generator=generator).to(device) for top in parts]
        gradients = torch.autograd.grad(parts, wanted, weights, allow_unused=True)
    assert len(made) == tops
    return [blob.detach().cpu() for blob in (*made, *gradients, *layer.blobs) if blob is not None]


def _layer(name: str, device: torch.device) -> Layer:
    settings, shapes, tops = CASES[name]
    for parameter in PARAMETERS:
        settings = settings.replace(parameter, f"{parameter} {FILLED}")
    kind = name.split()[0].rstrip(",")
    message = text_format.Parse(f'name: "it" type: "{kind}" {settings}', LayerParameter())
    message.bottom.extend(f"b{i}" for i in range(len(shapes)))
    message.top.extend(f"t{i}" for i in range(tops))
    return make_layer(message, shapes, Context(phase=TRAIN, device=device, generator=torch.Generator().manual_seed(0)))


def _relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    scale = float(expected.double().norm())
    return float((found.double() - expected.double()).norm()) / (scale or 1.0)
