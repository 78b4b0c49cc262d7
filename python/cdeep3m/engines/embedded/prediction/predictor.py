"""A trained net in memory, and what it makes of windows and of whole stacks."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from cdeep3m.engines.embedded.fast.prediction_net import FusedNet
from cdeep3m.engines.embedded.net.executor import Net
from cdeep3m.errors import CDeep3MError, NetError, printable
from cdeep3m.geometry import to_caffe_axes
from cdeep3m.proto import caffe_pb2
from cdeep3m.proto.caffemodel import read_model
from cdeep3m.proto.prototxt import read_net
from cdeep3m.system.memory import kept_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from cdeep3m.engines.base import Precision, TrainedModel

FOREGROUND = 1
INPUT_AXES = 5
SCORES_AXES = 3
ROOM_FOR_WEIGHTS = 4
"""A net's blobs take so many times as much memory as its weights' file, at most (in half precision: twice)."""

NUMBERS = {"float32": torch.float32, "fast": torch.bfloat16}
"""Type of the numbers at each precision."""

VOXELS_AT_ONCE = 1024 * 1024
"""Small windows are predicted together on the CPU, as long as they have no more voxels in a plane than this."""

MOST_WINDOWS = 8
"""Windows that are predicted together at most."""

BYTES_PER_VOXEL = 1500
"""Memory that a prediction takes on a GPU for each voxel of a plane, rounded up."""


class Predictor:
    """A net with its weights, rewritten for prediction.

    Attributes
    ----------
    frames : int
        Planes that the net sees at once.
    """

    def __init__(self, model: TrainedModel, device: torch.device, *, precision: Precision = "float32") -> None:
        """Read the net and its weights.

        Parameters
        ----------
        model : TrainedModel
        device : torch.device
        precision : {"float32", "fast"}
            "fast" computes with bfloat16: numbers of 8 bits of precision.

        Raises
        ------
        NetError
            The net cannot be built, has not one input of shape (n, 1, x, y, z) and one output of two classes or more,
            or the weights do not fit it.
        """
        self._message = read_net(model.deploy)
        self._deploy = model.deploy
        with _naming(model.deploy):
            _demand_weights_of(self._message, model)
            self._build(model, device, precision)

    def _build(self, model: TrainedModel, device: torch.device, precision: Precision) -> None:
        net = Net(self._message, phase=caffe_pb2.TEST, device=device)
        shapes = list(net.input_shapes.values())
        if len(shapes) != 1 or len(shapes[0]) != INPUT_AXES or shapes[0][1] != 1:
            raise NetError(
                f"{model.deploy}: one input of five axes (n, 1, x, y, z) was expected, as in DeepEM3D's nets"
            )
        if len(net.outputs) != 1 or len(net.shapes[net.outputs[0]]) < 2 or net.shapes[net.outputs[0]][1] <= FOREGROUND:
            raise NetError(f"{model.deploy}: one output of two classes or more was expected, found {net.outputs}")
        net.load_weights(read_model(model.weights))
        self._input = net.inputs[0]
        self._device = device
        self._net = FusedNet(net, number=NUMBERS[precision])
        self._fitting = {shapes[0][2:]}
        self.frames = shapes[0][-1]

    def foreground(self, windows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Predict the middle plane of every window; see `LoadedNet.foreground`."""
        for scores in self._scores(windows):
            if scores.ndim != SCORES_AXES:
                raise NetError(
                    f"{self._deploy} gives blobs of {scores.ndim} axes for a window; expected (classes, x, y)"
                )
            yield _foreground(scores, softmax=self._net.softmax).t().cpu().numpy()

    def probabilities(self, windows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Predict the probabilities of all classes of the middle plane of every window.

        Yields
        ------
        ndarray of float32, shape (classes, x, y)
        """
        for scores in self._scores(windows):
            yield (scores.softmax(dim=0) if self._net.softmax else scores).contiguous().cpu().numpy()

    def _scores(self, windows: Iterable[np.ndarray]) -> Iterator[torch.Tensor]:
        with kept_memory():
            for batch in _batches(windows, self._windows_at_once):
                self._check(batch[0])
                blob = torch.from_numpy(np.stack([_blob(window) for window in batch])).to(self._device)
                with torch.inference_mode(), _naming(self._deploy), running():
                    scores = self._net.forward({self._input: blob.float()})
                yield from scores.float()

    def _check(self, window: np.ndarray) -> None:
        """Raise NetError when the net cannot take a window."""
        frames, y, x = window.shape
        if (x, y, frames) in self._fitting:
            return
        if frames != self.frames:
            raise NetError(f"a window of {frames} planes was given, the net sees {self.frames}")
        shapes = Net(self._message, phase=caffe_pb2.TEST, device="meta")
        shapes.infer({self._input: (1, 1, x, y, frames)})
        self._fitting.add((x, y, frames))

    def _windows_at_once(self, window: np.ndarray) -> int:
        """Return how many windows to predict together: the same number in every run, as it touches the last digits."""
        voxels = window.shape[1] * window.shape[2]
        if self._device.type == "cpu":
            return max(1, min(MOST_WINDOWS, VOXELS_AT_ONCE // voxels))
        memory = torch.cuda.get_device_properties(self._device).total_memory
        return max(1, min(MOST_WINDOWS, memory // 2 // (BYTES_PER_VOXEL * voxels)))


@contextmanager
def running() -> Iterator[None]:
    """Say of a net what it cannot compute; a lack of memory stays one."""
    try:
        yield
    except (ValueError, TypeError, IndexError, KeyError, RuntimeError) as error:
        if isinstance(error, CDeep3MError | torch.OutOfMemoryError) or "alloc" in str(error):
            raise
        words = printable(str(error).split("\n", 1)[0], longest=200)
        raise NetError(f"the net cannot compute what it describes: {words}") from error


@contextmanager
def _naming(deploy: Path) -> Iterator[None]:
    """Name the file of a net in an error of one of its layers."""
    try:
        yield
    except NetError as error:
        if str(deploy) in str(error):
            raise
        raise NetError(f"{deploy}: {error}") from error


def _demand_weights_of(message: caffe_pb2.NetParameter, model: TrainedModel) -> None:
    """Refuse a net whose blobs are far larger than the weights that are there, before memory is taken for them."""
    learnable = Net(message, phase=caffe_pb2.TEST, device="meta").learnable
    if not model.weights.is_file():
        return
    needed, there = sum(4 * one.blob.numel() for one in learnable), model.weights.stat().st_size
    if needed > ROOM_FOR_WEIGHTS * there + 2**20:
        raise NetError(
            f"its weights would take {needed} bytes, {model.weights} holds {there}; they do not fit each other"
        )


def _batches(windows: Iterable[np.ndarray], size: Callable[[np.ndarray], int]) -> Iterator[list[np.ndarray]]:
    """Yield neighbouring windows of one shape together, at most as many as `size` says for that shape."""
    batch: list[np.ndarray] = []
    for window in windows:
        if batch and window.shape != batch[0].shape:
            yield batch
            batch = []
        batch.append(window)
        if len(batch) >= size(window):
            yield batch
            batch = []
    if batch:
        yield batch


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
