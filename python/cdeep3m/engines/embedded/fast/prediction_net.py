"""Rewrite a trained net so that it predicts faster: the same sums, fewer passes over memory.

What differs from the plain executor:

- BatchNorm and Scale are folded into the convolution before them, ReLU is applied in place, and the coefficients of
  residual sums go into the weights.
- The first, 3-D layers become 2-D ones: the few planes are channels.
- Blobs lie in memory with the channels innermost.
- Deconvolutions with few outputs become matrix products (taps.py); those that are summed, five for each scale, share a
  bottom and a top and run as soon as the bottom is there.
- What Softmax would do is left to the caller.
- If asked for, numbers are of a shorter type (on a GPU with channels filled up, alignment.py); deconvolutions and what
  follows them to the scores add up in float32.

Layers that none of this fits run as they are.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

import torch

from cdeep3m.engines.embedded.fast.alignment import align
from cdeep3m.engines.embedded.fast.steps import (
    ConvolutionStep,
    DeconvolutionStep,
    LinearStep,
    PlainStep,
    RollStep,
    Step,
    SumStep,
    UnrollStep,
    unroll,
)
from cdeep3m.engines.embedded.net.layers.convolution import Convolution
from cdeep3m.engines.embedded.net.layers.deconvolution import Deconvolution
from cdeep3m.engines.embedded.net.layers.eltwise import Eltwise
from cdeep3m.engines.embedded.net.layers.reshape import Reshape
from cdeep3m.engines.embedded.net.layers.softmax import Softmax
from cdeep3m.engines.embedded.net.primitives import FEW_OUTPUTS
from cdeep3m.engines.embedded.net.taps import Scratch
from cdeep3m.proto import caffe_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cdeep3m.engines.embedded.net.executor import Net
    from cdeep3m.engines.embedded.net.layers.base import Layer, Shape

DROP_LAST_AXIS = caffe_pb2.ReshapeParameter(shape=caffe_pb2.BlobShape(dim=[0, 0, 0, 0]))
"""What the nets' Reshape says: five axes, the last of one plane, become four."""


class FusedNet:
    """A rewritten net with one output.

    Attributes
    ----------
    steps : list of Step
        What runs, in order.
    softmax : bool
        Whether the plain net would apply Softmax over the channels to what `forward` returns.
    """

    def __init__(self, net: Net, *, number: torch.dtype = torch.float32) -> None:
        """Rewrite a net built for TEST, with its weights; it stays as it is.

        Parameters
        ----------
        net : Net
            With one output. Planes of the inputs stay as declared, their other sides may vary.
        number : torch.dtype
            Type of the numbers in all but the last, thin layers.
        """
        graph = single_assignment(net)
        self.device = net.context.device
        self.softmax = _ends_with_softmax(graph)
        if self.softmax:
            graph = graph._replace(nodes=graph.nodes[:-1], output=graph.nodes[-1].bottoms[0])
        self.inputs = graph.inputs
        self.steps, self.output = Rewriter(graph).rewrite()
        if number != torch.float32 and self.device.type == "cuda":
            align(self.steps, self.output)
        for step in self.steps:
            step.place(self.device, number)
        self._dead = _last_uses(self.steps, self.output)

    def forward(
        self,
        inputs: Mapping[str, torch.Tensor],
        *,
        extremes: list[torch.Tensor] | None = None,
        watched: slice = slice(None),
    ) -> torch.Tensor:
        """Return the net's output, before Softmax where `softmax` says so.

        Parameters
        ----------
        inputs : mapping of str to torch.Tensor of float32
            Values of the net's inputs, axes as Caffe's.
        extremes : list of torch.Tensor, optional
            Gets the least and the greatest number of every blob.
        watched : slice
            The windows whose numbers these are.
        """
        with torch.inference_mode():
            blobs = {number: inputs[name].to(self.device) for name, number in self.inputs.items()}
            for step, dead in zip(self.steps, self._dead, strict=True):
                blobs[step.top] = step.run(*(blobs[number] for number in step.bottoms))
                if extremes is not None:
                    extremes += [extreme.float() for extreme in as_it_lies(blobs[step.top][watched]).aminmax()]
                for number in dead:
                    del blobs[number]
            return blobs[self.output]


class Node(NamedTuple):
    """A layer whose bottoms and tops are numbers: one for every value that a blob ever has."""

    layer: Layer
    bottoms: tuple[int, ...]
    tops: tuple[int, ...]


