"""What the values of an array stand for: gray values, two labels, many labels, or just themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdeep3m.volumes.gray import gray_type, gray_values
from cdeep3m.volumes.labels import LabelVolume, SegmentationVolume

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from cdeep3m.geometry import Roi
    from cdeep3m.volumes.base import PlaneVolume, Role, Volume


def in_role(volume: PlaneVolume, role: Role, name: str) -> Volume:
    """Return a volume of a format that stores plain numbers, read as `open_volume` describes `role`.

    Parameters
    ----------
    volume : PlaneVolume
        The numbers as they are stored.
    role : {"image", "label", "segmentation", "values"}
    name : str
        For messages.

    Raises
    ------
    InputError
        The numbers are of a type that images do not have.
    """
    if role == "label":
        return LabelVolume(volume, name)
    if role == "segmentation":
        return SegmentationVolume(volume, name)
    return volume if role == "values" else GrayVolume(volume, name)


class GrayVolume:
    """Numbers of any type that images have, as gray values.

    Parameters
    ----------
    volume : Volume
    name : str
        For messages.

    Raises
    ------
    InputError
        Images have no numbers of that type.
    """

    def __init__(self, volume: Volume, name: str) -> None:
        self.shape, self.is_folder = volume.shape, volume.is_folder
        self.chunks, self.placement = volume.chunks, volume.placement
        self.cache_bytes = getattr(volume, "cache_bytes", 0)
        self.dtype = gray_type(volume.dtype, name)
        self._volume = volume
        self._name = name

    def read(self, roi: Roi) -> np.ndarray:
        """Return the voxels of `roi` as uint8 or uint16, axes (z, y, x).

        Raises
        ------
        InputError
            A value is no gray value; see `gray_values`.
        """
        return gray_values(self._volume.read(roi), self._name)

    def blocks(self, limit: int) -> Iterator[tuple[Roi, np.ndarray]]:
        """Yield the whole volume as the format does."""
        return ((roi, gray_values(block, self._name)) for roi, block in self._volume.blocks(limit))
