"""What the values of an array stand for: gray values, two labels, many labels, or just themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.errors import InputError
from cdeep3m.volumes.labels import LabelVolume, SegmentationVolume

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdeep3m.geometry import Roi
    from cdeep3m.volumes.base import PlaneVolume, Role, Volume

IMAGES = ("uint8", "uint16", "float32", "float64")
SIGNED = {"int8": "uint8", "int16": "uint16"}
"""Types of images that are read without their sign where no value has one."""


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
    if role == "values" or volume.dtype.name in IMAGES:
        return volume
    if volume.dtype.name in SIGNED:
        return UnsignedVolume(volume, name)
    raise InputError(
        f"{name} holds {volume.dtype} values; expected those of images: {', '.join((*IMAGES, *SIGNED))}. Convert it, "
        f"for example with cdeep3m convert {name} OUT --dtype uint8"
    )


class UnsignedVolume:
    """Images stored with a sign that none of their values has.

    Parameters
    ----------
    volume : Volume
        Of int8 or int16.
    name : str
        For messages.
    """

    def __init__(self, volume: Volume, name: str) -> None:
        self.shape, self.is_folder = volume.shape, volume.is_folder
        self.chunks, self.placement = volume.chunks, volume.placement
        self.dtype = np.dtype(SIGNED[volume.dtype.name])
        self._volume = volume
        self._name = name

    def read(self, roi: Roi) -> np.ndarray:
        """Return the voxels of `roi`, axes (z, y, x).

        Raises
        ------
        InputError
            A value is negative.
        """
        return self._unsigned(self._volume.read(roi))

    def blocks(self, limit: int) -> Iterator[tuple[Roi, np.ndarray]]:
        """Yield the whole volume as the format does."""
        return ((roi, self._unsigned(block)) for roi, block in self._volume.blocks(limit))

    def _unsigned(self, values: np.ndarray) -> np.ndarray:
        if values.size and values.min() < 0:
            raise InputError(
                f"{self._name} holds {values.dtype} values from {values.min()} on; expected gray values without a "
                "sign. Shift them, for example with ImageJ (Image > Type > 8-bit)"
            )
        return values.view(self.dtype)
