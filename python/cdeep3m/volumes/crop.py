"""A box of a volume, as a volume of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdeep3m.errors import InputError
from cdeep3m.geometry import Roi

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from cdeep3m.volumes.base import Volume


class CroppedVolume:
    """A box of a volume.

    Parameters
    ----------
    volume : Volume
    box : Roi
    name : str
        For messages.

    Attributes
    ----------
    whole : Volume
        The volume.

    Raises
    ------
    InputError
        The box does not lie in the volume.
    """

    def __init__(self, volume: Volume, box: Roi, name: str) -> None:
        if any(end > side for end, side in zip(box.end, volume.shape, strict=True)):
            said = ",".join(f"{begin}:{end}" for begin, end in zip(box.begin, box.end, strict=True))
            raise InputError(f"--roi {said} reaches beyond {name}, which has {volume.shape} voxels along (z, y, x)")
        self.shape = box.shape
        self.dtype = volume.dtype
        self.is_folder = volume.is_folder
        z, y, x = (min(chunk, side) for chunk, side in zip(volume.chunks, box.shape, strict=True))
        self.chunks = (z, y, x)
        self.placement = volume.placement.of(box)
        self.cache_bytes = getattr(volume, "cache_bytes", 0)
        self.whole, self._name = volume, name
        self._box, self._begin = box, box.begin

    def same_box_of(self, volume: Volume) -> CroppedVolume:
        """Return the same box of another volume of the size of `whole`."""
        return CroppedVolume(volume, self._box, self._name)

    def read(self, roi: Roi) -> np.ndarray:
        """Return the voxels of `roi`, counted from the box's first one."""
        return self.whole.read(self._moved(roi))

    def blocks(self, limit: int) -> Iterator[tuple[Roi, np.ndarray]]:
        """Yield the box some planes at a time, cut where the volume's chunks are."""
        depth, height, width = self.shape
        chunk, begin = self.chunks[0], self._begin[0]
        step = max(1, limit // (height * width * self.dtype.itemsize) // chunk) * chunk
        cuts = [0, *range(step - begin % chunk, depth, step), depth]
        for first, end in zip(cuts, cuts[1:], strict=False):
            roi = Roi((first, 0, 0), (end, height, width))
            yield roi, self.read(roi)

    def _moved(self, roi: Roi) -> Roi:
        (z, y, x) = self._begin
        return roi.relative_to((-z, -y, -x))
