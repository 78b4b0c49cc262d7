"""Boxes in a volume, and the ways that Octave and Caffe count its axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Coordinate = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Roi:
    """A box of voxels: half-open, counted from 0, axes (z, y, x).

    Attributes
    ----------
    begin, end : tuple of int
        First voxel, and the voxel after the last one, per axis.

    Examples
    --------
    >>> Roi((0, 0, 0), (2, 10, 12)).shape
    (2, 10, 12)
    >>> Roi((1, 4, 4), (2, 8, 8)).relative_to((1, 2, 3)).slices
    (slice(0, 1, None), slice(2, 6, None), slice(1, 5, None))
    >>> Roi((0, 0, 0), (2, 10, 12)).contains(Roi((0, 9, 0), (2, 10, 12)))
    True
    """

    begin: Coordinate
    end: Coordinate

    def __post_init__(self) -> None:
        if any(e < b for b, e in zip(self.begin, self.end, strict=True)):
            raise ValueError(f"a box that ends before it begins: {self.begin} to {self.end}")

    @property
    def shape(self) -> Coordinate:
        """Voxels along (z, y, x)."""
        (z0, y0, x0), (z1, y1, x1) = self.begin, self.end
        return z1 - z0, y1 - y0, x1 - x0

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of the box in an array of shape (z, y, x)."""
        z, y, x = (slice(b, e) for b, e in zip(self.begin, self.end, strict=True))
        return z, y, x

    def contains(self, other: Roi) -> bool:
        """Return whether all voxels of `other` are in this box."""
        return all(b <= o for b, o in zip(self.begin, other.begin, strict=True)) and all(
            e >= o for e, o in zip(self.end, other.end, strict=True)
        )

    def relative_to(self, origin: Coordinate) -> Roi:
        """Return the same box, counted from `origin` instead of (0, 0, 0)."""
        (z0, y0, x0), (z1, y1, x1), (oz, oy, ox) = self.begin, self.end, origin
        return Roi((z0 - oz, y0 - oy, x0 - ox), (z1 - oz, y1 - oy, x1 - ox))


@dataclass(frozen=True)
class Placement:
    """Where a volume lies in space.

    Attributes
    ----------
    voxel_size : tuple of float, optional
        Length of a voxel along (z, y, x), in `unit`; None where it is not known.
    unit : str, optional
        A unit of length by its name in OME-Zarr, `nanometer` and the like.
    offset : tuple of float
        Where the centre of the first voxel lies along (z, y, x), in `unit`.
    """

    voxel_size: tuple[float, float, float] | None = None
    unit: str | None = None
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def of(self, roi: Roi) -> Placement:
        """Return the placement of a box of the volume.

        Examples
        --------
        >>> Placement((30.0, 8.0, 8.0), "nanometer").of(Roi((2, 0, 5), (3, 9, 9))).offset
        (60.0, 0.0, 40.0)
        """
        if self.voxel_size is None:
            return self
        z, y, x = (o + b * s for o, b, s in zip(self.offset, roi.begin, self.voxel_size, strict=True))
        return Placement(self.voxel_size, self.unit, (z, y, x))


def to_caffe_axes(stack: np.ndarray) -> np.ndarray:
    """Return a (z, y, x) stack as a view of shape (x, y, z), the (W, H, D) order of Caffe's blobs and HDF5 files.

    Parameters
    ----------
    stack : ndarray of any type, shape (z, y, x)

    Returns
    -------
    ndarray of that type, shape (x, y, z)
    """
    return stack.transpose(2, 1, 0)


def from_caffe_axes(blob: np.ndarray) -> np.ndarray:
    """Return a (W, H, D) = (x, y, z) array as a view of shape (z, y, x); the inverse of `to_caffe_axes`.

    Parameters
    ----------
    blob : ndarray of any type, shape (x, y, z)

    Returns
    -------
    ndarray of that type, shape (z, y, x)
    """
    return blob.transpose(2, 1, 0)
