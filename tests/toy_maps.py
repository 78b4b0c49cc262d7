"""A folder of .npy files, one a plane, as a format that is written: what a new format has to bring."""

from __future__ import annotations

import numpy as np

from cdeep3m.errors import RunError
from cdeep3m.system.files import whole_file


class NpyMaps:
    def __init__(self, folder, spec) -> None:
        self.folder, self.spec = folder, spec
        self.chunks = (1, *spec.shape[1:])

    def plane(self, z):
        return self.folder / f"map_{z:04d}.npy"

    def missing(self, boxes):
        return [box for box in boxes if not all(self.plane(z).exists() for z in range(box.begin[0], box.end[0]))]

    def write(self, box, values):
        self.folder.mkdir(parents=True, exist_ok=True)
        for z, plane in zip(range(box.begin[0], box.end[0]), values, strict=True):
            with whole_file(self.plane(z)) as partial, partial.open("wb") as file:
                np.save(file, plane)

    def read(self, box):
        z, y, x = box.slices
        return np.stack([np.load(self.plane(k))[y, x] for k in range(z.start, z.stop)])

    def finish(self):
        lost = [z for z in range(self.spec.shape[0]) if not self.plane(z).exists()]
        if lost:
            raise RunError(f"{self.folder}: plane {lost[0]} is missing")


def open_maps(address, spec):
    return NpyMaps(address.path, spec)
