"""The secondary augmentation of CDeep3M2: what variation 1 to 16 of a training volume goes through.

Stacks are (z, y, x); draws are values, so that whoever holds them can repeat them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import floor
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter, map_coordinates

from cdeep3m.edition2.enhancement import noise_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cdeep3m.edition2.settings import Strengths

WHITE = 255
SIDES = 4
DISPLACEMENT = 550.0
"""Factor of the smoothed displacement fields."""
_OPERATIONS = ("", "contrast up", "contrast down", "sharpness", "blur", "noise", "tv", "equalisation")
_SKEWED, _DISTORTED = range(9, 13), range(13, 17)


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What was drawn for one stack.

    Attributes
    ----------
    noise : callable
        Takes a standard deviation and a shape, returns the noise of the next plane.
    side : int
        0 to 3: which corner the skew moves.
    fields : sequence of ndarray, shape (y, x)
        Four uniform fields in [-1, 1): displacements along x and y in the first plane, then in the last one.
    coefficients : sequence of float, optional
        Of the perspective, where they are known; otherwise they are solved for.
    """

    noise: Callable[[float, tuple[int, ...]], np.ndarray] = field(
        default_factory=lambda: np.random.RandomState().normal  # noqa: NPY002
    )
    side: int = 0
    fields: Sequence[np.ndarray] = ()
    coefficients: Sequence[float] | None = None

    @classmethod
    def from_generator(cls, generator: np.random.RandomState, shape: tuple[int, int]) -> Draws:
        """Draw a side and four fields; planes of noise are drawn when they are needed."""
        side = int(generator.randint(SIDES))
        fields = [2 * generator.rand(*shape) - 1 for _ in range(4)]
        return cls(noise=lambda deviation, size: generator.normal(0, deviation, size), side=side, fields=fields)


def augment(
    images: np.ndarray, labels: np.ndarray, variation: int, strengths: Strengths | None, draws: Draws
) -> tuple[np.ndarray, np.ndarray]:
    """Return a stack and its labels as CDeep3M2 trains on them in this variation.

    Parameters
    ----------
    images, labels : ndarray of uint8, shape (z, y, x)
        In the orientation of the variation, zero fill included.
    variation : int
        1 to 16.
    strengths : Strengths, optional
        None where SEC is 0 or -1: nothing is done.
    draws : Draws

    Returns
    -------
    images, labels : ndarray of uint8, shape (z, y, x)
    """
    if strengths is None:
        return images, labels
    operation = _OPERATIONS[(variation - 1) % len(_OPERATIONS)]
    if operation and not (variation == 4 and strengths.blur == 0):
        images = np.stack([_operate(plane, operation, strengths, draws) for plane in images])
    if variation in _SKEWED:
        return skew(images, labels, strengths.skew, draws)
    if variation in _DISTORTED:
        return distort(images, labels, strengths.elasticdistortion, draws)
    return images, labels


def _operate(plane: np.ndarray, operation: str, strengths: Strengths, draws: Draws) -> np.ndarray:
    """Apply one operation; the keys blur and sharpen are crossed (defect 14)."""
    if operation == "contrast up":
        return contrast(plane, 1.25 + 0.25 * strengths.highcontrast)
    if operation == "contrast down":
        return contrast(plane, 0.95 - 0.05 * strengths.lowcontrast)
    if operation == "sharpness":
        return sharpness(plane, strengths.blur)
    if operation == "blur":
        return blur(plane, 0.125 + 0.125 * strengths.sharpen)
    if operation == "noise":
        return add_noise(plane, 0.05 + 0.015 * strengths.uniformnoise, draws)
    if operation == "tv":
        return chambolle(plane, 0.1 * strengths.tv_chambolle)
    return equalise(plane, 261 - 5 * strengths.histogramequalization)


def contrast(plane: np.ndarray, factor: float) -> np.ndarray:
    """Move gray values of a uint8 plane away from their mean (factor above 1) or towards it.

    Parameters
    ----------
    plane : ndarray of uint8, shape (y, x)

    Returns
    -------
    ndarray of uint8, shape (y, x)
    """
    return np.asarray(ImageEnhance.Contrast(Image.fromarray(plane)).enhance(factor))


def sharpness(plane: np.ndarray, factor: float) -> np.ndarray:
    """Sharpen (factor above 1), leave (1) or smooth (below 1) a uint8 plane (defect 15).

    Parameters
    ----------
    plane : ndarray of uint8, shape (y, x)

    Returns
    -------
    ndarray of uint8, shape (y, x)
    """
    return np.asarray(ImageEnhance.Sharpness(Image.fromarray(plane)).enhance(factor))


