"""A folder of .npy files, one a plane, as a format that is read: what a new format has to bring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.errors import InputError
from cdeep3m.geometry import Placement

if TYPE_CHECKING:
    from pathlib import Path


def holds(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob("*.npy"))


class NpyFolder:
    is_folder = True
    placement = Placement()

    def __init__(self, folder: Path) -> None:
        self._files = sorted(folder.glob("*.npy"))
        planes = [np.load(path, mmap_mode="r") for path in self._files]
        if {(plane.shape, plane.dtype) for plane in planes} != {(planes[0].shape, planes[0].dtype)}:
            raise InputError(f"{folder} holds planes of several sizes or types; expected one")
        self.shape, self.dtype = (len(planes), *planes[0].shape), planes[0].dtype
        self.chunks = (1, *self.shape[1:])

    def read(self, roi):
        z, y, x = roi.slices
        return np.stack([np.load(path, mmap_mode="r")[y, x] for path in self._files[z]])

    def blocks(self, limit):
        from cdeep3m.geometry import Roi

        for z in range(self.shape[0]):
            box = Roi((z, 0, 0), (z + 1, *self.shape[1:]))
            yield box, self.read(box)


def open_address(address, reading):
    return NpyFolder(address.path)
