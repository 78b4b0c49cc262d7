"""The losses of a training: they stay on the device until somebody asks, since to read one is to wait for it."""

from __future__ import annotations

import math
from collections import deque

import torch

from cdeep3m.errors import EngineError


class Losses:
    """The losses of the last iterations.

    Parameters
    ----------
    average : int
        Iterations that the smoothed loss is a mean of.

    Attributes
    ----------
    smoothed : float, optional
        Mean of the losses that were read last.
    """

    def __init__(self, average: int) -> None:
        self._read: deque[float] = deque(maxlen=average)
        self._unread: list[tuple[int, torch.Tensor]] = []
        self.smoothed: float | None = None

    def add(self, iteration: int, loss: torch.Tensor) -> None:
        """Take the loss of an iteration, a number in a tensor.

        Parameters
        ----------
        iteration : int
        loss : torch.Tensor, shape ()
        """
        self._unread.append((iteration, loss))

    def read(self) -> float:
        """Read what has not been read; return the smoothed loss, of one iteration at least.

        Raises
        ------
        EngineError
            A loss is infinite or no number.
        """
        iterations = [iteration for iteration, _ in self._unread]
        values = torch.stack([loss for _, loss in self._unread]).tolist() if self._unread else []
        self._unread.clear()
        for iteration, value in zip(iterations, values, strict=True):
            if not math.isfinite(value):
                raise EngineError(
                    f"the loss is {value} at iteration {iteration}: the training diverged. "
                    "Go on from the last snapshot with a lower base_lr; check the images for values that are no "
                    "numbers"
                )
            self._read.append(value)
        self.smoothed = sum(self._read) / max(len(self._read), 1)
        return self.smoothed
