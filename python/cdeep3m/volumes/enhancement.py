"""Contrast, total-variation denoising, contrast: planes as models of the second edition expect them.

The denoising solves the problem that CDeep3M2 solves, by an accelerated projected gradient on its dual (A. Beck and
M. Teboulle, "Fast gradient-based algorithms for constrained total variation image denoising and deblurring problems",
IEEE Transactions on Image Processing 18, 2009), a band of rows at a time that stays in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np

from cdeep3m.edition2.enhancement import CUT, FIRST_CUT, NOISE_FREE, WHITE, as_float, noise_of
from cdeep3m.errors import InputError

STEP = 0.125
"""Length of a gradient step: 1 / 8, what the sum of both directions allows."""
ROUND = 10
"""Iterations between looks at whether the plane still changes."""
MOST_ROUNDS = 30
STILL = 0.006 / 255
"""A plane whose voxels change by less than this on average, within a round, is finished."""
BAND = 64
"""Rows that are handled together."""

MEAN, DEVIATION = 128.0, 42.0
"""Gray values of normalised images: three standard deviations to either side fit into 8 bits."""
NORMALISED = "normalised by "
"""Begins the settings of a normalisation."""

Denoiser = Callable[[np.ndarray, float], np.ndarray]
"""Takes a plane (float32, shape (y, x)) and a weight; returns the plane denoised."""


@dataclass(frozen=True, kw_only=True)
class Enhancement:
    """How images are enhanced before a net sees them.

    Attributes
    ----------
    cut : int
        Percent of the gray values that the last step cuts off at either end, 0 to 49; 2 is what CDeep3M2 trains with.
    whole_volume : bool
        Stretch all planes alike, by percentiles of the volume, instead of each by its own.

    Raises
    ------
    InputError
        `cut` is out of range.
    """

    cut: int = CUT
    whole_volume: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.cut < 50:
            raise InputError(f"enhancement with {self.cut} % cut off: expected 0 to 49, 2 for models of CDeep3M2")

    @property
    def text(self) -> str:
        """What `enhancement_of_text` reads again, for a line of settings."""
        return f"{self.cut} % of the whole volume" if self.whole_volume else f"{self.cut} % of each plane"


@dataclass(frozen=True, kw_only=True)
class Normalisation(Enhancement):
    """Brightness and contrast alone: the mean becomes `MEAN`, the standard deviation `DEVIATION`, in 8 bits.

    Images of another microscope, day or gain then look to a net as those that it was trained on. Values are those of
    the images at hand, of the whole volume or of each plane.
    """

    cut: int = 0
    whole_volume: bool = True

    @property
    def text(self) -> str:
        """What `enhancement_of_text` reads again, for a line of settings."""
        return NORMALISED + super().text.removeprefix(f"{self.cut} % of ")


def normalised_plane(plane: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    """Return a plane as uint8, with `mean` at `MEAN` and `deviation` at `DEVIATION`; without contrast, all `MEAN`.

    Parameters
    ----------
    plane : ndarray of uint8 or uint16, shape (y, x)

    Returns
    -------
    ndarray of uint8, shape (y, x)

    Examples
    --------
    >>> normalised_plane(np.uint16([[900, 1000, 1100]]), 1000, 100).tolist()
    [[86, 128, 170]]
    """
    stretch = DEVIATION / deviation if deviation else 0.0
    values = (plane.astype(np.float32) - np.float32(mean)) * np.float32(stretch) + np.float32(MEAN)
    return np.clip(np.rint(values), 0, WHITE).astype(np.uint8)


def enhancement_of_text(text: str) -> Enhancement | None:
    """Return the enhancement of a line of settings; None for `none`, or for no line.

    Examples
    --------
    >>> enhancement_of_text("2 % of each plane"), enhancement_of_text("none")
    (Enhancement(cut=2, whole_volume=False), None)
    >>> enhancement_of_text("normalised by the whole volume")
    Normalisation(cut=0, whole_volume=True)
    """
    if text in ("", "none"):
        return None
    if text in (NORMALISED + "each plane", NORMALISED + "the whole volume"):
        return Normalisation(whole_volume=text.endswith("the whole volume"))
    cut, _, of = text.partition(" % of ")
    if not cut.isdigit() or of not in ("each plane", "the whole volume"):
        raise InputError(f"enhancement {text!r}: expected none, or as in `2 % of each plane`")
    return Enhancement(cut=int(cut), whole_volume=of == "the whole volume")


@dataclass(frozen=True)
class Levels:
    """Gray values, on the scale from 0 to 1, that become black and white before and after the denoising."""

    first: tuple[float, float]
    last: tuple[float, float]


def enhance(
    plane: np.ndarray, *, cut: int = CUT, levels: Levels | None = None, denoise: Denoiser | None = None
) -> np.ndarray:
    """Denoise a plane and stretch its gray values.

    Parameters
    ----------
    plane : ndarray of uint8, uint16 or float, shape (y, x)
        Floating-point values as they are, from 0 to 1.
    cut : int
        Percent of the gray values cut off at either end after the denoising.
    levels : Levels, optional
        Percentiles of the whole volume; default: the plane's own.
    denoise : callable, optional
        What lowers the total variation; default: `denoise_plane`.

    Returns
    -------
    ndarray of uint8, shape (y, x)
        A plane without contrast keeps its gray values, scaled to 8 bits.
    """
    values = as_float(plane)
    first = levels.first if levels else percentiles(values, FIRST_CUT)
    if first[0] >= first[1]:
        return to_8_bits(plane)
    denoised = denoised_plane(values, first, denoise=denoise)
    last = levels.last if levels else percentiles(denoised, cut)
    if last[0] >= last[1]:
        return to_8_bits(plane)
    return np.trunc(stretched(denoised, *last) * WHITE).astype(np.uint8)


def denoised_plane(values: np.ndarray, first: tuple[float, float], *, denoise: Denoiser | None = None) -> np.ndarray:
    """Stretch `first` to 0..1 and lower the total variation as far as the noise asks for it; none where there is none.

    Parameters
    ----------
    values : ndarray of float64, shape (y, x)
    first : tuple of float
        What becomes 0 and 1, the one below the other.
    denoise : callable, optional

    Returns
    -------
    ndarray of float64, shape (y, x)
    """
    plane = stretched(values, *first)
    noise = noise_of(plane)
    if noise <= NOISE_FREE:
        return plane
    return (denoise or denoise_plane)(plane.astype(np.float32), noise / 2).astype(np.float64)


def percentiles(values: np.ndarray, cut: float) -> tuple[float, float]:
    """Return percentiles `cut` and 100 - `cut`, interpolated linearly.

    Parameters
    ----------
    values : ndarray of a number type, any shape
    """
    low, high = np.percentile(values, (cut, 100 - cut))
    return float(low), float(high)


def stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return values with `low` at 0 and `high` at 1, cut off beyond.

    Parameters
    ----------
    values : ndarray of float32 or float64, any shape

    Returns
    -------
    ndarray of that type and shape
    """
    return (np.clip(values, low, high) - low) / (high - low)


