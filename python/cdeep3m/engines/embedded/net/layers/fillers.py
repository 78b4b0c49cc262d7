"""How blobs are filled before anything is learnt."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from cdeep3m.errors import NetError
from cdeep3m.proto import caffe_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Filler = Callable[[tuple[int, ...], caffe_pb2.FillerParameter, torch.Generator], torch.Tensor]


def fill(shape: Sequence[int], filler: caffe_pb2.FillerParameter, generator: torch.Generator) -> torch.Tensor:
    """Make a blob as `filler` says.

    Parameters
    ----------
    shape : sequence of int
        Shape of the blob.
    filler : FillerParameter
        Its type and settings.
    generator : torch.Generator
        A generator on the CPU: the same seed gives the same weights for any device.

    Returns
    -------
    torch.Tensor of float32 on the CPU

    Raises
    ------
    NetError
        When the type is unknown or does not fit the shape.
    """
    if filler.type not in FILLERS:
        raise NetError(f"unknown filler {filler.type!r}; known: {', '.join(FILLERS)}")
    return FILLERS[filler.type](tuple(shape), filler, generator)


def constant(shape: tuple[int, ...], filler: caffe_pb2.FillerParameter, generator: torch.Generator) -> torch.Tensor:
    """Give every weight the filler's `value`.

    Returns
    -------
    torch.Tensor of float32, shape `shape`
    """
    del generator
    return torch.full(shape, filler.value)


def uniform(shape: tuple[int, ...], filler: caffe_pb2.FillerParameter, generator: torch.Generator) -> torch.Tensor:
    """Draw from [min, max).

    Returns
    -------
    torch.Tensor of float32, shape `shape`
    """
    return torch.empty(shape).uniform_(filler.min, filler.max, generator=generator)


def gaussian(shape: tuple[int, ...], filler: caffe_pb2.FillerParameter, generator: torch.Generator) -> torch.Tensor:
    """Draw from a normal distribution; with `sparse`, keep that many inputs of each output on average.

    Returns
    -------
    torch.Tensor of float32, shape `shape`
    """
    blob = torch.empty(shape).normal_(filler.mean, filler.std, generator=generator)
    if filler.sparse < 0:
        return blob
    return blob * torch.empty(shape).bernoulli_(min(1.0, filler.sparse / shape[0]), generator=generator)


def xavier(shape: tuple[int, ...], filler: caffe_pb2.FillerParameter, generator: torch.Generator) -> torch.Tensor:
    """Draw from [-sqrt(3 / n), sqrt(3 / n)), n as `fan` counts it.

    Returns
    -------
    torch.Tensor of float32, shape `shape`
    """
    limit = math.sqrt(3 / fan(shape, filler.variance_norm))
    return torch.empty(shape).uniform_(-limit, limit, generator=generator)


def msra(shape: tuple[int, ...], filler: caffe_pb2.FillerParameter, generator: torch.Generator) -> torch.Tensor:
    """Draw from a normal distribution of deviation sqrt(2 / n), n as `fan` counts it.

    Returns
    -------
    torch.Tensor of float32, shape `shape`
    """
    return torch.empty(shape).normal_(0.0, math.sqrt(2 / fan(shape, filler.variance_norm)), generator=generator)


def bilinear(shape: tuple[int, ...], filler: caffe_pb2.FillerParameter, generator: torch.Generator) -> torch.Tensor:
    """Fill every (in, out) pair with the kernel that upsamples bilinearly.

    Returns
    -------
    torch.Tensor of float32, shape `shape`
    """
    del filler, generator
    if len(shape) != 4 or shape[2] != shape[3]:
        raise NetError(f"the bilinear filler needs a square 2-D kernel, found a blob of shape {shape}")
    factor = math.ceil(shape[3] / 2)
    centre = (2 * factor - 1 - factor % 2) / (2.0 * factor)
    line = 1 - (torch.arange(shape[3], dtype=torch.float64) / factor - centre).abs()
    return torch.outer(line, line).float().expand(shape).clone()


def fan(shape: tuple[int, ...], norm: int) -> float:
    """Return the n of xavier and msra: numbers in, out or the mean of both, of a blob of `shape` (Caffe's filler.hpp).

    >>> fan((8, 4, 3, 3), caffe_pb2.FillerParameter.FAN_IN), fan((8, 4, 3, 3), caffe_pb2.FillerParameter.FAN_OUT)
    (36.0, 72.0)
    """
    count = math.prod(shape)
    fan_in = count / shape[0]
    fan_out = count / shape[1] if len(shape) > 1 else float(count)
    if norm == caffe_pb2.FillerParameter.AVERAGE:
        return (fan_in + fan_out) / 2
    return fan_out if norm == caffe_pb2.FillerParameter.FAN_OUT else fan_in


FILLERS: dict[str, Filler] = {
    "constant": constant,
    "uniform": uniform,
    "gaussian": gaussian,
    "xavier": xavier,
    "msra": msra,
    "bilinear": bilinear,
}
