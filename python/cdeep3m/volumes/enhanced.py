"""A volume whose planes are enhanced as they are read: no folder of enhanced images between."""

from __future__ import annotations

import logging
import threading
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.edition2.enhancement import FIRST_CUT, as_float
from cdeep3m.geometry import Roi
from cdeep3m.rules import CORRECTED
from cdeep3m.system.threads import spread
from cdeep3m.volumes.crop import CroppedVolume
from cdeep3m.volumes.enhancement import (
    Levels,
    Normalisation,
    denoised_plane,
    enhance,
    has_contrast,
    normalised_plane,
    percentiles,
)
from cdeep3m.volumes.open import open_volume

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from cdeep3m.rules import Rules
    from cdeep3m.volumes.base import Volume
    from cdeep3m.volumes.enhancement import Denoiser, Enhancement

    PlaneEnhancer = Callable[[np.ndarray], np.ndarray]

logger = logging.getLogger(__name__)

KEPT_BYTES = 256 * 2**20
"""So many bytes of enhanced planes are kept, in case that other packages need them, too."""
FEWEST_KEPT = 8
PLANES_FOR_LEVELS = 32
"""Planes, evenly spread, of which the percentiles of a whole volume are taken."""


class EnhancedVolume:
    """Planes of another volume, each enhanced as a whole, whatever part of it is read.

    Parameters
    ----------
    volume : Volume
    enhancer : callable
        Takes a plane of `volume`, returns it as uint8.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, volume: Volume, enhancer: PlaneEnhancer) -> None:
        self.shape = volume.shape
        self.is_folder = volume.is_folder
        self.chunks = (1, *self.shape[1:])
        self.placement = volume.placement
        self._volume, self._enhancer = volume, enhancer
        kept = max(FEWEST_KEPT, KEPT_BYTES // (self.shape[1] * self.shape[2]))
        self._plane = lru_cache(maxsize=kept)(self._enhanced)

    def _enhanced(self, z: int) -> np.ndarray:
        return self._enhancer(_read_plane(self._volume, z))

    def read(self, roi: Roi) -> np.ndarray:
        """Return the enhanced voxels of `roi`, axes (z, y, x); the planes that it touches are in memory."""
        along_z, rows, columns = roi.slices
        planes = range(self.shape[0])[along_z]
        stack = np.empty(roi.shape, np.uint8)
        for row, plane in zip(stack, spread(self._plane, planes), strict=True):
            row[:] = plane[rows, columns]
        return stack

    def blocks(self, limit: int) -> Iterator[tuple[Roi, np.ndarray]]:
        """Yield the whole volume, some planes at a time."""
        depth, height, width = self.shape
        step = max(1, limit // (height * width))
        for begin in range(0, depth, step):
            roi = Roi((begin, 0, 0), (min(begin + step, depth), height, width))
            yield roi, self.read(roi)


def enhanced(volume: Volume, enhancement: Enhancement, *, name: str, denoise: Denoiser | None = None) -> Volume:
    """Return a volume as `enhancement` asks for.

    Parameters
    ----------
    volume : Volume
    enhancement : Enhancement
    name : str
        What users call the volume, for the warning about planes without contrast.
    denoise : callable, optional
        What lowers the total variation of a plane, on whatever device; default: NumPy.

    Returns
    -------
    Volume
        Planes without contrast come as they are, in 8 bits. A box (--roi) looks as it does in the whole volume: planes
        are enhanced beyond it.
    """
    if isinstance(volume, CroppedVolume):
        return volume.same_box_of(enhanced(volume.whole, enhancement, name=name, denoise=denoise))
    if isinstance(enhancement, Normalisation):
        return EnhancedVolume(volume, _normaliser(volume, enhancement))
    levels = levels_of(volume, enhancement.cut, denoise=denoise) if enhancement.whole_volume else None
    unsaid = threading.Semaphore()

    def enhancer(plane: np.ndarray) -> np.ndarray:
        if not has_contrast(plane) and unsaid.acquire(blocking=False):
            logger.warning("%s: planes without contrast are not enhanced; the net sees them as they are", name)
        return enhance(plane, cut=enhancement.cut, levels=levels, denoise=denoise)

    return EnhancedVolume(volume, enhancer)


def _normaliser(volume: Volume, normalisation: Normalisation) -> PlaneEnhancer:
    """Return what normalises a plane; the values of a whole volume are those of up to `PLANES_FOR_LEVELS` planes."""
    if not normalisation.whole_volume:
        return lambda plane: normalised_plane(plane, float(plane.mean()), float(plane.std(dtype=np.float64)))
    planes = [_read_plane(volume, z).astype(np.float64) for z in _some_planes(volume.shape[0])]
    mean = float(np.mean([plane.mean() for plane in planes]))
    deviation = float(np.sqrt(np.mean([np.square(plane - mean).mean() for plane in planes])))
    return lambda plane: normalised_plane(plane, mean, deviation)


def open_enhanced(
    path: str | os.PathLike[str],
    enhancement: Enhancement | None,
    *,
    rules: Rules = CORRECTED,
    denoise: Denoiser | None = None,
) -> Volume:
    """Open images as `open_volume` does, and enhance them where `enhancement` asks for it."""
    volume = open_volume(path, rules=rules)
    if enhancement is None:
        return volume
    return enhanced(volume, enhancement, name=str(path), denoise=denoise)


def levels_of(volume: Volume, cut: int, *, denoise: Denoiser | None = None) -> Levels:
    """Return the percentiles of a whole volume, taken from up to `PLANES_FOR_LEVELS` of its planes.

    Parameters
    ----------
    volume : Volume
    cut : int
        Percent cut off at either end after the denoising.
    denoise : callable, optional

    Returns
    -------
    Levels
    """
    planes = [as_float(_read_plane(volume, z)) for z in _some_planes(volume.shape[0])]
    first = percentiles(np.stack(planes), FIRST_CUT)
    if first[0] >= first[1]:
        return Levels(first, first)
    return Levels(first, percentiles(np.stack([denoised_plane(p, first, denoise=denoise) for p in planes]), cut))


def _some_planes(depth: int) -> list[int]:
    chosen = np.unique(np.linspace(0, depth - 1, min(depth, PLANES_FOR_LEVELS)).round().astype(int))
    return [int(z) for z in chosen]


def _read_plane(volume: Volume, z: int) -> np.ndarray:
    _, height, width = volume.shape
    return volume.read(Roi((z, 0, 0), (z + 1, height, width)))[0]
