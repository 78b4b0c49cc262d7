"""Build a net from its message and run it, layer by layer, as Caffe does."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from cdeep3m.engines.embedded.net.layers import make_layer
from cdeep3m.engines.embedded.net.layers.base import Context, Layer, Shape, Step
from cdeep3m.errors import CDeep3MError, NetError, printable
from cdeep3m.nets.binning import demand_same_binning
from cdeep3m.nets.shapes import shape_text
from cdeep3m.proto import caffe_pb2
from cdeep3m.proto.caffemodel import array_to_blob, blob_shape, blob_to_array
from cdeep3m.proto.prototxt import input_shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

LEGACY_AXES = 4
"""Axes of a blob in files older than BlobShape."""


@dataclass(frozen=True)
class Learnable:
    """One blob that a solver updates.

    Attributes
    ----------
    layer : Layer
        The layer that owns it.
    blob : torch.Tensor
        Its values; without `requires_grad` (BatchNorm's) its gradient is zero, yet decay and momentum apply.
    lr_mult, decay_mult : float
        Factors on the solver's rate and decay.
    """

    layer: Layer
    blob: torch.Tensor
    lr_mult: float
    decay_mult: float


class Net:
    """A net in memory.

    Attributes
    ----------
    message : NetParameter
        What it was built from.
    context : Context
        Phase, device and the like.
    layers : list of Layer
        The layers of its phase, in order.
    input_shapes, shapes : dict of str to tuple of int
        Shape of every input as declared; last shape of every blob for these.
    inputs, outputs : tuple of str
        Blobs that the caller gives; blobs that no layer takes.
    """

    def __init__(
        self,
        message: caffe_pb2.NetParameter,
        *,
        phase: int,
        device: torch.device | str = "cpu",
        generator: torch.Generator | None = None,
        folder: Path = Path(),
        sources: Mapping[str, Any] | None = None,
        rewrite: Callable[[Sequence[Layer]], Sequence[Step]] | None = None,
        filled: bool = True,
    ) -> None:
        """Build every layer of `phase`, filled as its fillers say.

        Parameters
        ----------
        message : NetParameter
            The net; its inputs need shapes, which weights other than InnerProduct's do not depend on.
        phase : int
            `caffe_pb2.TRAIN` or `caffe_pb2.TEST`.
        device : torch.device or str
            Where blobs live.
        generator : torch.Generator, optional
            Source of initial weights and random choices, on the CPU; default: one with a fixed seed.
        folder : Path
            Folder that relative paths in the net are relative to.
        sources : mapping, optional
            Data in memory for the layers that read data.
        rewrite : callable, optional
            Turns the layers into fewer steps that do the same; default: each layer is a step.
        filled : bool
            Draw initial weights; without that, blobs hold anything until `load_weights`.

        Raises
        ------
        NetError
            A layer of unknown type, with an unknown bottom, or with bottoms that do not fit it.
        """
        self.message = message
        self.context = Context(
            phase=phase,
            device=torch.device(device),
            generator=generator or torch.Generator().manual_seed(0),
            folder=folder,
            sources=sources or {},
            filled=filled,
        )
        included = layers_of(message, phase)
        self.input_shapes: dict[str, Shape] = input_shapes(message, included)
        self.inputs = tuple(self.input_shapes)
        self.shapes = dict(self.input_shapes)
        self.layers = [self._build(layer) for layer in included]
        self.outputs = _outputs(self.layers)
        self._steps: Sequence[Step] = rewrite(self.layers) if rewrite else self.layers
        self._dead = _last_uses(self._steps, self.outputs)
        self._not_made = {name for layer in self.layers for name in layer.tops}
        self._not_made -= {name for step in self._steps for name in step.tops}
        self._checked = {self._signature(self.input_shapes)}
        _share_named_blobs(self.layers)

    def read(self) -> dict[str, torch.Tensor]:
        """Return the next values of the blobs that layers without bottoms make, such as those that read data."""
        sources = [layer for layer in self.layers if not layer.bottoms and layer.type != "Input"]
        return {name: blob for layer in sources for name, blob in zip(layer.tops, layer.forward(), strict=True)}

    def forward(
        self,
        inputs: Mapping[str, torch.Tensor] | None = None,
        *,
        keep: Collection[str] = (),
        given: Mapping[str, torch.Tensor] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Run every layer.

        Parameters
        ----------
        inputs : mapping of str to torch.Tensor
            Values of the net's inputs, on any device, of any shape that the layers accept.
        keep : collection of str
            Other blobs to return; each with the value that it has last.
        given : mapping of str to torch.Tensor, optional
            What `read` returned; default: what it returns now.

        Returns
        -------
        dict of str to torch.Tensor
            The net's outputs and the blobs in `keep`.

        Raises
        ------
        NetError
            When an input is missing, or does not fit the net.
        """
        blobs = {**self._accept(inputs or {}), **(self.read() if given is None else given)}
        steps, dead_after = self._steps, self._dead
        if not self._not_made.isdisjoint(keep):
            steps, dead_after = self.layers, _last_uses(self.layers, self.outputs)
        for step, dead in zip(steps, dead_after, strict=True):
            if step.bottoms:
                tops = step.forward(*(blobs[name] for name in step.bottoms))
                blobs.update(zip(step.tops, tops, strict=True))
            for name in dead.difference(keep):
                del blobs[name]
        return {name: blobs[name] for name in (*self.outputs, *keep)}

    def infer(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        """Return every blob's shape for inputs of `shapes`; raise NetError where a layer cannot take its bottoms."""
        known = dict(shapes)
        for layer in self.layers:
            if layer.type != "Input":
                tops = layer.top_shapes(*(known[name] for name in layer.bottoms))
                known.update(zip(layer.tops, tops, strict=True))
        return known

    @property
    def learnable(self) -> list[Learnable]:
        """Every learnable blob once, in layer order (the order of a solver state's history)."""
        unique = {
            id(blob): Learnable(layer, blob, spec.lr_mult, spec.decay_mult)
            for layer in reversed(self.layers)
            for blob, spec in reversed(list(zip(layer.blobs, layer.param_specs, strict=True)))
        }
        return list(reversed(unique.values()))

    def load_weights(self, model: caffe_pb2.NetParameter) -> None:
        """Copy the weights of the layers of the same name.

        Parameters
        ----------
        model : NetParameter
            A trained model; layers that this net has not are ignored.

        Raises
        ------
        NetError
            When the model lacks a layer that learns, or has one whose blobs do not fit or hold what is no number, or
            when only one of both bins pixels. The net's blobs are then as they were.
        """
        demand_same_binning([layer.name for layer in self.layers], [layer.name for layer in model.layer])
        stored = {layer.name: layer.blobs for layer in reversed(model.layer) if layer.blobs}
        known = {layer.name: layer.known_values() for layer in self.layers if layer.blobs and layer.name not in stored}
        learned = [layer for layer in self.layers if layer.blobs and not known.get(layer.name)]
        pairs = [pair for layer in learned for pair in _match(layer, stored.get(layer.name, ()))]
        arrays = [blob_to_array(source) for _, source in pairs]
        if not all(np.isfinite(array).all() for array in arrays):
            raise NetError(
                "the model holds weights that are NaN or infinite; expected numbers. Take an earlier snapshot"
            )
        with torch.no_grad():
            for (blob, _), array in zip(pairs, arrays, strict=True):
                blob.copy_(torch.from_numpy(array).reshape(blob.shape))
            for layer in self.layers:
                for blob, values in zip(layer.blobs, known.get(layer.name) or (), strict=False):
                    blob.copy_(values)

    def share_weights(self, other: Net) -> None:
        """Use the very blobs of `other`'s layers of the same name, as a solver's test nets do."""
        owners = {layer.name: layer.blobs for layer in reversed(other.layers) if layer.blobs}
        for layer in self.layers:
            for i, blob in enumerate(layer.blobs):
                owner = owners.get(layer.name, [])
                if i >= len(owner) or owner[i].shape != blob.shape:
                    raise layer.error("the net to share weights with has no blobs that fit")
                layer.blobs[i] = owner[i]

    def to_message(self) -> caffe_pb2.NetParameter:
        """Return the net with its weights, as a .caffemodel holds it."""
        message = caffe_pb2.NetParameter(name=self.message.name, input=self.message.input)
        message.input_shape.extend(self.message.input_shape)
        message.input_dim.extend(self.message.input_dim)
        for layer in self.layers:
            stored = message.layer.add()
            stored.CopyFrom(layer.message)
            stored.phase = cast("caffe_pb2.Phase", self.context.phase)
            del stored.blobs[:]
            stored.blobs.extend(array_to_blob(blob.detach().cpu().numpy()) for blob in layer.blobs)
        return message

    def _build(self, message: caffe_pb2.LayerParameter) -> Layer:
        for name in message.bottom:
            if name not in self.shapes:
                raise NetError(f"layer {message.name} ({message.type}): no layer before it makes its bottom {name!r}")
        shapes = [self.shapes[name] for name in message.bottom]
        with _setting_up(message):
            layer = make_layer(message, shapes, self.context)
        for name in set(layer.tops) - set(layer.bottoms):
            if name in self.shapes and layer.type != "Input":
                raise layer.error(f"its top {name!r} is another layer's, too")
        with _setting_up(message):
            tops = layer.top_shapes(*shapes)
        if len(tops) != len(layer.tops):
            raise layer.error(f"{len(layer.tops)} tops, expected {len(tops)}")
        self.shapes.update(zip(layer.tops, tops, strict=True))
        return layer

    def _accept(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        missing = [name for name in self.inputs if name not in inputs]
        if missing:
            raise NetError(f"no values were given for the net's input {', '.join(missing)}")
        shapes = {name: tuple(inputs[name].shape) for name in self.inputs}
        if self._signature(shapes) not in self._checked:
            self.infer(shapes)
            self._checked.add(self._signature(shapes))
        return {name: inputs[name].to(self.context.device) for name in self.inputs}

    def _signature(self, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
        return tuple(shapes[name] for name in self.inputs)


def layers_of(message: caffe_pb2.NetParameter, phase: int) -> list[caffe_pb2.LayerParameter]:
    """Return the layers of `message` that its include and exclude rules leave in `phase`.

    Raises
    ------
    NetError
        When a layer has both kinds of rules.
    """
    state = caffe_pb2.NetState()
    state.CopyFrom(message.state)
    state.phase = cast("caffe_pb2.Phase", phase)
    return [layer for layer in message.layer if _included(layer, state)]


def _included(layer: caffe_pb2.LayerParameter, state: caffe_pb2.NetState) -> bool:
    if layer.include and layer.exclude:
        raise NetError(f"layer {layer.name} ({layer.type}): has include and exclude rules, expected one kind")
    if layer.include:
        return any(_meets(state, rule) for rule in layer.include)
    return not any(_meets(state, rule) for rule in layer.exclude)


def _meets(state: caffe_pb2.NetState, rule: caffe_pb2.NetStateRule) -> bool:
    return (
        (not rule.HasField("phase") or rule.phase == state.phase)
        and (not rule.HasField("min_level") or state.level >= rule.min_level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and all(stage in state.stage for stage in rule.stage)
        and not any(stage in state.stage for stage in rule.not_stage)
    )


def _outputs(layers: Iterable[Layer]) -> tuple[str, ...]:
    available: dict[str, None] = {}
    for layer in layers:
        for name in layer.bottoms:
            available.pop(name, None)
        available.update(dict.fromkeys(layer.tops))
    return tuple(available)


def _last_uses(layers: Sequence[Step], outputs: Collection[str]) -> list[set[str]]:
    """Return, for each layer, the blobs that no later layer touches and that the net does not return."""
    last = {name: i for i, layer in enumerate(layers) for name in (*layer.bottoms, *layer.tops)}
    dead: list[set[str]] = [set() for _ in layers]
    for name, i in last.items():
        if name not in outputs:
            dead[i].add(name)
    return dead


def _share_named_blobs(layers: Iterable[Layer]) -> None:
    """Make blobs whose `param` has the same name one blob, the first one's."""
    owners: dict[str, tuple[Layer, torch.Tensor]] = {}
    for layer in layers:
        for i, (blob, spec) in enumerate(zip(layer.blobs, layer.param_specs, strict=True)):
            if not spec.name:
                continue
            owner, shared = owners.setdefault(spec.name, (layer, blob))
            if shared.shape != blob.shape:
                raise layer.error(
                    f"its blob {spec.name!r} is {shape_text(tuple(blob.shape))}, that of layer {owner.name} is "
                    f"{shape_text(tuple(shared.shape))}"
                )
            layer.blobs[i] = shared


def _match(layer: Layer, stored: Sequence[caffe_pb2.BlobProto]) -> list[tuple[torch.Tensor, caffe_pb2.BlobProto]]:
    if not stored:
        raise layer.error("the model holds no weights for it; expected a model trained with this net")
    if len(stored) != len(layer.blobs):
        raise layer.error(f"the model holds {len(stored)} blobs for it, the net has {len(layer.blobs)}")
    for blob, source in zip(layer.blobs, stored, strict=True):
        expected, found = tuple(blob.shape), blob_shape(source)
        if found != (expected if source.HasField("shape") else _legacy(expected)):
            raise layer.error(
                f"the model's weights are {shape_text(found)}, the net expects {shape_text(expected)}; "
                "use the model with the net that it was trained with"
            )
    return list(zip(layer.blobs, stored, strict=True))


def _legacy(shape: Shape) -> Shape:
    return (1,) * (LEGACY_AXES - len(shape)) + shape


@contextmanager
def _setting_up(message: caffe_pb2.LayerParameter) -> Iterator[None]:
    """Name the layer in whatever its settings lead to that nobody foresaw."""
    try:
        yield
    except (CDeep3MError, OSError, MemoryError):
        raise
    except Exception as error:
        words = printable(str(error).split("\n", 1)[0] or type(error).__name__, longest=200)
        raise NetError(f"layer {message.name} ({message.type}) cannot be set up as it is described: {words}") from error
