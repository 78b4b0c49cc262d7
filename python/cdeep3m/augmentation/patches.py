"""A training patch cut out of a volume as augmentation shows it.

All that is random comes from the generator that also chose the patch: the same seed gives the same patches, wherever a
training was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from cdeep3m.augmentation import operations
from cdeep3m.edition2.secondary import DISPLACEMENT
from cdeep3m.volumes.labels import IGNORED

if TYPE_CHECKING:
    from cdeep3m.augmentation.settings import Augmentation
    from cdeep3m.edition2.settings import Strengths

SKEW_PER_STRENGTH = 1 / 20
"""Share of a patch's side by which a corner moves at strength 1."""
CUBIC, LINEAR = 3, 1
"""Orders of the splines between voxels. Linear ones would blur images: a net would learn from less noise than it sees
when it predicts."""

MARGIN = 8
"""Voxels around a patch that its splines are made with: what lies further does not count."""

Sides = tuple[int, ...]
PlaneOperation = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Look:
    """Where each pixel of a patch comes from: coordinates relative to the patch's centre, in voxels.

    Attributes
    ----------
    x, y : ndarray of float32, shape (x, y)
        Offsets along x and y.
    factor : float
        How much larger things appear.
    """

    x: np.ndarray
    y: np.ndarray
    factor: float


BRIGHTER = 4
"""A jitter of 1 changes brightness by up to a quarter of the way from black to white."""


