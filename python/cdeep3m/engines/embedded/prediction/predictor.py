"""A trained net in memory, and what it makes of windows and of whole stacks."""

from __future__ import annotations

import logging
from collections import deque
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from cdeep3m.engines.embedded.fast.prediction_net import FusedNet
from cdeep3m.engines.embedded.net.executor import Net
from cdeep3m.engines.embedded.prediction import turning
from cdeep3m.engines.embedded.prediction.batches import BatchSize, in_batches, number_for
from cdeep3m.errors import CDeep3MError, NetError, printable
from cdeep3m.proto import caffe_pb2
from cdeep3m.proto.caffemodel import read_model
from cdeep3m.proto.prototxt import read_net
from cdeep3m.system.memory import kept_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from cdeep3m.engines.base import Precision, TrainedModel
    from cdeep3m.tiling.variants import Variant

INPUT_AXES = 5
SCORES_AXES = 4
FEWEST_CLASSES = 2
ROOM_FOR_WEIGHTS = 4
"""A net's blobs take so many times as much memory as its weights' file, at most (in half precision: twice)."""

PLANES_AHEAD = 1
"""Planes that a GPU works on while the one before is taken."""

FIRST = slice(1)
"""The first window of a batch."""

MOST_HELD = torch.finfo(torch.float16).max / 2
"""Where one variant of a window keeps below half of what float16 holds, all are taken to."""

logger = logging.getLogger(__name__)


class Mean(NamedTuple):
    """The mean of a window's variants on its way from the device.

    Attributes
    ----------
    window : torch.Tensor
        What was predicted.
    plane : torch.Tensor of int16 or float64, shape (y, x)
        The bits of unsigned numbers, or probabilities.
    held : torch.Tensor of bool
        Whether float16, where it was used, could hold all numbers.
    arrived : torch.cuda.Event, optional
        When both are there.
    """

    window: torch.Tensor
    plane: torch.Tensor
    held: torch.Tensor
    arrived: torch.cuda.Event | None