def has_contrast(plane: np.ndarray) -> bool:
    """Return whether percentiles 1 and 99 of a plane differ.

    Parameters
    ----------
    plane : ndarray of any number type, shape (y, x)
    """
    low, high = percentiles(as_float(plane), FIRST_CUT)
    return low < high


def to_8_bits(plane: np.ndarray) -> np.ndarray:
    """Return gray values on the scale of 8 bits, those of 8 bits as they are.

    Parameters
    ----------
    plane : ndarray of any number type, shape (y, x)

    Returns
    -------
    ndarray of uint8, shape (y, x)
    """
    if plane.dtype == np.uint8:
        return plane
    return np.rint(np.clip(as_float(plane), 0, 1) * WHITE).astype(np.uint8)


def denoise_plane(plane: np.ndarray, weight: float) -> np.ndarray:
    """Lower the anisotropic total variation of a plane: min 1/2 |plane - u|^2 + weight * (|du/dy|_1 + |du/dx|_1).

    Parameters
    ----------
    plane : ndarray of float32, shape (y, x)
    weight : float
        Above 0.

    Returns
    -------
    ndarray of float32, shape (y, x)

    Examples
    --------
    >>> denoise_plane(np.float32([[0, 0, 1], [0, 0, 1]]), 0.1).astype(float).round(3).tolist()
    [[0.05, 0.05, 0.9], [0.05, 0.05, 0.9]]
    """
    duals = _Duals(plane, np.float32(weight))
    momentum, before = 1.0, plane.copy()
    for _ in range(MOST_ROUNDS):
        for _ in range(ROUND):
            following = (1 + sqrt(1 + 4 * momentum * momentum)) / 2
            duals.iterate(np.float32((momentum - 1) / following))
            momentum = following
        if np.abs(duals.u - before).mean(dtype=np.float64) < STILL:
            break
        before[:] = duals.u
    return duals.solution()


class _Duals:
    """The dual variables of both directions, as they are (`p`, `q`) and extrapolated (`r`, `s`)."""

    def __init__(self, plane: np.ndarray, weight: np.float32) -> None:
        height, width = plane.shape
        self.plane, self.weight = plane, weight
        self.p, self.r = (np.zeros((max(height - 1, 0), width), np.float32) for _ in range(2))
        self.q, self.s = (np.zeros((height, max(width - 1, 0)), np.float32) for _ in range(2))
        self.u = plane.copy()

    def iterate(self, momentum: np.float32) -> None:
        """Take a gradient step, a band of rows after the other; `u` becomes the plane of the extrapolated duals."""
        height = len(self.plane)
        for top in range(0, height, BAND):
            bottom = min(top + BAND, height)
            _primal(self.plane, self.r, self.s, self.u, top, bottom)
            across = self.u[top:bottom, 1:] - self.u[top:bottom, :-1]
            self._advance(self.q[top:bottom], self.s[top:bottom], across, momentum)
            # a dual between two rows needs both of them; the one below this band waits for the next band
            above = max(top - 1, 0)
            down = self.u[above + 1 : bottom] - self.u[above : bottom - 1]
            self._advance(self.p[above : bottom - 1], self.r[above : bottom - 1], down, momentum)

    def _advance(self, dual: np.ndarray, ahead: np.ndarray, gradient: np.ndarray, momentum: np.float32) -> None:
        gradient *= np.float32(STEP)
        ahead += gradient
        np.clip(ahead, -self.weight, self.weight, out=ahead)
        np.subtract(ahead, dual, out=gradient)
        dual[:] = ahead
        gradient *= momentum
        ahead += gradient

    def solution(self) -> np.ndarray:
        """Return the plane of the duals as they are."""
        _primal(self.plane, self.p, self.q, self.u, 0, len(self.plane))
        return self.u


def _primal(plane: np.ndarray, p: np.ndarray, q: np.ndarray, u: np.ndarray, top: int, bottom: int) -> None:
    """Write rows `top` to `bottom` of the plane that belongs to the duals into `u`."""
    rows = u[top:bottom]
    rows[:] = plane[top:bottom]
    rows[: len(p) - top] += p[top:bottom]
    first = max(top, 1)
    u[first:bottom] -= p[first - 1 : bottom - 1]
    rows[:, :-1] += q[top:bottom]
    rows[:, 1:] -= q[top:bottom]
