"""An electron micrograph volume that nobody has to annotate: neuropil with mitochondria, and the truth about them.

Cells are a warped Voronoi tessellation of space. Mitochondria are bent tubes in them: two membranes, a matrix, cristae.
Dense bodies, vesicles, endoplasmic reticulum, synaptic densities and myelin are there to be mistaken for them; shading,
section thickness, jitter between sections and shot noise are there because microscopes are like that. Lengths are in
pixels of the plane; a section is `SECTION` of them thick.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.interpolate import BSpline
from scipy.spatial import cKDTree

SECTION = 4.0
"""Thickness of a section, in pixels of the plane."""

_FAR = np.float32(99)


@dataclass(frozen=True)
class SyntheticVolume:
    """A volume and its ground truth.

    Attributes
    ----------
    image : ndarray of uint8, shape (z, y, x)
        Gray values as a microscope might give them.
    label : ndarray of uint8, shape (z, y, x)
        1 in mitochondria, 0 elsewhere.
    """

    image: np.ndarray
    label: np.ndarray


@dataclass(frozen=True)
class _Cells:
    """For every voxel: its cell, its distance from the membrane, how obliquely that is cut, and if it has myelin."""

    number: np.ndarray
    depth: np.ndarray
    tilt: np.ndarray
    sheathed: np.ndarray


@dataclass(frozen=True)
class _Bodies:
    """Signed distance from the nearest body's surface (negative inside), a length along its axis, and its own shade."""

    distance: np.ndarray
    along: np.ndarray
    shade: np.ndarray