def blur(plane: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth a uint8 plane along y, x and a third axis of length 1, dropping fractions each time (defect 17).

    Parameters
    ----------
    plane : ndarray of uint8, shape (y, x)

    Returns
    -------
    ndarray of uint8, shape (y, x)
    """
    return gaussian_filter(plane[:, :, np.newaxis], sigma)[..., 0]


def add_noise(plane: np.ndarray, deviation: float, draws: Draws) -> np.ndarray:
    """Add Gaussian noise of a standard deviation on the scale from 0 to 1; fractions are dropped (defects 15, 17).

    Parameters
    ----------
    plane : ndarray of uint8, shape (y, x)

    Returns
    -------
    ndarray of uint8, shape (y, x)
    """
    noisy = (plane / WHITE)[:, :, np.newaxis] + draws.noise(deviation, (*plane.shape, 1))
    return (WHITE * np.clip(noisy, 0, 1)).astype(np.uint8)[..., 0]


def chambolle(plane: np.ndarray, factor: float) -> np.ndarray:
    """Denoise a uint8 plane with Chambolle's total variation, with a third axis of length 1 (defects 17, 18).

    Parameters
    ----------
    plane : ndarray of uint8, shape (y, x)

    Returns
    -------
    ndarray of uint8, shape (y, x)

    Raises
    ------
    ModuleNotFoundError
        scikit-image is not installed.
    """
    from skimage.restoration import denoise_tv_chambolle

    weight = noise_of(plane) / 100 * factor
    values = (plane / WHITE)[:, :, np.newaxis]
    if weight:
        values = denoise_tv_chambolle(values, weight=weight, channel_axis=None)
    return (WHITE * values).astype(np.uint8)[..., 0]


def equalise(plane: np.ndarray, bins: int) -> np.ndarray:
    """Equalise the histogram of a uint8 plane, with bins over its own range; fractions are dropped (defects 17, 18).

    Parameters
    ----------
    plane : ndarray of uint8, shape (y, x)
    bins : int
        With more than 256 of them, values above 255 wrap around.

    Returns
    -------
    ndarray of uint8, shape (y, x)
    """
    densities, edges = np.histogram(plane.ravel(), bins, density=True)
    cumulated = densities.cumsum()
    scaled = (bins - 1) * cumulated / cumulated[-1]
    found = np.interp(plane.ravel(), edges[:-1], scaled).reshape(plane.shape)
    return found.astype(np.int64).astype(np.uint8)


def skew(images: np.ndarray, labels: np.ndarray, strength: int, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Move one corner of every plane by some voxels, rows taken for the width; 0 outside (defect 20).

    Parameters
    ----------
    images, labels : ndarray of uint8, shape (z, y, x)

    Returns
    -------
    tuple of two ndarray of uint8, shape (z, y, x)
    """
    coefficients = draws.coefficients
    if coefficients is None:
        coefficients = perspective(images.shape[1:], strength, draws.side)
    return _transformed(images, coefficients), binary(_transformed(labels, coefficients))


def perspective(shape: tuple[int, ...], strength: int, side: int) -> list[float]:
    """Return the eight coefficients with which Pillow skews a plane of shape (y, x)."""
    rows, columns = shape
    moved = floor((1 + floor(3 * strength * max(rows, columns))) / 60)
    old = [[0, 0], [rows, 0], [rows, columns], [0, columns]]
    new = [list(corner) for corner in old]
    corner, axis, sign = ((0, 0, -1), (1, 1, -1), (2, 0, 1), (3, 1, 1))[side]
    new[corner][axis] += sign * moved
    lines = []
    for (x, y), (u, v) in zip(new, old, strict=True):
        lines.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        lines.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    return np.linalg.solve(np.array(lines, float), np.array(old, float).ravel()).tolist()


def _transformed(stack: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    size = stack.shape[2], stack.shape[1]
    how = Image.Transform.PERSPECTIVE
    return np.stack(
        [
            np.asarray(Image.fromarray(plane).transform(size, how, coefficients, Image.Resampling.BICUBIC))
            for plane in stack
        ]
    )


def distort(images: np.ndarray, labels: np.ndarray, strength: int, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Displace voxels smoothly, from one displacement in the first plane to another in the last; one plane turns black.

    Outside the plane it is mirrored as SciPy does today, not as SciPy before 1.6.

    Parameters
    ----------
    images, labels : ndarray of uint8, shape (z, y, x)

    Returns
    -------
    tuple of two ndarray of uint8, shape (z, y, x)
    """
    first, last = displacements(draws.fields, 27 - strength)
    y, x = np.mgrid[: images.shape[1], : images.shape[2]]
    pair = np.zeros_like(images), np.zeros_like(labels)
    for j in range(len(images) if len(images) > 1 else 0):
        dx, dy = (a + j / (len(images) - 1) * (b - a) for a, b in zip(first, last, strict=True))
        for stack, out in zip((images, labels), pair, strict=True):
            out[j] = map_coordinates(stack[j], [y + dy, x + dx], order=1, mode="reflect")
    return pair[0], binary(pair[1])


def displacements(
    fields: Sequence[np.ndarray], sigma: float
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return (dx, dy) of the first and of the last plane, in voxels, from four fields in [-1, 1).

    Parameters
    ----------
    fields : sequence of four ndarray of float64, shape (y, x)

    Returns
    -------
    two tuples of two ndarray of float64, shape (y, x)
    """
    dx, dy, dx_last, dy_last = (gaussian_filter(field, sigma, mode="constant") * DISPLACEMENT for field in fields)
    return (dx, dy), (dx_last, dy_last)


def binary(labels: np.ndarray) -> np.ndarray:
    """Return interpolated labels as two values: 0 and 1 where they go up to 1, otherwise 0 and 255.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
    """
    if labels.max() <= 1:
        return (labels > 0.5).astype(np.uint8)
    return (labels > WHITE // 2 + 1).astype(np.uint8) * np.uint8(WHITE)
