"""Volumes whose voxels are their own addresses, and what an identity engine makes of them."""

from __future__ import annotations

import numpy as np

from cdeep3m.geometry import Placement, Roi
from cdeep3m.prediction.core import NetInUse, predict_boxes
from cdeep3m.rules import CORRECTED
from cdeep3m.volumes import open_volume

SIDES = [*range(14, 41), 300, *range(1000, 1041), *range(1999, 2031), 3001]
DEPTHS = [*range(1, 8), *range(99, 109), *range(199, 209)]
"""Sizes at which packages begin, end and join."""


class ArrayVolume:
    """A volume in memory."""

    is_folder = False

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.chunks, self.placement = (1, *array.shape[1:]), Placement()
        self.reads: list[Roi] = []

    def read(self, roi: Roi) -> np.ndarray:
        self.reads.append(roi)
        return self.array[roi.slices]


def addresses(shape: tuple[int, int, int]) -> np.ndarray:
    """A volume without symmetry whose 8-bit values repeat as rarely as they can."""
    z, y, x = np.indices(shape)
    return ((z * 89 + y * 7 + x * 3 + (x * y) // 11) % 251).astype(np.uint8)


def maps_of(values: np.ndarray) -> np.ndarray:
    """What a probability of value / 255 becomes as a 16-bit and then an 8-bit map."""
    return np.clip(np.floor(np.rint(values / 255 * 65535) * 255 / 65536 + 0.5), 0, 255).astype(np.uint8)


def read_folder(folder):
    volume = open_volume(folder)
    return volume.read(Roi((0, 0, 0), volume.shape))


def predict_planes(volume, tiling, net, variants, planes, *, rules=CORRECTED):
    """Yield whole planes, as one net predicts them."""
    _, height, width = volume.shape
    plan = [(Roi((z, 0, 0), (z + 1, height, width)), ("net",)) for z in planes]
    for box, maps in predict_boxes(volume, plan, {"net": NetInUse(net, variants)}, tiling=tiling, rules=rules):
        yield box.begin[0], maps["net"][0]
