"""One batch of a training: forward, loss, backward; as it is written, or recorded once as a CUDA graph and replayed."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch

from cdeep3m.engines.embedded.net.layers.convolution import Convolution
from cdeep3m.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cdeep3m.engines.base import Precision
    from cdeep3m.engines.embedded.net.executor import Net
    from cdeep3m.engines.embedded.net.layers.base import Layer

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
    together : bool, optional
        Round weights, and add up gradients, in a few kernels for all blobs instead of some for each; weights then lie
        with the channels innermost, as convolutions take them. Default: on a GPU.

    Attributes
    ----------
    replayed : bool
        Whether that is done: gradients then stay where they are.
    """

    def __init__(
        self,
        net: Net,
        *,
        number: torch.dtype | None = None,
        replayed: bool = False,
        together: bool | None = None,
    ) -> None:
        self.net, self._number = net, number
        self._together = net.context.device.type == "cuda" if together is None else together
        if self._together:
            lay_out(net)
        self._rounded = Rounded.of(net, number) if self._together and number is not None else None
        self._learnt = [item.blob for item in net.learnable]
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
        """Run a batch of `net` for its outputs and losses alone, at the same precision.

        Returns
        -------
        dict of str to torch.Tensor, shapes as the net gives them
        """
        with torch.no_grad(), self._short_numbers(net):
            return net.forward(keep=tuple(loss_weights(net)))

    def _plainly(self, given: Blobs) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        if self._rounded is not None:
            self._rounded.refresh()
        with self._short_numbers(self.net), self._rounded or nullcontext():
            result = self.net.forward(keep=tuple(loss_weights(self.net)), given=given)
        loss = total_loss(self.net, result)
        if self._together:
            self._add_gradients(loss)
        else:
            loss.backward()
        return {name: blob.detach() for name, blob in result.items()}, loss.detach()

    def _add_gradients(self, loss: torch.Tensor) -> None:
        """Add a batch's gradients to those that there are, all blobs of one type together."""
        short = dict(self._rounded.pairs) if self._rounded else {}
        into = [blob for blob in self._learnt if blob.requires_grad]
        found = torch.autograd.grad(loss, [short.get(blob, blob) for blob in into], allow_unused=True)
        by_type: dict[torch.dtype, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        for blob, gradient in zip(into, found, strict=True):
            if gradient is not None:
                if blob.grad is None:
                    blob.grad = torch.zeros_like(blob)
                by_type.setdefault(gradient.dtype, []).append((blob.grad, _as_it_lies(gradient, blob)))
        for number, pairs in by_type.items():
            sums, added = [one for one, _ in pairs], [other for _, other in pairs]
            if number != torch.float32:
                whole = [torch.empty_like(each) for each in sums]
                torch._foreach_copy_(whole, added)
                added = whole
            torch._foreach_add_(sums, added)

    def _record(self, given: Blobs) -> None:
        self._given = {name: blob.clone() for name, blob in given.items()}
        torch.cuda.empty_cache()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):  # another thread reads ahead
            self._made = self._plainly(self._given)

    def _short_numbers(self, net: Net) -> torch.autocast:
        kind, used = net.context.device.type, self._number is not None
        return torch.autocast(kind, dtype=self._number or torch.bfloat16, enabled=used, cache_enabled=False)


class Rounded:
    """Weights of convolutions in short numbers, rounded once for a batch; in a `with` block the net uses them.

    Attributes
    ----------
    pairs : sequence of (torch.Tensor, torch.Tensor)
        A blob of the net, and what it is rounded to.
    """

    def __init__(self, pairs: Sequence[tuple[torch.Tensor, torch.Tensor]], layers: Sequence[Layer]) -> None:
        self.pairs, self._layers = pairs, layers
        self._own = [list(layer.blobs) for layer in layers]

    @classmethod
    def of(cls, net: Net, number: torch.dtype) -> Rounded:
        """Return those of a net; blobs that several layers share stay as they are, or gradients would be rounded."""
        layers = [layer for layer in net.layers if isinstance(layer, Convolution)]
        uses = Counter(blob for layer in net.layers for blob in layer.blobs)
        weights = [layer.blobs[0] for layer in layers]
        blobs = [blob for blob in weights if uses[blob] == 1 and blob.requires_grad]
        return cls([(blob, blob.detach().to(number).requires_grad_()) for blob in blobs], layers)

    def refresh(self) -> None:
        """Round the weights as they are now."""
        if not self.pairs:
            return
        with torch.no_grad():
            torch._foreach_copy_([short for _, short in self.pairs], [blob for blob, _ in self.pairs])

    def __enter__(self) -> None:
        short = dict(self.pairs)
        for layer in self._layers:
            layer.blobs = [short.get(blob, blob) for blob in layer.blobs]

    def __exit__(self, *_: object) -> None:
        for layer, blobs in zip(self._layers, self._own, strict=True):
            layer.blobs = blobs


def lay_out(net: Net) -> None:
    """Lay the weights of 2-D convolutions out with the channels innermost; values and shapes stay as they are."""
    for layer in net.layers:
        if isinstance(layer, Convolution) and layer.axes == 2:
            weight = layer.blobs[0]
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)


def _as_it_lies(gradient: torch.Tensor, blob: torch.Tensor) -> torch.Tensor:
    """Return a gradient with the strides of its blob: a view where only those of single voxels differ."""
    axes = [axis for axis, side in enumerate(blob.shape) if side > 1]
    if all(gradient.stride(axis) == blob.stride(axis) for axis in axes):
        return gradient.as_strided(blob.shape, blob.stride())
    return torch.empty_like(blob, dtype=gradient.dtype).copy_(gradient)


def loss_weights(net: Net) -> dict[str, float]:
    """Return the blobs that make the loss of `net`, with their weights."""
    pairs = (pair for layer in net.layers for pair in zip(layer.tops, layer.loss_weights, strict=True))
    return {name: weight for name, weight in pairs if weight}


def total_loss(net: Net, blobs: Blobs) -> torch.Tensor:
    """Return the weighted sum of the losses of `net`.

    Returns
    -------
    torch.Tensor of float32, shape ()

    Raises
    ------
    InputError
        The net has no loss.
    """
    terms = [weight * blobs[name].sum() for name, weight in loss_weights(net).items()]
    if not terms:
        raise InputError("the net has no loss; expected a layer such as SoftmaxWithLoss")
    return sum(terms[1:], terms[0])
