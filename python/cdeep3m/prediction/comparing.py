"""What short numbers change, told of one plane: before the prediction, or beside it on a device of its own."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cdeep3m.maps.agreement import agreement_of
from cdeep3m.prediction.reading import PackageReader
from cdeep3m.system.threads import Behind

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from cdeep3m.engines.base import LoadedNet
    from cdeep3m.tiling.grid import Tiling
    from cdeep3m.volumes.base import Volume

MOST_NETS = 64
"""Nets that may wait to be compared; a run has three."""

logger = logging.getLogger(__name__)


class Comparisons:
    """Compares nets with short numbers with the same nets in float32, on the middle plane, and says how they differ.

    Where that is done beside something else and fails, as both together may need more memory than there is, it is done
    once more at the end of the block, and fails then.

    Parameters
    ----------
    volume : Volume
        As nets see it.
    tiling : Tiling
    note : callable
        Gets each sentence, from another thread where it is made beside.
    beside : bool
        Whether `tell` returns at once; nets that are compared are then used nowhere else.
    """

    def __init__(self, volume: Volume, tiling: Tiling, *, note: Callable[[str], None], beside: bool) -> None:
        self._volume, self._tiling, self._note = volume, tiling, note
        self._behind = Behind(depth=MOST_NETS) if beside else None
        self._again: list[tuple[str, LoadedNet, LoadedNet]] = []

    def tell(self, net: str, plain: LoadedNet, fast: LoadedNet) -> None:
        """Compare a net."""
        if self._behind is None:
            self._tell(net, plain, fast)
        else:
            self._behind.call(self._try, net, plain, fast)

    def _try(self, net: str, plain: LoadedNet, fast: LoadedNet) -> None:
        try:
            self._tell(net, plain, fast)
        except RuntimeError:  # a lack of memory, the engine's or PyTorch's own
            self._again.append((net, plain, fast))

    def _tell(self, net: str, plain: LoadedNet, fast: LoadedNet) -> None:
        said = cost_of_speed(net, plain, fast, self._volume, self._tiling, self._volume.shape[0] // 2)
        logger.info(said)
        self._note(said)

    def __enter__(self) -> Comparisons:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._behind is not None:
            self._behind.__exit__(kind, error, trace)
        for each in self._again if error is None else ():
            self._tell(*each)


def cost_of_speed(net: str, plain: LoadedNet, fast: LoadedNet, volume: Volume, tiling: Tiling, z: int) -> str:
    """Predict plane `z` of one package with both; say how they differ."""
    window = PackageReader(volume, tiling, frames=fast.frames).window(tiling.packages_at(z)[0], z, fast.frames)
    found = agreement_of([(next(iter(plain.foreground([window]))), next(iter(fast.foreground([window]))))])
    return (
        f"{net}: fast numbers change {1 - found.equal_share:.1%} of the 8-bit values of plane {z + 1}, by "
        f"{found.largest_step} of 255 at most; probabilities by {found.largest:.2g} at most"
    )