class Predictor:
    """A net with its weights, rewritten for prediction.

    Attributes
    ----------
    frames : int
        Planes that the net sees at once.
    """

    def __init__(
        self,
        model: TrainedModel,
        device: torch.device,
        *,
        precision: Precision = "float32",
        net: Net | None = None,
    ) -> None:
        """Read the net and its weights.

        Parameters
        ----------
        model : TrainedModel
        device : torch.device
        precision : {"float32", "fast"}
            "fast" computes with shorter numbers: see `number_for`.
        net : Net, optional
            What `read_trained` returns for `model`, where it was read before.

        Raises
        ------
        NetError
            As `read_trained`.
        """
        net = read_trained(model, device) if net is None else net
        self._model, self._device, self._message = model, device, net.message
        self._input = net.inputs[0]
        self._number = number_for(precision, device)
        with _naming(model.deploy):
            self._net = FusedNet(net, number=self._number)
        self._spare: FusedNet | None = None
        self._batch = BatchSize(device, self._number)
        self._uploads = torch.cuda.Stream(device) if device.type == "cuda" else None
        shape = net.input_shapes[self._input]
        self._fitting = {shape[2:]}
        self.frames = shape[-1]

    def foreground(self, windows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Predict the middle plane of every window; see `LoadedNet.foreground`."""
        for scores in self._scores_of(windows):
            yield self._foreground(scores[None], self._net)[0].t().cpu().numpy()

    def probabilities(self, windows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Predict the probabilities of all classes of the middle plane of every window.

        Yields
        ------
        ndarray of float32, shape (classes, x, y)
        """
        for scores in self._scores_of(windows):
            yield (scores.softmax(dim=0) if self._net.softmax else scores).contiguous().cpu().numpy()

    def averaged(
        self,
        windows: Iterable[np.ndarray],
        variants: Sequence[Variant],
        *,
        unrounded: bool = False,
        before_batch: Callable[[], None] | None = None,
    ) -> Iterator[np.ndarray]:
        """Predict and average the variants of every window where the net runs; see `LoadedNet.averaged`."""
        ahead = 0 if self._uploads is None else PLANES_AHEAD
        begin = partial(self._mean, variants=variants, unrounded=unrounded)
        waiting: deque[Mean] = deque()
        with kept_memory():
            for window in windows:
                self._check(window)
                waiting.append(begin(self._net, self._upload(window), before_batch=before_batch))
                if len(waiting) > ahead:
                    yield self._taken(waiting.popleft(), begin)
            while waiting:
                yield self._taken(waiting.popleft(), begin)

    @torch.inference_mode()
    def _mean(
        self,
        net: FusedNet,
        window: torch.Tensor,
        *,
        variants: Sequence[Variant],
        unrounded: bool,
        before_batch: Callable[[], None] | None = None,
    ) -> Mean:
        """Begin to predict and average all variants of a window on the device."""
        voxels = window[0].numel()
        total: torch.Tensor | None = None
        extremes: list[torch.Tensor] = []
        oblong = window.shape[1] != window.shape[2]
        for batch in in_batches(variants, lambda one: oblong and turning.swaps(one), lambda _: self._batch.of(voxels)):
            if before_batch:
                before_batch()
            found = extremes if net is self._net and not extremes else None
            turned = [turning.apply(variant, window) for variant in batch]
            scores = self._scores(net, turned, extremes=found, watched=FIRST)
            for variant, plane in zip(batch, self._foreground(scores, net), strict=True):
                upright = turning.undo(variant, plane.t())
                total = upright.double() if total is None else total.add_(upright)
        if total is None:
            raise ValueError("no variants; expected at least one")
        total.div_(len(variants))
        plane, held = (total if unrounded else turning.to_png16(total)).contiguous(), _held(extremes)
        if self._uploads is None:
            return Mean(window, plane, held, None)
        plane, held = plane.to("cpu", non_blocking=True), held.to("cpu", non_blocking=True)
        return Mean(window, plane, held, torch.cuda.current_stream(self._device).record_event())

    def _taken(self, mean: Mean, begin: Callable[[FusedNet, torch.Tensor], Mean]) -> np.ndarray:
        """Wait for a mean; predict the window once more, with bfloat16, where numbers came near float16's end."""
        if mean.arrived is not None:
            mean.arrived.synchronize()
        if not bool(mean.held):
            mean = begin(self._with_long_exponents(), mean.window)
            if mean.arrived is not None:
                mean.arrived.synchronize()
        values = mean.plane.numpy()
        return values if values.dtype == np.float64 else values.view(np.uint16)

    def _scores_of(self, windows: Iterable[np.ndarray]) -> Iterator[torch.Tensor]:
        """Yield the scores of every window, shape (classes, x, y)."""
        with kept_memory():
            for batch in in_batches(windows, np.shape, lambda window: self._batch.of(window[0].size)):
                self._check(batch[0])
                uploaded = [self._upload(window) for window in batch]
                extremes: list[torch.Tensor] = []
                scores = self._scores(self._net, uploaded, extremes=extremes)
                if not bool(_held(extremes)):
                    scores = self._scores(self._with_long_exponents(), uploaded)
                yield from scores

    @torch.inference_mode()
    def _scores(
        self,
        net: FusedNet,
        windows: Sequence[torch.Tensor],
        *,
        extremes: list[torch.Tensor] | None = None,
        watched: slice = slice(None),
    ) -> torch.Tensor:
        """Return the scores of windows (frames, y, x) of one shape: (n, classes, x, y), in float32.

        Where numbers are float16, `extremes` gets the least and the greatest of every blob of the `watched` windows of
        each batch.
        """
        found = extremes if self._number == torch.float16 else None

        def predict(part: slice) -> torch.Tensor:
            blobs = torch.stack([window.permute(2, 1, 0)[None] for window in windows[part]])
            with _naming(self._model.deploy), running():
                return net.forward({self._input: blobs.float()}, extremes=found, watched=watched).float()

        scores = self._batch.run(predict, len(windows), windows[0][0].numel())
        if scores.ndim != SCORES_AXES:
            raise NetError(
                f"{self._model.deploy} gives blobs of {scores.ndim - 1} axes for a window; expected (classes, x, y)"
            )
        return scores

    def _foreground(self, scores: torch.Tensor, net: FusedNet) -> torch.Tensor:
        """Return the probability of the model's class (n, x, y) of scores (n, classes, x, y)."""
        label = self._model.label
        if not net.softmax:
            return scores[:, label]
        if scores.shape[1] == 2:
            return torch.sigmoid(scores[:, label] - scores[:, 1 - label])
        return scores.softmax(dim=1)[:, label]

    def _upload(self, window: np.ndarray) -> torch.Tensor:
        """Return a window on the device, of a type that PyTorch has; beside what runs there."""
        here = torch.from_numpy(np.array(window, dtype=np.uint8 if window.dtype == np.uint8 else np.float32, order="C"))
        if self._uploads is None:
            return here
        with torch.cuda.stream(self._uploads):
            there = here.pin_memory().to(self._device, non_blocking=True)
        running = torch.cuda.current_stream(self._device)
        running.wait_stream(self._uploads)
        there.record_stream(running)
        return there

    def _with_long_exponents(self) -> FusedNet:
        """Return the net with bfloat16, made when it is first needed."""
        if self._spare is None:
            logger.warning("%s: numbers beyond float16: such planes are predicted with bfloat16", self._model.net)
            self._spare = FusedNet(read_trained(self._model, self._device), number=torch.bfloat16)
        return self._spare

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


def read_trained(model: TrainedModel, device: torch.device) -> Net:
    """Return a net for prediction with its weights.

    Raises
    ------
    NetError
        The net cannot be built, has not one input of shape (n, 1, x, y, z) and one output of two classes or more, or
        the weights do not fit it.
    """
    message = read_net(model.deploy)
    with _naming(model.deploy):
        _demand_weights_of(message, model)
        net = Net(message, phase=caffe_pb2.TEST, device=device, filled=False)
        shapes = list(net.input_shapes.values())
        if len(shapes) != 1 or len(shapes[0]) != INPUT_AXES or shapes[0][1] != 1:
            raise NetError(f"{model.deploy}: expected one input of five axes (n, 1, x, y, z), as in DeepEM3D's nets")
        scores = net.shapes[net.outputs[0]] if len(net.outputs) == 1 else ()
        classes = scores[1] if len(scores) > 1 else 1
        if classes < FEWEST_CLASSES:
            raise NetError(f"{model.deploy}: expected one output of two classes or more, found {net.outputs}")
        if not 0 <= model.label < classes:
            raise NetError(f"{model.deploy}: class {model.label} was asked for, expected one of its 0 to {classes - 1}")
        net.load_weights(read_model(model.weights))
    return net


def _held(extremes: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return whether all numbers of a net are well within float16."""
    return (torch.stack(list(extremes)).abs().max() < MOST_HELD) if extremes else torch.tensor(True)


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
