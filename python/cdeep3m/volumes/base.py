"""What every format offers: the shape of a volume and the planes of a box of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from cdeep3m.geometry import Roi


class Volume(Protocol):
    """A 3-D image on disk, read a box at a time.

    Attributes
    ----------
    shape : tuple of int
        Voxels along (z, y, x).
    dtype : numpy dtype
        Type of what `read` returns.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype

    def read(self, roi: Roi) -> np.ndarray:
        """Return the voxels of `roi`, axes (z, y, x); memory grows with `roi` alone (and one plane)."""
