"""How many windows are predicted together, and with which numbers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

import torch

from cdeep3m.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cdeep3m.engines.base import Precision

VOXELS_ON_CPU = 1024 * 1024
"""Windows that are predicted together on the CPU have no more voxels in a plane than this, or are alone."""

VOXELS_ON_GPU = 4 * 1024 * 1024
"""The same on a GPU; more at once are no faster there."""

MOST_WINDOWS = 8
"""Windows that are predicted together at most."""

BYTES_PER_VOXEL = {torch.float32: 1500, torch.float16: 500, torch.bfloat16: 500}
"""Memory that a prediction takes on a GPU for each voxel of a plane, rounded up."""

FIRST_WITH_HALF = (7, 0)
"""Compute capability from which a GPU is faster with 16-bit numbers."""

logger = logging.getLogger(__name__)

Item = TypeVar("Item")


def number_for(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the type of numbers that `device` computes with at a precision.

    float16 has 11 bits of precision and no number beyond 65504; bfloat16, the CPU's, has 8 bits and no such limit.
    """
    if precision == "float32":
        return torch.float32
    if device.type != "cuda":
        return torch.bfloat16
    if torch.cuda.get_device_capability(device) >= FIRST_WITH_HALF:
        return torch.float16
    logger.warning("%s has no fast 16-bit numbers: predicting with float32", torch.cuda.get_device_name(device))
    return torch.float32


class BatchSize:
    """How many windows fit into memory; the same number in every run where memory suffices, as it touches last digits.

    Parameters
    ----------
    device : torch.device
    number : torch.dtype
        Type of the numbers.
    """

    def __init__(self, device: torch.device, number: torch.dtype) -> None:
        self._device, self._number = device, number
        self._limit = MOST_WINDOWS
        self._known: dict[int, int] = {}

    def of(self, voxels: int) -> int:
        """Return how many windows with `voxels` in a plane to predict together."""
        if voxels not in self._known:
            self._known[voxels] = self._fitting(voxels)
        return min(self._limit, self._known[voxels])

    def run(self, work: Callable[[slice], torch.Tensor], windows: int, voxels: int) -> torch.Tensor:
        """Do `work` on all windows, as many at a time as fit; where memory runs out all the same, on half as many.

        Parameters
        ----------
        work : callable
            Returns a tensor (n, ...) for the windows of a slice.
        windows : int
            How many there are.
        voxels : int
            Of a plane of each.

        Raises
        ------
        EngineError
            Memory does not suffice for one.
        """
        done: list[torch.Tensor] = []
        begin = 0
        while begin < windows:
            step = min(self.of(voxels), windows - begin)
            try:
                done.append(work(slice(begin, begin + step)))
            except torch.OutOfMemoryError as error:
                said = str(error).split("\n", 1)[0]
            else:
                begin += step
                continue
            self._halve(step, voxels, said)
        return done[0] if len(done) == 1 else torch.cat(done)

    def _fitting(self, voxels: int) -> int:
        if self._device.type == "cpu":
            return max(1, min(MOST_WINDOWS, VOXELS_ON_CPU // voxels))
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(self._device)
        return max(1, min(MOST_WINDOWS, VOXELS_ON_GPU // voxels, free // (BYTES_PER_VOXEL[self._number] * voxels)))

    def _halve(self, step: int, voxels: int, said: str) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if step == 1:
            raise EngineError(
                f"one window with planes of {voxels} voxels does not fit into the memory of {self._device} ({said}): "
                "free memory there, choose another GPU with --gpu or the CPU with --gpu -1, or try --fit"
            )
        if self._limit == MOST_WINDOWS:
            logger.warning("memory of %s ran out with %d windows at once: going on with fewer", self._device, step)
        self._limit = step // 2


def in_batches(
    items: Iterable[Item], shape: Callable[[Item], object], size: Callable[[Item], int]
) -> Iterator[list[Item]]:
    """Yield neighbouring items of one shape together, at most as many as `size` says for that shape.

    Examples
    --------
    >>> list(in_batches(["a", "b", "cc", "d", "e", "f"], len, lambda item: 2))
    [['a', 'b'], ['cc'], ['d', 'e'], ['f']]
    """
    batch: list[Item] = []
    for item in items:
        if batch and shape(item) != shape(batch[0]):
            yield batch
            batch = []
        batch.append(item)
        if len(batch) >= size(item):
            yield batch
            batch = []
    if batch:
        yield batch
