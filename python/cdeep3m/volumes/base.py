"""What every format offers: the shape of a volume, and the voxels of a box of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from cdeep3m.errors import InputError
from cdeep3m.geometry import Placement, Roi
from cdeep3m.rules import CORRECTED, Rules
from cdeep3m.volumes.axes import Selection

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    import numpy as np

Role = Literal["image", "label", "segmentation", "values"]
Importer = Literal["imageimporter", "imageimporter_large"]

AT_ONCE = 2**24
"""So many voxels are read at a time by `planes_of`."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a volume is to be read.

    Attributes
    ----------
    rules : Rules
        As the original reads, or right.
    role : {"image", "label", "segmentation", "values"}
        What the values mean; see `open_volume`.
    importer : {"imageimporter", "imageimporter_large"}
        Which of the original's readers `ORIGINAL` follows.
    selection : Selection
        Axes, channel, time and level where a file holds several.
    """

    rules: Rules = CORRECTED
    role: Role = "image"
    importer: Importer = "imageimporter_large"
    selection: Selection = field(default_factory=Selection)


class Volume(Protocol):
    """A 3-D image on disk, read a box at a time.

    Attributes
    ----------
    shape : tuple of int
        Voxels along (z, y, x).
    dtype : numpy dtype
        Type of what `read` returns. In exact mode the first plane that `read` returns decides it anew.
    is_folder : bool
        Whether it is a folder of images, one plane each, rather than one file.
    chunks : tuple of int
        The smallest box that is read whole: asking for one of its voxels costs as much as asking for all. (z, y, x).
    placement : Placement
        Size of a voxel and where the volume lies, as far as its file tells.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (z, y, x)."""

    @property
    def dtype(self) -> np.dtype:
        """Type of what `read` returns."""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of images, one plane each."""

    @property
    def chunks(self) -> tuple[int, int, int]:
        """The smallest box that is read whole, (z, y, x)."""

    @property
    def placement(self) -> Placement:
        """Size of a voxel and where the volume lies, as far as its file tells."""

    def read(self, roi: Roi) -> np.ndarray:
        """Return the voxels of `roi`, axes (z, y, x); memory grows with `roi` alone (and one plane).

        Returns
        -------
        ndarray of the volume's type, shape of `roi`

        Raises
        ------
        InputError
            When a plane has another size than the first one, real colour, or labels of more than two values.
        FormatError
            When a file is damaged.
        """

    def blocks(self, limit: int) -> Iterator[tuple[Roi, np.ndarray]]:
        """Yield the whole volume in boxes of about `limit` bytes, cut as its files are read fastest, all of `dtype`.

        Raises
        ------
        InputError, FormatError
            As `read`; whether labels have two values in all is known after the last box.
        """


class PlaneVolume(Volume, Protocol):
    """A volume that can also be read plane by plane."""

    def planes(self, roi: Roi) -> Iterator[np.ndarray]:
        """Yield the planes of `roi` in order, axes (y, x), types as they are in the file."""


def planes_of(volume: Volume) -> Iterator[np.ndarray]:
    """Yield all planes of a volume in order, axes (y, x); about `AT_ONCE` voxels, and a plane, are in memory.

    Yields
    ------
    ndarray of the volume's type, shape (y, x)
    """
    planes, rows, columns = volume.shape
    step = max(1, AT_ONCE // (rows * columns))
    for z in range(0, planes, step):
        yield from volume.read(Roi((z, 0, 0), (min(z + step, planes), rows, columns)))


def read_all(volume: Volume) -> np.ndarray:
    """Return the whole volume, axes (z, y, x).

    Returns
    -------
    ndarray of the volume's type, shape (z, y, x)
    """
    return volume.read(Roi((0, 0, 0), volume.shape))


def require_one_size(volumes: Mapping[str | os.PathLike[str], Volume]) -> None:
    """Make sure that volumes have one size.

    Parameters
    ----------
    volumes : mapping of path to Volume
        Volumes by what users call them.

    Raises
    ------
    InputError
        Names the first two that differ.
    """
    (first, expected), *others = volumes.items()
    for name, volume in others:
        if volume.shape != expected.shape:
            raise InputError(
                f"{first} has {expected.shape} voxels along (z, y, x) and {name} {volume.shape}; expected one size. "
                "Check that they belong together"
            )
