"""How far around a voxel a trained net looks: by the gradient of a voxel in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from cdeep3m.engines.embedded.net.executor import Net
from cdeep3m.errors import NetError
from cdeep3m.proto import caffe_pb2
from cdeep3m.proto.caffemodel import read_model
from cdeep3m.proto.prototxt import read_net

if TYPE_CHECKING:
    from cdeep3m.engines.base import TrainedModel

SIDE = 384
"""Side of what the net is shown: half of it is the farthest that can be told."""
SHARE = 0.99
"""Of the gradient's absolute values, that lies within reach."""
PLACES = ((0, 0), (5, 3), (10, 8), (3, 13))
"""Voxels beside the middle, in different places of what the net pools."""
GRAY, NOISE = 128.0, 40.0


def reach_of(model: TrainedModel, device: torch.device) -> int:
    """Return within how many voxels along y and x 99 % of the gradient lies.

    Raises
    ------
    NetError
        The net cannot be built or has no gradient.
    """
    net = Net(read_net(model.deploy), phase=caffe_pb2.TEST, device=device)
    net.load_weights(read_model(model.weights))
    frames = net.input_shapes[net.inputs[0]][-1]
    noise = torch.randn((1, 1, SIDE, SIDE, frames), generator=torch.Generator().manual_seed(0))
    window = (GRAY + NOISE * noise).clamp(0, 255).to(device).requires_grad_()
    last = net.layers[-1]
    name = last.bottoms[0] if last.type == "Softmax" else net.outputs[0]
    with torch.enable_grad():
        scores = net.forward({net.inputs[0]: window}, keep=[name])[name]
        return within(gradients(scores, window), SHARE)


def gradients(scores: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """Return the absolute gradient of voxels in the middle, added up as if each were the middle one.

    Parameters
    ----------
    scores : torch.Tensor, shape (1, classes, x, y)
    window : torch.Tensor, shape (1, 1, x, y, frames)

    Returns
    -------
    torch.Tensor, shape (x, y)
    """
    total = torch.zeros(window.shape[2:4], dtype=torch.float64)
    for x, y in PLACES:
        middle = scores[0, 1, SIDE // 2 + x, SIDE // 2 + y] - scores[0, 0, SIDE // 2 + x, SIDE // 2 + y]
        (found,) = torch.autograd.grad(middle, window, retain_graph=True)
        total += found[0, 0].abs().sum(-1).cpu().double().roll((-x, -y), (0, 1))
    return total


def within(gradient: torch.Tensor, share: float) -> int:
    """Return the distance from the middle, along an axis, within which a share of the values lies.

    Parameters
    ----------
    gradient : torch.Tensor, shape (x, y)
    share : float
        In [0, 1].

    Raises
    ------
    NetError
        All values are 0.

    Examples
    --------
    >>> values = torch.zeros(8, 8)
    >>> values[4, 4], values[4, 6] = 97.0, 3.0
    >>> within(values, 0.9), within(values, 0.99)
    (0, 2)
    """
    far = (torch.arange(len(gradient)) - len(gradient) // 2).abs()
    distance = torch.maximum(far[:, None], far[None, :]).flatten()
    sums = torch.zeros(int(far.max()) + 1, dtype=gradient.dtype).index_add_(0, distance, gradient.flatten()).cumsum(0)
    if not float(sums[-1]) > 0:
        raise NetError("the net does not depend on its input; tiles cannot be blended by what it looks at")
    return int((sums < share * sums[-1]).sum())
