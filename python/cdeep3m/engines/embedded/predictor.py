"""A trained net in memory, and what it makes of windows and of whole stacks."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from cdeep3m.engines.embedded.executor import Net
from cdeep3m.engines.embedded.fused import FusedNet
from cdeep3m.errors import NetError
from cdeep3m.geometry import from_caffe_axes, to_caffe_axes
from cdeep3m.proto import caffe_pb2
from cdeep3m.proto.caffemodel import read_model
from cdeep3m.proto.prototxt import read_net

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cdeep3m.engines.base import TrainedModel

FOREGROUND = 1
INPUT_AXES = 5
BATCH = {"cpu": 1, "cuda": 8}
"""Windows that are predicted at once."""


class Predictor:
    """A net with its weights, rewritten for prediction.

    Attributes
    ----------
    frames : int
        Planes that the net sees at once.
    """

    def __init__(self, model: TrainedModel, device: torch.device) -> None:
        """Read the net and its weights.

        Raises
        ------
        NetError
            The net cannot be built, has not one input of shape (n, 1, x, y, z), or the weights do not fit it.
        """
        net = Net(read_net(model.deploy), phase=caffe_pb2.TEST, device="cpu")
        if len(net.inputs) != 1 or len(net.shapes[net.inputs[0]]) != INPUT_AXES:
            raise NetError(
                f"{model.deploy}: one input of five axes (n, 1, x, y, z) was expected, as in DeepEM3D's nets"
            )
        net.load_weights(read_model(model.weights))
        self._input = net.inputs[0]
        self.frames = net.input_shapes[self._input][-1]
        self._net = FusedNet(net)
        self._device = device

    def foreground(self, windows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Predict the middle plane of every window; see `LoadedNet.foreground`."""
        for scores in self._scores(windows):
            yield from_caffe_axes(_foreground(scores, softmax=self._net.softmax).cpu().numpy()[..., np.newaxis])[0]

    def probabilities(self, windows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Predict the probabilities of all classes of the middle plane of every window.

        Yields
        ------
        ndarray of float32, shape (classes, x, y)
        """
        for scores in self._scores(windows):
            yield (scores.softmax(dim=0) if self._net.softmax else scores).contiguous().cpu().numpy()

    def _scores(self, windows: Iterable[np.ndarray]) -> Iterator[torch.Tensor]:
        source = iter(windows)
        while batch := list(islice(source, BATCH[self._device.type])):
            blob = torch.from_numpy(np.stack([_blob(window) for window in batch])).to(self._device)
            with torch.inference_mode():
                yield from self._net.forward({self._input: blob.float()})


def _blob(window: np.ndarray) -> np.ndarray:
    """Return a (frames, y, x) window as (1, x, y, z), of a dtype that PyTorch has."""
    blob = np.ascontiguousarray(to_caffe_axes(window))[np.newaxis]
    return blob.astype(np.float32) if blob.dtype != np.uint8 else blob


def _foreground(scores: torch.Tensor, *, softmax: bool) -> torch.Tensor:
    """Return the foreground's probability of (classes, x, y) scores."""
    if not softmax:
        return scores[FOREGROUND]
    if len(scores) == 2:
        return torch.sigmoid(scores[FOREGROUND] - scores[0])
    return scores.softmax(dim=0)[FOREGROUND]
