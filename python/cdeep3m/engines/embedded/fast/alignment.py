"""Channels filled up with zeros to a multiple of what a GPU's matrix units take: three times as fast as an odd number.

A convolution gets further outputs whose weights and biases are 0; whatever uses them gets further weights that are 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from cdeep3m.engines.embedded.fast.steps import ConvolutionStep, DeconvolutionStep, PlainStep, Step, SumStep
from cdeep3m.engines.embedded.net.layers.concat import Concat
from cdeep3m.engines.embedded.net.layers.pooling import Pooling

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

MULTIPLE = 8
"""Channels of 16-bit numbers that are read together."""

CHANNELS = 1
"""Axis of the channels."""

Places = list[int]
"""For each channel that there is now, which one it was; -1 for one of zeros."""


def align(steps: Sequence[Step], output: int, *, multiple: int = MULTIPLE) -> None:
    """Change the weights of steps that are not placed yet, where everything that uses a blob can be told.

    Parameters
    ----------
    steps : sequence of Step
        In order.
    output : int
        The blob that is returned; it stays as it is.
    multiple : int
        What numbers of channels are filled up to.
    """
    fixed = fixed_blobs(steps, output)
    places: dict[int, Places] = {}
    for step in steps:
        given = [places.get(number) for number in step.bottoms]
        if isinstance(step, ConvolutionStep):
            _fill_inputs(step, CHANNELS, given[0])
            if step.top not in fixed:
                places[step.top] = _fill_outputs(step, multiple)
        elif isinstance(step, DeconvolutionStep):
            _fill_inputs(step, 0, given[0])
        elif step.top not in fixed:
            known = [each for each in given if each]
            places[step.top] = _joined(known) if _is_concat(step) else known[0]


def fixed_blobs(steps: Sequence[Step], output: int) -> set[int]:
    """Return the blobs whose channels must stay: something uses them, or what is made of them, that cannot be told."""
    parts = _parts(steps)
    fixed = {output}
    while True:
        found = {number for step in steps for number in _fixed_by(step, parts, fixed)}
        if found <= fixed:
            return fixed
        fixed |= found


def _fixed_by(step: Step, parts: dict[int, tuple[int, ...]], fixed: Collection[int]) -> Collection[int]:
    if _takes_any(step):
        return () if isinstance(step, ConvolutionStep) else (step.top,)
    blobs = {*step.bottoms, step.top}
    if not _passes_on(step) or blobs & set(fixed) or any(number not in parts for number in blobs):
        return blobs
    alike = len({parts[number] for number in step.bottoms}) == 1
    return blobs if isinstance(step, SumStep) and not alike else ()


def _parts(steps: Sequence[Step]) -> dict[int, tuple[int, ...]]:
    """Return for each blob how many channels each convolution made that it was joined of, where that is known."""
    parts: dict[int, tuple[int, ...]] = {}
    for step in steps:
        if isinstance(step, ConvolutionStep):
            parts[step.top] = (len(step.bias),)
        elif _passes_on(step) and all(number in parts for number in step.bottoms):
            given = [parts[number] for number in step.bottoms]
            parts[step.top] = sum(given, ()) if _is_concat(step) else given[0]
    return parts


def _takes_any(step: Step) -> bool:
    """Return whether a step's own weights can follow its bottom's channels."""
    return isinstance(step, DeconvolutionStep) or (isinstance(step, ConvolutionStep) and step.groups == 1)


def _passes_on(step: Step) -> bool:
    """Return whether zeros stay zeros, and channels where they are, one bottom's after the other's."""
    pools = isinstance(step, PlainStep) and isinstance(step.layer, Pooling)
    return pools or isinstance(step, SumStep) or _is_concat(step)


def _is_concat(step: Step) -> bool:
    return isinstance(step, PlainStep) and isinstance(step.layer, Concat) and step.layer.axis == CHANNELS


def _fill_inputs(step: ConvolutionStep | DeconvolutionStep, axis: int, places: Places | None) -> None:
    if places:
        step.weights = [_filled(weight, axis, places) for weight in step.weights]


def _fill_outputs(step: ConvolutionStep, multiple: int) -> Places:
    outputs = len(step.bias)
    places = [*range(outputs), *[-1] * (-outputs % multiple)]
    step.weights = [_filled(weight, 0, places) for weight in step.weights]
    step.bias = _filled(step.bias, 0, places)
    return places


def _filled(values: torch.Tensor, axis: int, places: Places) -> torch.Tensor:
    """Return values with zeros along an axis where `places` is -1."""
    shape = list(values.shape)
    shape[axis] = len(places)
    there = torch.tensor([k for k, place in enumerate(places) if place >= 0], device=values.device)
    taken = torch.tensor([place for place in places if place >= 0], device=values.device)
    return values.new_zeros(shape).index_copy_(axis, there, values.index_select(axis, taken))


def _joined(parts: Sequence[Places]) -> Places:
    joined: Places = []
    before = 0
    for places in parts:
        joined += [place + before if place >= 0 else -1 for place in places]
        before += max(places) + 1
    return joined
