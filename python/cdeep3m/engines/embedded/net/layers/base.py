"""What every layer is: built from its message and its bottoms' shapes, run by `forward`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from cdeep3m.engines.embedded.net.layers.fillers import fill
from cdeep3m.errors import NetError
from cdeep3m.nets.shapes import shape_text
from cdeep3m.proto import caffe_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Shape = tuple[int, ...]
"""Shape of a blob, axes as Caffe counts them: (n, c, x, y, z), (n, c, x, y), ..."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a layer may know of the net that it is part of.

    Attributes
    ----------
    phase : int
        `caffe_pb2.TRAIN` or `caffe_pb2.TEST`.
    device : torch.device
        Where its blobs live.
    generator : torch.Generator
        Source of initial weights and of random choices; on the CPU, so that they are the same for any device.
    folder : Path
        Folder that relative paths in the net are relative to.
    sources : mapping
        Data in memory for the layers that read data, by the key that the layer's module documents.
    filled : bool
        Whether learnable blobs get values at first; False where all are loaded anyway, which saves drawing them.
    """

    phase: int = caffe_pb2.TEST
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    generator: torch.Generator = field(default_factory=torch.Generator)
    folder: Path = Path()
    sources: Mapping[str, Any] = field(default_factory=dict)
    filled: bool = True

    @property
    def training(self) -> bool:
        """Whether the net is built for TRAIN."""
        return self.phase == caffe_pb2.TRAIN


class Step(Protocol):
    """What a net runs at once: a layer, or something that does what several layers do.

    Attributes
    ----------
    type : str
        Type of the layer, or what stands for the layers' types.
    bottoms, tops : sequence of str
        Names of the blobs that it takes and makes.
    """

    @property
    def type(self) -> str:
        """Type of the layer, or what stands for the layers' types."""

    @property
    def bottoms(self) -> Sequence[str]:
        """Names of the blobs that it takes."""

    @property
    def tops(self) -> Sequence[str]:
        """Names of the blobs that it makes."""

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the tops of bottoms of shape (n, channels, spatial...), float32 or as the net's precision says."""


class Layer(ABC):
    """One layer of a net.

    Attributes
    ----------
    message : LayerParameter
        What it was built from.
    context : Context
        The net's settings.
    name, type : str
        As in the message.
    bottoms, tops : tuple of str
        Names of the blobs that it reads and writes; the same name in both is Caffe's "in place".
    blobs : list of torch.Tensor
        Learnable blobs in Caffe's order and shapes; with `requires_grad` in TRAIN where they have a gradient.
    param_specs : tuple of ParamSpec
        lr_mult, decay_mult and the name for sharing, one for each of `blobs`.
    loss_weights : tuple of float
        Weight of each top in the net's loss; 0 where it is no loss.
    """

    def __init__(self, message: caffe_pb2.LayerParameter, shapes: Sequence[Shape], context: Context) -> None:
        self.message = message
        self.context = context
        self.name = message.name
        self.type = message.type
        self.bottoms = tuple(message.bottom)
        self.tops = tuple(message.top)
        self.blobs: list[torch.Tensor] = []
        self._fillers: list[caffe_pb2.FillerParameter | None] = []
        self.setup(tuple(shapes))
        self.param_specs = tuple(message.param[: len(self.blobs)]) + tuple(
            caffe_pb2.ParamSpec() for _ in self.blobs[len(message.param) :]
        )
        self.loss_weights = self._loss_weights()

    def setup(self, shapes: tuple[Shape, ...]) -> None:
        """Read the settings and make the learnable blobs for bottoms of `shapes`."""
        del shapes

    @abstractmethod
    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the tops' shapes for bottoms of `shapes`; raise NetError where they do not fit."""

    @abstractmethod
    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the tops, of the shapes that `top_shapes` told; the bottoms stay as they are."""

    def add_blob(
        self, shape: Shape, filler: caffe_pb2.FillerParameter | None = None, *, gradient: bool = True
    ) -> torch.Tensor:
        """Append a learnable blob, filled as `filler` says (default: zeros), and return it.

        Parameters
        ----------
        shape : tuple of int
            Its shape.
        filler : FillerParameter, optional
            How to fill it.
        gradient : bool
            Whether it has a gradient in TRAIN.
        """
        if self.context.device.type == "meta" or not self.context.filled:
            blob = torch.empty(shape, device=self.context.device)
        else:
            blob = fill(shape, filler or caffe_pb2.FillerParameter(), self.context.generator).to(self.context.device)
        self.blobs.append(blob.requires_grad_(gradient and self.context.training))
        self._fillers.append(filler)
        return blob

    def known_values(self) -> list[torch.Tensor] | None:
        """Return what its fillers make of its blobs, where they are never learned and nothing is drawn; else None.

        Caffe leaves a layer that a model does not hold as its fillers made it.

        Returns
        -------
        list of torch.Tensor or None
            float32, in the shapes of `blobs`.
        """
        fillers = [filler for filler in self._fillers if filler is not None and filler.type in NOT_DRAWN]
        if len(fillers) < len(self.blobs) or any(spec.lr_mult for spec in self.param_specs):
            return None
        return [
            fill(tuple(blob.shape), filler, self.context.generator)
            for blob, filler in zip(self.blobs, fillers, strict=True)
        ]

    def error(self, problem: str) -> NetError:
        """Return a NetError that says where it happened."""
        return NetError(f"layer {self.name} ({self.type}): {problem}")

    def check_same(self, shapes: Sequence[Shape]) -> None:
        """Raise NetError unless all `shapes` are the same."""
        if any(shape != shapes[0] for shape in shapes):
            raise self.error(f"expected bottoms of one shape, found {self.describe(shapes)}{MULTIPLES_OF_16}")

    def describe(self, shapes: Sequence[Shape]) -> str:
        """Return the bottoms' names and `shapes` for a message."""
        return ", ".join(f"{name} {shape_text(shape)}" for name, shape in zip(self.bottoms, shapes, strict=False))

    def _loss_weights(self) -> tuple[float, ...]:
        default = (1.0,) if self.type.endswith("Loss") else ()
        weights = tuple(self.message.loss_weight) or default
        return (weights + (0.0,) * len(self.tops))[: len(self.tops)]


class SameShape(Layer):
    """A layer whose top has the shape of its bottom."""

    def top_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the first bottom's shape."""
        return (shapes[0],)


NOT_DRAWN = ("constant", "bilinear")
"""Fillers that make the same values every time."""
MULTIPLES_OF_16 = "; the sides of the input must be multiples of 16 for the nets of CDeep3M"
"""What to do about blobs that do not match, in practice always because of the input's sides."""