class Graph(NamedTuple):
    """A net in which nothing is in place."""

    nodes: list[Node]
    inputs: dict[str, int]
    output: int
    shapes: list[Shape]


def single_assignment(net: Net) -> Graph:
    """Number the values of a net's blobs; `shapes` are those for the inputs as declared."""
    inputs = {name: number for number, name in enumerate(net.inputs)}
    current, nodes = dict(inputs), []
    shapes = [net.input_shapes[name] for name in net.inputs]
    for layer in net.layers:
        if layer.type == "Input":
            continue
        bottoms = tuple(current[name] for name in layer.bottoms)
        tops = tuple(range(len(shapes), len(shapes) + len(layer.tops)))
        shapes += layer.top_shapes(*(shapes[number] for number in bottoms))
        current.update(zip(layer.tops, tops, strict=True))
        nodes.append(Node(layer, bottoms, tops))
    return Graph(nodes, inputs, current[net.outputs[0]], shapes)


class Rewriter:
    """Turns a graph into steps, node by node."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.steps: list[Step] = []
        self.planes: dict[int, int] = {}
        self.uses = Counter(number for node in graph.nodes for number in node.bottoms)
        self.uses[graph.output] += 1
        self.numbers = len(graph.shapes)
        self.scratch = Scratch()

    def rewrite(self) -> tuple[list[Step], int]:
        """Return the steps and the number of their last top."""
        ways = (self.absorb, self.convolution, self.deconvolution, self.joint_deconvolution, self.sum, self.drop_axis)
        for node in self.graph.nodes:
            if not any(way(node) for way in ways):
                self.plain(node)
        return self.steps, self.rolled(self.graph.output)

    def absorb(self, node: Node) -> bool:
        """Take a layer into the step that makes its only bottom, when nobody else uses that."""
        step = self.sole_maker(node.bottoms[0]) if len(node.bottoms) == len(node.tops) == 1 else None
        if step is None or not step.absorb(node.layer):
            return False
        self.rename(step, node.tops[0])
        return True

    def convolution(self, node: Node) -> bool:
        """Make a 2-D convolution of one of 2-D or 3-D."""
        layer = node.layer
        if not isinstance(layer, Convolution) or len(node.bottoms) > 1 or layer.axes == 1:
            return False
        if layer.axes == 3 and layer.groups > 1:
            return False
        bottom, weight, bias = node.bottoms[0], _weight(layer), _bias(layer)
        if layer.axes == 3:
            bottom = self.unrolled(bottom)
            weight = unroll(weight, layer.kernel, self.planes[bottom])
            self.planes[node.tops[0]] = len(weight) // len(bias)
        planes = len(weight) // len(bias)
        self.steps.append(
            ConvolutionStep(
                bottoms=(bottom,),
                top=node.tops[0],
                weights=[weight],
                bias=bias.repeat_interleave(planes),
                planes=planes,
                kernel=layer.kernel.along(2),
                groups=layer.groups,
            )
        )
        return True

    def deconvolution(self, node: Node) -> bool:
        """Make a matrix product of a 2-D deconvolution with few outputs, right after its bottom."""
        layer = node.layer
        if not isinstance(layer, Deconvolution) or len(node.bottoms) > 1 or (layer.axes, layer.groups) != (2, 1):
            return False
        if len(_bias(layer)) > FEW_OUTPUTS:
            return False
        step = DeconvolutionStep(
            bottoms=node.bottoms,
            top=node.tops[0],
            weights=[_weight(layer)],
            bias=_bias(layer),
            kernels=[layer.kernel],
            scratch=self.scratch,
        )
        maker = (i + 1 for i, other in enumerate(self.steps) if other.top == node.bottoms[0])
        self.steps.insert(next(maker, 0), step)
        return True

    def joint_deconvolution(self, node: Node) -> bool:
        """Make one step of deconvolutions of the same bottom that are only summed."""
        layer, steps = node.layer, [self.sole_maker(number) for number in node.bottoms]
        parts = [step for step in steps if isinstance(step, DeconvolutionStep) and not step.rectified]
        alike = {(step.bottoms, step.kernels[0].stride) for step in parts}
        if not is_sum(layer) or len(parts) < len(steps) or len(alike) > 1:
            return False
        for part, coefficient in zip(parts, layer.coefficients, strict=True):
            part.multiply(torch.tensor(coefficient, dtype=torch.float64))
        first, *others = parts
        for part in others:
            first.join(part)
            self.steps.remove(part)
        self.rename(first, node.tops[0])
        return True

    def sum(self, node: Node) -> bool:
        """Make a sum, its coefficients in the weights of the convolutions before it where that can be."""
        layer = node.layer
        if not is_sum(layer) or len(node.bottoms) < 2 or any(number in self.planes for number in node.bottoms):
            return False
        coefficients = list(layer.coefficients)
        for i, number in enumerate(node.bottoms):
            step = self.sole_maker(number)
            if isinstance(step, LinearStep) and not step.rectified:
                step.multiply(torch.tensor(coefficients[i], dtype=torch.float64))
                coefficients[i] = 1.0
        self.steps.append(SumStep(bottoms=node.bottoms, top=node.tops[0], coefficients=coefficients))
        return True

    def drop_axis(self, node: Node) -> bool:
        """Forget the axis of a single plane, which is no axis any more."""
        step = self.sole_maker(node.bottoms[0])
        if not isinstance(node.layer, Reshape) or node.layer.message.reshape_param != DROP_LAST_AXIS or step is None:
            return False
        if self.planes.get(node.bottoms[0]) != 1:
            return False
        del self.planes[node.bottoms[0]]
        step.top = node.tops[0]
        return True

    def plain(self, node: Node) -> None:
        """Run a layer as it is, for each of its tops."""
        bottoms = tuple(self.rolled(number) for number in node.bottoms)
        self.steps += [
            PlainStep(bottoms=bottoms, top=top, layer=node.layer, index=i) for i, top in enumerate(node.tops)
        ]

    def sole_maker(self, number: int) -> Step | None:
        """Return the step that makes a value which one layer uses once."""
        return next((step for step in self.steps if step.top == number and self.uses[number] == 1), None)

    def rename(self, step: Step, top: int) -> None:
        """Let a step make `top`."""
        if step.top in self.planes:
            self.planes[top] = self.planes.pop(step.top)
        step.top = top

    def unrolled(self, number: int) -> int:
        """Return the value whose channels are the channels and planes of `number`."""
        if number in self.planes:
            return number
        top = self._new_number()
        self.steps.append(UnrollStep(bottoms=(number,), top=top))
        self.planes[top] = self.graph.shapes[number][4]
        return top

    def rolled(self, number: int) -> int:
        """Return the value with planes as an axis."""
        if number not in self.planes:
            return number
        top = self._new_number()
        self.steps.append(RollStep(bottoms=(number,), top=top, planes=self.planes[number]))
        return top

    def _new_number(self) -> int:
        self.numbers += 1
        return self.numbers - 1


def as_it_lies(blob: torch.Tensor) -> torch.Tensor:
    """Return a view of a blob with its axes in the order that they have in memory.

    Parameters
    ----------
    blob : torch.Tensor, any shape

    Returns
    -------
    torch.Tensor, the same axes in another order
    """
    inner = blob.dim() == 4 and blob.is_contiguous(memory_format=torch.channels_last)
    return blob.permute(0, 2, 3, 1) if inner else blob


def is_sum(layer: Layer) -> TypeGuard[Eltwise]:
    """Return whether `layer` is an Eltwise that sums."""
    return isinstance(layer, Eltwise) and layer.operation == caffe_pb2.EltwiseParameter.SUM


def _ends_with_softmax(graph: Graph) -> bool:
    last = graph.nodes[-1]
    return isinstance(last.layer, Softmax) and last.tops == (graph.output,) and last.layer.axis == 1


def _weight(layer: Convolution | Deconvolution) -> torch.Tensor:
    return layer.blobs[0].detach().double()


def _bias(layer: Convolution | Deconvolution) -> torch.Tensor:
    outputs = layer.message.convolution_param.num_output
    return (
        torch.zeros(outputs, dtype=torch.float64, device=layer.context.device)
        if layer.bias is None
        else layer.bias.detach().double()
    )


def _last_uses(steps: Sequence[Step], output: int) -> list[list[int]]:
    last = {number: i for i, step in enumerate(steps) for number in (*step.bottoms, step.top)}
    dead: list[list[int]] = [[] for _ in steps]
    for number, i in last.items():
        if number != output:
            dead[i].append(number)
    return dead
