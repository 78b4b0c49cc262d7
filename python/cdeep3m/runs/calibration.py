"""What makes 0.5 the right threshold of a net's maps: a scale and an offset of the logit, kept beside the net."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

STEPS = 65535
"""Averaged probabilities are kept in 16 bits."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How the probabilities of a net become calibrated ones: sigmoid(scale * logit(p) + offset).

    Attributes
    ----------
    weights : str
        File name of the weights that it belongs to.
    scale : float
        1 / temperature, above 0.
    offset : float
        In logits.
    planes : str
        Which planes it was fitted on, in words.
    label : int
        The class whose probabilities they are.

    Raises
    ------
    InputError
        A number that orders probabilities otherwise, or none.
    """

    weights: str
    scale: float
    offset: float
    planes: str
    label: int = 1

    def __post_init__(self) -> None:
        if not (0 < self.scale < math.inf and math.isfinite(self.offset)):
            raise InputError(f"calibration {self.scale}, {self.offset}: expected a scale above 0 and a finite offset")

    @property
    def text(self) -> str:
        """The numbers, for a line of settings."""
        return f"{self.scale:.9g} {self.offset:.9g}"

    @property
    def words(self) -> str:
        """What it does, for messages."""
        return f"temperature {1 / self.scale:.3g}, {self.threshold:.2f} becomes 0.5, from {self.planes}"

    @property
    def threshold(self) -> float:
        """The probability that becomes 0.5."""
        return 1 / (1 + math.exp(min(self.offset / self.scale, 700.0)))

    def apply(self, probability: np.ndarray) -> np.ndarray:
        """Calibrate averaged probabilities.

        Parameters
        ----------
        probability : ndarray of uint16 (of 65535) or float

        Returns
        -------
        ndarray of the same type and shape

        Examples
        --------
        >>> half = Calibration(weights="", scale=1.0, offset=-np.log(4 / 1), planes="")
        >>> half.apply(np.array([0, 0.5, 0.8, 1])).round(3).tolist(), half.apply(np.uint16([0, 52428, 65535])).tolist()
        ([0.0, 0.2, 0.5, 1.0], [0, 32768, 65535])
        """
        if probability.dtype == np.uint16:
            return _table(self.scale, self.offset)[probability]
        return _calibrated(probability.astype(np.float64), self.scale, self.offset).astype(probability.dtype)


def written(calibrations: Mapping[str, Calibration]) -> str:
    """Return the calibrations of nets as a line of settings, which `calibrations_in` reads again."""
    return ", ".join(f"{net} {one.weights} {one.text}" for net, one in calibrations.items())


def calibrations_in(line: str) -> dict[str, Calibration]:
    """Return the calibrations in a line of settings.

    Raises
    ------
    InputError
        It holds something else.

    Examples
    --------
    >>> one = Calibration(weights="a.caffemodel", scale=0.5, offset=1.25, planes="")
    >>> calibrations_in(written({"1fm": one})) == {"1fm": one}, calibrations_in("")
    (True, {})
    """
    found = {}
    for part in filter(None, line.split(", ")):
        try:
            net, weights, scale, offset = part.split(" ")
            found[net] = Calibration(weights=weights, scale=float(scale), offset=float(offset), planes="")
        except ValueError:
            raise InputError(f"calibration {part!r}: expected a net, its weights and two numbers") from None
    return found


def _calibrated(probability: NDArray[np.float64], scale: float, offset: float) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", over="ignore"):
        logit = np.log(probability) - np.log1p(-probability)
        values: NDArray[np.float64] = 1 / (1 + np.exp(-(scale * logit + offset)))
    return values


@lru_cache(maxsize=16)
def _table(scale: float, offset: float) -> NDArray[np.uint16]:
    """Return the calibrated value of every 16-bit one."""
    values = _calibrated(np.arange(STEPS + 1) / STEPS, scale, offset)
    return np.floor(values * STEPS + 0.5).astype(np.uint16)