def synthesize(shape: tuple[int, int, int], *, seed: int) -> SyntheticVolume:
    """Make a volume of neuropil.

    Parameters
    ----------
    shape : tuple of int
        Voxels along (z, y, x).
    seed : int
        The same seed gives the same volume.

    Returns
    -------
    SyntheticVolume

    Examples
    --------
    >>> volume = synthesize((2, 64, 96), seed=1)
    >>> volume.image.shape, volume.image.dtype, int(volume.label.max())
    ((2, 64, 96), dtype('uint8'), 1)
    """
    rng = np.random.default_rng(seed)
    cells = _cells(rng, shape)
    mitochondria = _mitochondria(rng, cells)
    gray = _cytoplasm(rng, cells)
    gray -= _reticulum(rng, cells, mitochondria)
    gray -= _small_bodies(rng, cells, mitochondria)
    inside = _coverage(mitochondria.distance)
    gray += inside * (_mitochondrion_gray(rng, mitochondria) - gray)
    gray -= _membranes(rng, cells)
    return _record(rng, gray, mitochondria.distance <= 0)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], spacing: tuple[float, ...]) -> np.ndarray:
    """Draw noise that varies over about `spacing` voxels along each axis, with mean 0 and variance near 1.

    Returns
    -------
    ndarray of float32, shape `shape`
    """
    noise = rng.standard_normal(
        [int(np.ceil(n / s)) + 4 for n, s in zip(shape, spacing, strict=True)], dtype=np.float32
    )
    for axis, (n, s) in enumerate(zip(shape, spacing, strict=True)):
        weights = _spline_weights(n, s, noise.shape[axis])
        noise = np.moveaxis(np.tensordot(weights, noise, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(noise)


def _spline_weights(samples: int, spacing: float, knots: int) -> np.ndarray:
    """Return the cubic B-spline weights of `knots` coefficients at `samples` points, rows of unit length."""
    at = np.arange(samples) / spacing + 3
    weights = BSpline.design_matrix(at, np.arange(knots + 4, dtype=float), 3).toarray()
    return (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)


def _cells(rng: np.random.Generator, shape: tuple[int, int, int], *, size: float = 75.0, step: int = 2) -> _Cells:
    """Tessellate space into cells, on a grid of every `step`-th pixel that is then enlarged."""
    depth, height, width = shape
    coarse = (depth, -(-height // step), -(-width // step))
    points = np.moveaxis(np.indices(coarse, dtype=np.float32), 0, -1) * np.array([SECTION / 2, step, step], np.float32)
    for axis, strength in ((0, 8), (1, 16), (2, 16)):
        points[..., axis] += strength * smooth_noise(rng, coarse, (18, 64 / step, 64 / step))
        points[..., axis] += strength / 6 * smooth_noise(rng, coarse, (6, 16 / step, 16 / step))
    box = np.array([depth * SECTION / 2, height, width])
    margin = np.minimum(2 * size, box + size)
    seeds = rng.uniform(-margin, box + margin, (int(np.prod(box + 2 * margin) / size**3) + 4, 3))
    near, which = cKDTree(seeds).query(points, k=2, workers=-1)
    across = seeds[which[..., 1]] - seeds[which[..., 0]]
    apart = np.linalg.norm(across, axis=-1)
    distance = (near[..., 1] ** 2 - near[..., 0] ** 2) / (2 * apart)
    number = _enlarge(which[..., 0], step, 0)[:, :height, :width]
    return _Cells(
        number,
        _enlarge(distance.astype(np.float32), step, 1)[:, :height, :width],
        _enlarge((np.abs(across[..., 0]) / apart).astype(np.float32), step, 1)[:, :height, :width],
        (rng.uniform(size=len(seeds)) < 0.04)[number],
    )


def _enlarge(values: np.ndarray, step: int, order: int) -> np.ndarray:
    return ndimage.zoom(values, (1, step, step), order=order, mode="nearest", grid_mode=True)


def _mitochondria(rng: np.random.Generator, cells: _Cells, *, per_voxel: float = 1 / 40_000) -> _Bodies:
    """Lay bent tubes into the cells, clipped to stay clear of their membranes."""
    shape = np.array(cells.depth.shape)
    bodies = _Bodies(np.full(shape, _FAR), np.zeros(shape, np.float32), np.zeros(shape, np.float32))
    bumps = 1.6 * smooth_noise(rng, cells.depth.shape, (4, 14, 14))
    for _ in range(rng.poisson(np.prod(shape + (16, 0, 0)) * per_voxel)):
        middle = rng.uniform((-8, 0, 0), shape + (8, 0, 0))
        radius, shade = rng.uniform(12, 24), rng.normal(0, 5)
        home = cells.number[tuple(np.clip(middle.astype(int), 0, shape - 1))]
        _lay_tube(bodies, _centreline(rng, middle), radius, shade, cells, home, bumps)
    return bodies


def _centreline(rng: np.random.Generator, middle: np.ndarray, *, stride: float = 5.0) -> np.ndarray:
    """Walk from `middle`, a voxel (z, y, x), with slowly turning steps; return points in pixels, shape (n, 3)."""
    heading = rng.normal(size=3)
    points = [middle * (SECTION, 1, 1)]
    for _ in range(rng.integers(3, 26)):
        heading += 0.35 * rng.normal(size=3)
        heading /= np.linalg.norm(heading)
        points.append(points[-1] + stride * heading)
    return np.array(points)


def _lay_tube(
    bodies: _Bodies, line: np.ndarray, radius: float, shade: float, cells: _Cells, home: int, bumps: np.ndarray
) -> None:
    scale = np.array([SECTION, 1, 1])
    begin = np.maximum(np.floor((line.min(0) - radius - 6) / scale).astype(int), 0)
    end = np.minimum(np.ceil((line.max(0) + radius + 6) / scale).astype(int), bodies.distance.shape)
    if (end <= begin).any():
        return
    box = tuple(slice(b, e) for b, e in zip(begin, end, strict=True))
    z, y, x = (np.arange(b, e, dtype=np.float32) * s for b, e, s in zip(begin, end, scale, strict=True))
    best = np.full(tuple(end - begin), np.inf, np.float32)
    along = np.zeros_like(best)
    for k, (cz, cy, cx) in enumerate(line.astype(np.float32)):
        square = ((z - cz) ** 2)[:, None, None] + ((y - cy) ** 2)[:, None] + (x - cx) ** 2
        closer = square < best
        best[closer] = square[closer]
        along[closer] = _progress(line, k, z, y, x)[closer]
    distance = np.sqrt(best) - radius + bumps[box]
    wall = np.where(cells.sheathed[box], 15, 6) - cells.depth[box]
    distance = np.where(cells.number[box] == home, np.maximum(distance, wall), _FAR)
    distance = ndimage.gaussian_filter(np.minimum(distance, 12), (0, 2.5, 2.5))
    if (distance < -6).sum() < 60:
        return
    nearer = distance < bodies.distance[box]
    for field, values in ((bodies.distance, distance), (bodies.along, along), (bodies.shade, np.float32(shade))):
        field[box][nearer] = np.broadcast_to(values, distance.shape)[nearer]


def _progress(line: np.ndarray, k: int, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return how far along the tube's axis the points of a box are, measured at the line's k-th point."""
    step = line[min(k + 1, len(line) - 1)] - line[max(k - 1, 0)]
    az, ay, ax = (step / np.linalg.norm(step)).astype(np.float32)
    cz, cy, cx = line[k]
    offset = az * (z - cz)[:, None, None] + ay * (y - cy)[:, None] + ax * (x - cx)
    return (5 * k + offset).astype(np.float32)


def _cytoplasm(rng: np.random.Generator, cells: _Cells) -> np.ndarray:
    """Return each cell's own gray with a granular texture."""
    shape = cells.depth.shape
    own = rng.normal(162, 8, int(cells.number.max()) + 1).astype(np.float32)[cells.number]
    own = ndimage.gaussian_filter(own, (0, 1, 1))
    return own + 5 * smooth_noise(rng, shape, (1.5, 7, 7)) + 6 * smooth_noise(rng, shape, (1, 2.5, 2.5))


def _reticulum(rng: np.random.Generator, cells: _Cells, mitochondria: _Bodies) -> np.ndarray:
    """Return the darkening by endoplasmic reticulum: paired thin lines that wind through parts of the cells."""
    shape = cells.depth.shape
    field = smooth_noise(rng, shape, (5, 26, 26))
    where = _ramp(smooth_noise(rng, shape, (8, 90, 90)), 0.2, 0.6) * _ramp(cells.depth, 6, 9)
    where *= _ramp(mitochondria.distance, 2, 5)
    return 48 * np.exp(-(((np.abs(field) - 0.18) / 0.07) ** 2)) * where


def _small_bodies(rng: np.random.Generator, cells: _Cells, mitochondria: _Bodies) -> np.ndarray:
    """Return the darkening by vesicles (rings) and dense bodies (discs as dark as mitochondria)."""
    shape = cells.depth.shape
    darkening = np.zeros(shape, np.float32)
    free = np.minimum(cells.depth, mitochondria.distance)
    clusters = smooth_noise(rng, shape, (6, 40, 40)) > 1.0
    for count, radii, ring, strength in ((1 / 700, (2.5, 3.5), True, 55), (1 / 45_000, (6, 15), False, 70)):
        centres = rng.uniform(0, 1, (rng.poisson(np.prod(shape) * count), 3)) * shape
        for centre in centres:
            at = tuple(centre.astype(int))
            radius = rng.uniform(*radii)
            if free[at] > radius + 2 and (clusters[at] or not ring):
                _add_ball(darkening, centre, radius, ring, strength * rng.uniform(0.7, 1.2))
    return darkening


def _add_ball(darkening: np.ndarray, centre: np.ndarray, radius: float, ring: bool, strength: float) -> None:
    reach = np.array([np.ceil((radius + 2) / SECTION), radius + 3, radius + 3])
    begin = np.maximum(centre - reach, 0).astype(int)
    end = np.minimum(centre + reach + 1, darkening.shape).astype(int)
    box = tuple(slice(b, e) for b, e in zip(begin, end, strict=True))
    z, y, x = (np.arange(b, e, dtype=np.float32) - c for b, e, c in zip(begin, end, centre, strict=True))
    distance = np.sqrt((SECTION * z[:, None, None]) ** 2 + y[:, None] ** 2 + x**2) - radius
    profile = np.exp(-(distance**2) / 2) if ring else _coverage(distance)
    darkening[box] = np.maximum(darkening[box], np.float32(strength) * profile)


def _mitochondrion_gray(rng: np.random.Generator, bodies: _Bodies) -> np.ndarray:
    """Return the gray of mitochondria: matrix, cristae across the axis, and the two membranes."""
    shape = bodies.distance.shape
    phase = bodies.along + 4 * smooth_noise(rng, shape, (3, 18, 18))
    cristae = np.exp(-(((phase % 10 - 5) / 1.7) ** 2)) * _ramp(-bodies.distance, 3, 5)
    cristae *= _ramp(smooth_noise(rng, shape, (2, 12, 12)), -1.0, -0.2)
    walls = np.exp(-(((bodies.distance + 0.8) / 1.3) ** 2)) + 0.7 * np.exp(-(((bodies.distance + 5) / 1.2) ** 2))
    matrix = 129 + bodies.shade + 6 * smooth_noise(rng, shape, (1, 2.5, 2.5))
    return matrix + 10 * np.exp(-(((bodies.distance + 3) / 1.0) ** 2)) - 50 * cristae - 55 * walls


def _membranes(rng: np.random.Generator, cells: _Cells) -> np.ndarray:
    """Return the darkening by cell membranes, faint and wide where cut obliquely, thick at synapses and in myelin."""
    blur = 1.5 + SECTION / 2 * cells.tilt
    thin = 88 * 1.5 / blur * np.exp(-((cells.depth / blur) ** 2))
    synapse = _ramp(smooth_noise(rng, cells.depth.shape, (6, 26, 26)), 1.5, 1.8) * _ramp(0.6 - cells.tilt, 0, 0.2)
    dense = 75 * synapse * _ramp(6 - cells.depth, 0, 3)
    lamellae = 62 + 30 * np.cos(cells.depth * 2 * np.pi / 4.5)
    myelin = np.where(cells.sheathed, lamellae * _ramp(11 - cells.depth, 0, 1.5), 0)
    return np.maximum(np.maximum(thin, dense), ndimage.gaussian_filter(myelin, (0, 0.7, 0.7))).astype(np.float32)


def _record(rng: np.random.Generator, gray: np.ndarray, label: np.ndarray) -> SyntheticVolume:
    """Take the picture: shading, sections of unequal contrast that lie a little askew, blur, and shot noise."""
    depth, height, width = gray.shape
    gray = gray + 7 * smooth_noise(rng, gray.shape, (3, height / 2, width / 2))
    image, truth = np.empty(gray.shape, np.uint8), np.empty(gray.shape, np.uint8)
    for z in range(depth):
        shift = np.clip(rng.normal(0, 0.8, 2), -2, 2)
        plane = ndimage.shift(ndimage.gaussian_filter(gray[z], 0.8), shift, order=1, mode="nearest")
        plane = (plane - 140) * rng.normal(1, 0.03) + 140 + rng.normal(0, 2)
        plane += rng.standard_normal(plane.shape, dtype=np.float32) * np.sqrt(np.clip(plane, 1, None)) * 1.1
        image[z] = np.clip(np.rint(plane), 0, 255)
        truth[z] = ndimage.shift(label[z].astype(np.float32), shift, order=1, mode="nearest") >= 0.5
    return SyntheticVolume(image, truth)


def _coverage(distance: np.ndarray) -> np.ndarray:
    """Return which part of a pixel lies inside a surface at signed `distance`."""
    return np.clip(0.5 - distance, 0, 1)


def _ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Rise from 0 at `low` to 1 at `high`."""
    return np.clip((values - low) / (high - low), 0, 1)
