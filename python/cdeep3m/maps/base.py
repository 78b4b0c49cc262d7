"""What every output offers: which boxes are missing, writing a box, and the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from cdeep3m.geometry import Coordinate, Placement
from cdeep3m.volumes.formats import MAP

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from cdeep3m.geometry import Roi
    from cdeep3m.tiling.boxes import Grid

MapType = Literal[
    "uint8", "uint16", "float32", "int8", "int16", "int32", "int64", "uint32", "uint64", "float64", "float16"
]
"""Maps are of the first three; copies of volumes of any."""


@dataclass(frozen=True, kw_only=True)
class MapSpec:
    """What a map is to be.

    Attributes
    ----------
    shape : tuple of int
        Voxels along (z, y, x).
    dtype : {"uint8", "uint16", "float32", ...}
        Type of its values: probabilities times 255, times 65535, or as they are.
    placement : Placement
        Where the volume that was predicted lies.
    source : str
        What it is made from: a run never goes on with what was begun from something else.
    labels : bool
        Whether values are labels, which have no means, rather than gray values.
    planes : str
        What the files of planes are called, where there is one for each: `Segmented_0001.png`.
    """

    shape: Coordinate
    dtype: MapType = "uint8"
    placement: Placement = field(default_factory=Placement)
    source: str = ""
    labels: bool = False
    planes: str = MAP


class Maps(Protocol):
    """A probability map on disk, written a box at a time; it alone knows its files and which of them are there.

    Attributes
    ----------
    spec : MapSpec
    chunks : tuple of int
        The smallest box that is written whole, (z, y, x): boxes end where chunks do.
    """

    @property
    def chunks(self) -> Coordinate:
        """The smallest box that is written whole, (z, y, x)."""

    @property
    def spec(self) -> MapSpec:
        """Shape, type and placement."""

    def missing(self, boxes: Sequence[Roi] | Grid) -> Sequence[Roi]:
        """Return those of `boxes` that are not whole on disk yet, in order."""

    def write(self, box: Roi, values: np.ndarray) -> None:
        """Keep the values of a box; the same box may come again, with the same values.

        Parameters
        ----------
        box : Roi
        values : ndarray of the map's type, shape of `box`
        """

    def read(self, box: Roi) -> np.ndarray:
        """Return the values of a box that is not missing, shape of `box`.

        Returns
        -------
        ndarray of the type of the maps, shape of the box
        """

    def finish(self) -> None:
        """Bring everything to the disk and make sure that it is all there.

        Raises
        ------
        RunError
            Something is missing; says what.
        """
