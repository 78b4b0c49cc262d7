"""From boxes to maps on disk: what is missing is predicted, kept net by net, and averaged from arrays."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import ExitStack
from threading import Lock
from typing import TYPE_CHECKING

from cdeep3m.engines.base import Progress
from cdeep3m.prediction.core import average_nets, average_unrounded, to_map_type
from cdeep3m.system.memory import give_back
from cdeep3m.system.threads import Behind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from cdeep3m.geometry import Roi
    from cdeep3m.maps.base import Maps
    from cdeep3m.prediction.core import BoxPredictor

_AVERAGE = "\0"
"""Stands for the average among the names of nets: it is made of probabilities, and these are not on disk."""
WAITING = 4
WAITING_BYTES = 2**26
"""So many boxes may wait to be written, if they are small; of larger ones, one is written while one is predicted."""
LARGE_BOX = 2**24
"""From so many voxels on, and for every tile of a plane, of which there are many, what a box leaves behind in memory is
worth the milliseconds to give it back."""


def missing_boxes(boxes: Sequence[Roi], maps: Mapping[str, Maps]) -> list[tuple[Roi, tuple[str, ...]]]:
    """Return the boxes that some map lacks, in order, and the names of the maps that lack them."""
    lacking = {name: set(each.missing(boxes)) for name, each in maps.items()}
    plan = ((box, tuple(name for name in maps if box in lacking[name])) for box in boxes)
    return [(box, names) for box, names in plan if names]


def is_unrounded(maps: Mapping[str, Maps]) -> bool:
    """Return whether maps have more than 8 bits, so that nets are averaged before anything is rounded."""
    return any(each.spec.dtype != "uint8" for each in maps.values())


def plan_of(boxes: Sequence[Roi], maps: Mapping[str, Maps], averaged: Maps | None) -> list[tuple[Roi, tuple[str, ...]]]:
    """Return the boxes that have to be predicted, in order, and by which nets; see `fill`."""
    if averaged is None or not is_unrounded(maps):
        return missing_boxes(boxes, maps)
    plan = missing_boxes(boxes, {**maps, _AVERAGE: averaged})
    return [(box, tuple(maps) if _AVERAGE in names else names) for box, names in plan]


def fill(
    maps: Mapping[str, Maps],
    averaged: Maps | None,
    boxes: Sequence[Roi],
    predictor: BoxPredictor,
    *,
    before_pass: Callable[[], None] | None = None,
    report: Callable[[str, Progress], None],
) -> None:
    """Predict the boxes that maps lack, as `fill_boxes` does, and make sure that the maps are whole.

    Nothing tells so yet.

    Parameters
    ----------
    boxes : sequence of Roi
        All boxes of the volume.
    maps, averaged, predictor, before_pass, report
        See `fill_boxes`.
    """
    fill_boxes(maps, averaged, boxes, predictor, before_pass=before_pass, report=report)
    for each in (*([averaged] if averaged else []), *maps.values()):
        each.finish()


def fill_boxes(
    maps: Mapping[str, Maps],
    averaged: Maps | None,
    boxes: Sequence[Roi],
    predictor: BoxPredictor,
    *,
    before_pass: Callable[[], None] | None = None,
    report: Callable[[str, Progress], None],
) -> None:
    """Predict those of some boxes that maps lack, write them, and the average of the nets beside them.

    Maps of more than 8 bits are averaged before anything is rounded: all nets predict a box that the average lacks.

    Parameters
    ----------
    maps : mapping of str to Maps
        The map of every net.
    averaged : Maps, optional
        Gets the average of the nets; None: it is made elsewhere, or there is one net.
    boxes : sequence of Roi
    predictor : BoxPredictor
    before_pass : callable, optional
        See `predict_boxes`.
    report : callable
        Told after every box: a net and how far it is, in boxes.
    """
    unrounded = is_unrounded(maps)
    plan = plan_of(boxes, maps, averaged)
    lacking = Counter(name for _, names in plan for name in names)
    done = {name: len(boxes) - lacking[name] for name in maps}
    to_average = set(averaged.missing(boxes)) if averaged else set()
    depth = waiting_for(boxes, unrounded)
    shape = next(iter(maps.values())).spec.shape
    lanes = {name: Lane(each, depth=depth) for name, each in maps.items()}
    with ExitStack() as stack:
        for lane in lanes.values():
            stack.enter_context(lane.writing)
        averaging = stack.enter_context(Behind(depth=depth))
        for box, found in predictor.predict(plan, before_pass=before_pass) if plan else ():
            _hand_over(found, lanes, box, unrounded=unrounded)
            if averaged and unrounded and box in to_average:
                averaging.call(_write, averaged, box, average_unrounded(list(found.values())), unrounded)
                to_average.discard(box)
            elif averaged and not unrounded and (box in to_average or found):
                averaging.call(_average, averaged, box, found, lanes)
                to_average.discard(box)
            predicted = tuple(found)
            del found  # the next box is predicted meanwhile, and takes its room
            if math.prod(box.shape) >= LARGE_BOX or box.shape[1:] != shape[1:]:
                give_back()
            for name in predicted:
                done[name] += 1
                report(name, Progress(done[name], len(boxes)))
    if averaged:
        for box in (box for box in boxes if box in to_average):
            _average(averaged, box, {}, lanes)


class Lane:
    """One map, whose boxes are written in order beside those of other maps: to wait for the disk takes no processor.

    Attributes
    ----------
    writing : Behind
        What runs `write`.
    """

    def __init__(self, maps: Maps, *, depth: int) -> None:
        self.writing = Behind(depth=depth)
        self._maps, self._lock = maps, Lock()

    def write(self, box: Roi, values: np.ndarray, unrounded: bool) -> None:
        """Write a box."""
        with self._lock:
            _write(self._maps, box, values, unrounded)

    def read(self, box: Roi) -> np.ndarray:
        """Return the values of a box that is there; not while another one is written."""
        with self._lock:
            return self._maps.read(box)


def _hand_over(found: Mapping[str, np.ndarray], lanes: Mapping[str, Lane], box: Roi, *, unrounded: bool) -> None:
    for name, values in found.items():
        lanes[name].writing.call(lanes[name].write, box, values, unrounded)


def waiting_for(boxes: Sequence[Roi], unrounded: bool) -> int:
    """Return how many boxes may wait to be written."""
    largest = max((math.prod(box.shape) for box in boxes), default=1)
    return max(1, min(WAITING, WAITING_BYTES // (largest * (4 if unrounded else 1))))


def _write(maps: Maps, box: Roi, values: np.ndarray, unrounded: bool) -> None:
    maps.write(box, to_map_type(values, maps.spec.dtype) if unrounded else values)


def _average(averaged: Maps, box: Roi, found: Mapping[str, np.ndarray], lanes: Mapping[str, Lane]) -> None:
    """Write the average of a box: of what was just predicted, and of what an earlier run left."""
    averaged.write(box, average_nets([found[name] if name in found else lanes[name].read(box) for name in lanes]))
