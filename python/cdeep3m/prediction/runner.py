"""Where boxes are predicted: here, in this process. Other runners call the same core elsewhere.

Boxes are independent, and a box has the same bytes wherever and however often it is computed: a runner may hand them
out in any order, and again after a worker was lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cdeep3m.prediction.core import predict_boxes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import numpy as np

    from cdeep3m.geometry import Roi
    from cdeep3m.prediction.core import NetInUse
    from cdeep3m.rules import Rules
    from cdeep3m.tiling.grid import Tiling
    from cdeep3m.volumes.base import Volume


class Runner(Protocol):
    """Predicts the boxes of a plan somewhere."""

    def run(
        self, plan: Sequence[tuple[Roi, Collection[str]]], *, before_pass: Callable[[], None] | None = None
    ) -> Iterator[tuple[Roi, dict[str, np.ndarray]]]:
        """Yield every box of `plan` with the maps of its nets, as they are finished; see `predict_boxes`."""


@dataclass(frozen=True, kw_only=True)
class InThisProcess:
    """Predicts one box after the other with nets that are in memory.

    Attributes
    ----------
    volume : Volume
    nets : mapping of str to NetInUse
    tiling : Tiling
    rules : Rules
    unrounded : bool
        Whether boxes come as probabilities instead of maps; see `predict_boxes`.
    """

    volume: Volume
    nets: Mapping[str, NetInUse]
    tiling: Tiling
    rules: Rules
    unrounded: bool = False

    def run(
        self, plan: Sequence[tuple[Roi, Collection[str]]], *, before_pass: Callable[[], None] | None = None
    ) -> Iterator[tuple[Roi, dict[str, np.ndarray]]]:
        """Yield the boxes in the order of the plan."""
        return predict_boxes(
            self.volume,
            plan,
            self.nets,
            tiling=self.tiling,
            rules=self.rules,
            unrounded=self.unrounded,
            before_pass=before_pass,
        )
