"""One batch of a training: forward, loss, backward; as it is written, or recorded once as a CUDA graph and replayed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from cdeep3m.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdeep3m.engines.base import Precision
    from cdeep3m.engines.embedded.net.executor import Net

    Blobs = Mapping[str, torch.Tensor]

FIRST_WITH_BFLOAT16 = (8, 0)
"""Compute capability from which a GPU computes with bfloat16."""

REPLAYED = {
    *("PatchData", "HDF5Data", "Input", "Reshape", "Split", "Concat", "Eltwise", "Pooling", "ReLU", "Softmax"),
    *("Convolution", "Deconvolution", "BatchNorm", "Scale", "SoftmaxWithLoss"),
}
"""Types of layers that never ask the device for a number, nor the processor for a random one, while they run."""

WARM_UP = 3
"""Batches before one is recorded: by then every kernel has been chosen and made."""

logger = logging.getLogger(__name__)


def number_for(precision: Precision, device: torch.device) -> torch.dtype | None:
    """Return the type that convolutions are computed in where it is not the weights' own float32."""
    if precision == "float32":
        return None
    if device.type != "cuda":
        logger.warning("training with float32: --precision fast is for GPUs")
        return None
    if torch.cuda.get_device_capability(device) < FIRST_WITH_BFLOAT16:
        logger.warning("%s has no bfloat16: training with float32", torch.cuda.get_device_name(device))
        return None
    return torch.bfloat16


class Batches:
    """Runs batches of a net and adds up their gradients.

    Weights, gradients, their sums and all statistics are float32 at any precision.

    Parameters
    ----------
    net : Net
        In TRAIN.
    number : torch.dtype, optional
        Type that convolutions are computed in.
    replayed : bool
        Record a batch as a CUDA graph and replay it where the net's layers allow that: the same kernels, but the
        processor need not call each of them.

    Attributes
    ----------
    replayed : bool
        Whether that is done: gradients then stay where they are.
    """

    def __init__(self, net: Net, *, number: torch.dtype | None = None, replayed: bool = False) -> None:
        self.net, self._number = net, number
        self.replayed = replayed and {layer.type for layer in net.layers} <= REPLAYED
        self._seen = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._given: dict[str, torch.Tensor] = {}
        self._made: tuple[dict[str, torch.Tensor], torch.Tensor] | None = None

    def run(self) -> tuple[Blobs, torch.Tensor]:
        """Run the next batch.

        Returns
        -------
        mapping of str to torch.Tensor
            The net's outputs and its losses; good until the next call.
        torch.Tensor of float32, shape ()
            The weighted sum of the losses; good until the next call.
        """
        given = self.net.read()
        self._seen += 1
        if not self.replayed or self._seen <= WARM_UP:
            return self._plainly(given)
        if self._graph is None:
            self._record(given)
        for name, blob in given.items():
            self._given[name].copy_(blob)
        assert self._graph is not None
        assert self._made is not None
        self._graph.replay()
        return self._made

    def outputs(self, net: Net) -> dict[str, torch.Tensor]:
        """Run a batch of `net` for its outputs and losses alone, at the same precision."""
        with torch.no_grad(), self._short_numbers(net):
            return net.forward(keep=tuple(loss_weights(net)))

    def _plainly(self, given: Blobs) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        with self._short_numbers(self.net):
            result = self.net.forward(keep=tuple(loss_weights(self.net)), given=given)
        loss = total_loss(self.net, result)
        loss.backward()
        return {name: blob.detach() for name, blob in result.items()}, loss.detach()

    def _record(self, given: Blobs) -> None:
        self._given = {name: blob.clone() for name, blob in given.items()}
        torch.cuda.empty_cache()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):  # another thread reads ahead
            self._made = self._plainly(self._given)

    def _short_numbers(self, net: Net) -> torch.autocast:
        kind, used = net.context.device.type, self._number is not None
        return torch.autocast(kind, dtype=self._number or torch.bfloat16, enabled=used, cache_enabled=False)


def loss_weights(net: Net) -> dict[str, float]:
    """Return the blobs that make the loss of `net`, with their weights."""
    pairs = (pair for layer in net.layers for pair in zip(layer.tops, layer.loss_weights, strict=True))
    return {name: weight for name, weight in pairs if weight}


def total_loss(net: Net, blobs: Blobs) -> torch.Tensor:
    """Return the weighted sum of the losses of `net`.

    Raises
    ------
    InputError
        The net has no loss.
    """
    terms = [weight * blobs[name].sum() for name, weight in loss_weights(net).items()]
    if not terms:
        raise InputError("the net has no loss; a layer such as SoftmaxWithLoss was expected")
    return sum(terms[1:], terms[0])