def draw_look(sides: Sides, augmentation: Augmentation, rng: np.random.Generator) -> Look | None:
    """Draw a change of shape: of size, and skew or elastic distortion.

    Parameters
    ----------
    sides : tuple of int
        Of the patch, axes (x, y, ...).
    augmentation : Augmentation
    rng : Generator

    Returns
    -------
    Look or None
        None where the patch keeps its shape.
    """
    size_draw, shape_draw = rng.random(2)
    factor = _factor(augmentation, size_draw, rng)
    strengths, share = augmentation.strengths, augmentation.shape_share
    x, y = (axis.astype(np.float32) - side // 2 for axis, side in zip(np.indices(sides[:2]), sides[:2], strict=True))
    changed = factor != 1
    x, y = x / np.float32(factor), y / np.float32(factor)
    if strengths and strengths.skew and shape_draw < share:
        x, y, changed = *_skewed(x, y, rng.uniform(0, strengths.skew), rng), True
    elif strengths and strengths.elasticdistortion and share <= shape_draw < 2 * share:
        dx, dy = _displacement(sides[:2], rng.uniform(0, strengths.elasticdistortion), rng)
        x, y, changed = x + dx, y + dy, True
    return Look(x, y, factor) if changed else None


def _factor(augmentation: Augmentation, draw: float, rng: np.random.Generator) -> float:
    smallest, largest = augmentation.resize_range
    if draw < augmentation.resize_share:
        return float(rng.uniform(smallest, 1))
    return float(rng.uniform(1, largest)) if draw < 2 * augmentation.resize_share else 1.0


def _skewed(x: np.ndarray, y: np.ndarray, strength: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Move one corner outwards, along x or y: a bilinear map, nothing at the three other corners."""
    side = max(x.shape)
    u, v = x / x.shape[0] + 0.5, y / y.shape[1] + 0.5
    corner, axis, sign = int(rng.integers(4)), int(rng.integers(2)), rng.choice((-1, 1))
    weight = (u if corner in (1, 2) else 1 - u) * (v if corner in (2, 3) else 1 - v)
    moved = (np.float32(sign * strength * SKEW_PER_STRENGTH * side) * weight).astype(np.float32)
    return (x + moved, y) if axis == 0 else (x, y + moved)


def _displacement(sides: Sides, strength: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw smooth displacements along x and y: uniform noise, smoothed the less the stronger they are."""
    sigma = 27 - strength
    dx, dy = (
        ndimage.gaussian_filter(rng.uniform(-1, 1, sides).astype(np.float32), sigma, mode="constant") * DISPLACEMENT
        for _ in range(2)
    )
    return dx, dy


def look_at(
    data: np.ndarray, labels: np.ndarray, centre: Sides, look: Look, *, depth: int, label_depth: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut a patch and its labels out of a volume as `look` shows them.

    Parameters
    ----------
    data : ndarray, shape (c, x, y, z)
    labels : ndarray, shape (1, x, y, z)
    centre : tuple of int
        (x, y, z) of the patch's centre.
    look : Look
    depth, label_depth : int
        Planes of the patch, and of its labels.

    Returns
    -------
    data : ndarray of float32, shape (c, x, y, depth)
        Interpolated by cubic splines, within the values around; those of the nearest edge outside the volume.
    label : ndarray of float32, shape (1, x, y, label_depth)
        0 or 1, linearly interpolated and cut at one half; `IGNORED` outside the volume.
    inside : ndarray of bool, shape (x, y)
        What lies in the volume.
    """
    x, y = centre[0] + look.x, centre[1] + look.y
    inside = (x >= 0) & (x <= data.shape[1] - 1) & (y >= 0) & (y <= data.shape[2] - 1)
    begin, end = _box(x, y, data.shape[1:3])
    at = np.stack([x - begin[0], y - begin[1]])
    blurring = max(0.0, 0.5 * (1 / look.factor - 1))

    def plane_of(volume: np.ndarray, channel: int, z: int, *, order: int) -> np.ndarray:
        if not 0 <= z < volume.shape[3]:
            return np.zeros(x.shape, np.float32)
        box = volume[channel, begin[0] : end[0], begin[1] : end[1], z].astype(np.float32)
        if order == CUBIC and blurring:
            box = ndimage.gaussian_filter(box, blurring)
        plane = ndimage.map_coordinates(box, at, order=order, mode="nearest")
        return np.clip(plane, box.min(), box.max(), out=plane)

    first, first_label = centre[2] - depth // 2, centre[2] - label_depth // 2
    patch = np.stack(
        [np.stack([plane_of(data, c, first + k, order=CUBIC) for k in range(depth)], -1) for c in range(len(data))]
    )
    label = np.stack([plane_of(labels, 0, first_label + k, order=LINEAR) for k in range(label_depth)], -1)
    label = np.where(inside[..., None], label > 0.5, IGNORED).astype(np.float32)
    return patch, label[np.newaxis], inside


def _box(x: np.ndarray, y: np.ndarray, sides: Sides) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the part of a plane that holds all coordinates and what lies around, at least one voxel of it."""
    ranges = []
    for values, side in ((x, sides[0]), (y, sides[1])):
        begin = int(np.clip(np.floor(values.min()) - MARGIN, 0, side - 1))
        ranges.append((begin, int(np.clip(np.ceil(values.max()) + MARGIN + 1, begin + 1, side))))
    (x0, x1), (y0, y1) = ranges
    return (x0, y0), (x1, y1)


def change_gray_values(
    patch: np.ndarray, augmentation: Augmentation, white: float, rng: np.random.Generator
) -> np.ndarray:
    """Apply one operation on gray values, or none, the jitter and the noise to all planes of a patch.

    Parameters
    ----------
    patch : ndarray of float32, shape (c, x, y, z)
    augmentation : Augmentation
    white : float
        The gray value that is white: 255 for 8-bit images.
    rng : Generator

    Returns
    -------
    ndarray of float32, shape (c, x, y, z)
    """
    changed = _operated(patch, augmentation, white, rng)
    if augmentation.jitter:
        changed = _jittered(changed, augmentation.jitter, white, rng)
    return _noisy(changed, augmentation.noise, white, rng) if augmentation.noise else changed


def _noisy(patch: np.ndarray, noise: float, white: float, rng: np.random.Generator) -> np.ndarray:
    """Add noise that is drawn; it may go beyond black and white, or dark parts would become brighter on the mean."""
    deviation = np.float32(rng.uniform(0, noise) * white)
    return patch + rng.standard_normal(patch.shape, np.float32) * deviation


def _jittered(patch: np.ndarray, jitter: float, white: float, rng: np.random.Generator) -> np.ndarray:
    """Change contrast around the middle gray and brightness by as much as is drawn; stay between black and white."""
    contrast, brightness = rng.uniform(-jitter, jitter, 2)
    middle = white / 2
    changed = (patch - np.float32(middle)) * np.float32(1 + contrast)
    changed += np.float32(middle + brightness * white / BRIGHTER)
    return np.clip(changed, 0, np.float32(white), out=changed)


def _operated(patch: np.ndarray, augmentation: Augmentation, white: float, rng: np.random.Generator) -> np.ndarray:
    """Apply one operation on gray values, or none."""
    draw = rng.random()
    if augmentation.strengths is None:
        return patch
    number = int(draw / augmentation.gray_share) if augmentation.gray_share else len(_DRAWN)
    if number >= len(_DRAWN):
        return patch
    operation = _DRAWN[number](augmentation.strengths, rng)
    if operation is None:
        return patch
    changed = np.empty_like(patch)
    for c in range(patch.shape[0]):
        for z in range(patch.shape[3]):
            changed[c, ..., z] = operation(patch[c, ..., z] / np.float32(white)) * np.float32(white)
    return changed


def _contrast_up(strengths: Strengths, rng: np.random.Generator) -> PlaneOperation | None:
    factor = 1.25 + 0.25 * rng.uniform(0, strengths.highcontrast)
    return (lambda plane: operations.contrast(plane, factor)) if strengths.highcontrast else None


def _contrast_down(strengths: Strengths, rng: np.random.Generator) -> PlaneOperation | None:
    factor = 0.95 - 0.05 * rng.uniform(0, strengths.lowcontrast)
    return (lambda plane: operations.contrast(plane, factor)) if strengths.lowcontrast else None


def _sharpening(strengths: Strengths, rng: np.random.Generator) -> PlaneOperation | None:
    factor = 1 + 0.9 * rng.uniform(0, strengths.sharpen)
    return (lambda plane: operations.sharpen(plane, factor)) if strengths.sharpen else None


def _blurring(strengths: Strengths, rng: np.random.Generator) -> PlaneOperation | None:
    sigma = 0.125 + 0.125 * rng.uniform(0, strengths.blur)
    return (lambda plane: operations.blur(plane, sigma)) if strengths.blur else None


def _noise(strengths: Strengths, rng: np.random.Generator) -> PlaneOperation | None:
    deviation = 0.05 + 0.015 * rng.uniform(0, strengths.uniformnoise)
    return (lambda plane: operations.add_noise(plane, deviation, rng)) if strengths.uniformnoise else None


def _denoising(strengths: Strengths, rng: np.random.Generator) -> PlaneOperation | None:
    factor = 0.1 * rng.uniform(0, strengths.tv_chambolle)
    return (lambda plane: operations.smooth_by_variation(plane, factor)) if strengths.tv_chambolle else None


def _equalisation(strengths: Strengths, rng: np.random.Generator) -> PlaneOperation | None:
    bins = round(261 - 5 * rng.uniform(0, strengths.histogramequalization))
    return (lambda plane: operations.equalise(plane, bins)) if strengths.histogramequalization else None


_DRAWN = (_contrast_up, _contrast_down, _sharpening, _blurring, _noise, _denoising, _equalisation)
