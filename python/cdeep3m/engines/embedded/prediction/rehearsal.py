"""What a net costs, without its weights: how long a pass takes here, and how much memory."""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from cdeep3m.engines.base import Rehearsal
from cdeep3m.engines.embedded.fast.prediction_net import FusedNet
from cdeep3m.engines.embedded.net.executor import Net
from cdeep3m.engines.embedded.prediction.batches import number_for
from cdeep3m.proto import caffe_pb2
from cdeep3m.proto.prototxt import read_net
from cdeep3m.system.memory import kept_memory

if TYPE_CHECKING:
    from cdeep3m.engines.base import Precision, TrainedModel

SIDE = 256
"""Side of the canvas that a pass is timed on: a sixteenth of a whole one."""
PASSES = 3


def rehearse(
    model: TrainedModel, sides: tuple[int, int], device: torch.device, *, precision: Precision = "float32"
) -> Rehearsal:
    """Pass a small canvas through a net with initial weights, and follow the blobs of a whole one without values.

    Parameters
    ----------
    model : TrainedModel
        Only its deploy.prototxt is read.
    sides : tuple of int
        Height and width of the canvas.
    device : torch.device
    precision : {"float32", "fast"}

    Raises
    ------
    NetError
        The net cannot be built.
    """
    message = read_net(model.deploy)
    number = number_for(precision, device)
    shape = Net(message, phase=caffe_pb2.TEST, device="meta")
    frames = next(iter(shape.input_shapes.values()))[-1]
    weights = sum(blob.blob.numel() for blob in shape.learnable) * torch.float32.itemsize
    peak = LiveBytes()
    with peak, torch.inference_mode():
        FusedNet(shape, number=number).forward({shape.inputs[0]: torch.zeros((1, 1, *sides, frames), device="meta")})
    net = FusedNet(Net(message, phase=caffe_pb2.TEST, device=device), number=number)
    share = sides[0] * sides[1] / SIDE**2
    seconds = share * _seconds(net, {shape.inputs[0]: torch.rand((1, 1, SIDE, SIDE, frames)) * 255}, device)
    return Rehearsal(frames=frames, seconds=seconds, memory=peak.most, weights=weights)


def _seconds(net: FusedNet, inputs: dict[str, torch.Tensor], device: torch.device) -> float:
    """Return what a pass takes once all is warm."""
    times = []
    with kept_memory():
        for _ in range(PASSES):
            begin = time.perf_counter()
            net.forward(inputs)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - begin)
    return min(times[1:])


class LiveBytes(TorchDispatchMode):
    """Follows how many bytes tensors hold that are made within the block.

    Attributes
    ----------
    most : int
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = 0
        self._now = 0
        self._live: dict[int, int] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and note the storages that it makes."""
        made = function(*args, **(kwargs or {}))
        for tensor in tree_iter(made):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor.untyped_storage())
        return made

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._live:
            self._live[key] = storage.nbytes()
            self._now += storage.nbytes()
            self.most = max(self.most, self._now)
            weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self._now -= self._live.pop(key, 0)
