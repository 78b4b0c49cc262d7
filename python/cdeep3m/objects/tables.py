"""The tables of objects and of their density, as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.objects.density import AXES
from cdeep3m.objects.measures import at_border, elongation, surface
from cdeep3m.system.files import whole_file

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from cdeep3m.geometry import Coordinate
    from cdeep3m.objects.density import Density

AT_ONCE = 2**14
"""So many rows are in memory as text."""
COLUMNS = (
    "id,voxels,volume,centroid_z,centroid_y,centroid_x,begin_z,begin_y,begin_x,end_z,end_y,end_x,"
    "mean_probability,surface,elongation,at_border,unit"
)
ROW = "%d,%d,%.9g" + ",%.9g" * 3 + ",%d" * 6 + ",%.6f,%.6g,%.6g,%d,{unit}"


def write_objects(
    path: str | os.PathLike[str],
    measured: np.ndarray,
    *,
    shape: Coordinate,
    largest: float,
    voxel_size: Sequence[float],
    unit: str,
) -> None:
    """Write a row for each object, whole or not at all.

    Parameters
    ----------
    path : path
    measured : ndarray of MEASURES, shape (n,)
        In the order of the numbers, from 1.
    shape : tuple of int
        Voxels of the volume along (z, y, x).
    largest : float
        The value of the maps that means 1.
    voxel_size : sequence of float
        Along (z, y, x). Volume, centroid (of the middles of voxels, the first one at 0) and surface are in its unit;
        the bounding box is in voxels, from 0 and half-open.
    unit : str
        Its name, the last column.
    """
    row = ROW.format(unit=unit)
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(COLUMNS + "\n")
        for begin in range(0, len(measured), AT_ONCE):
            part = measured[begin : begin + AT_ONCE]
            table = _columns(part, begin + 1, shape, largest, voxel_size)
            file.writelines(row % values + "\n" for values in zip(*table, strict=True))


def write_density(
    path: str | os.PathLike[str], found: Sequence[Density], *, voxel_size: Sequence[float], unit: str
) -> None:
    """Write a row for each slab along z, then y, then x, whole or not at all; places in the unit of `voxel_size`."""
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write("axis,begin,end,objects,volume_fraction,unit\n")
        for density, size in zip(found, voxel_size, strict=True):
            places = (density.edges * size).tolist()
            rows = zip(places, places[1:], density.objects.tolist(), density.fraction.tolist(), strict=False)
            file.writelines(f"{density.axis},{a:.9g},{b:.9g},{n},{part:.9g},{unit}\n" for a, b, n, part in rows)


def _columns(
    measured: np.ndarray, first: int, shape: Coordinate, largest: float, voxel_size: Sequence[float]
) -> list[list[float]]:
    voxels = measured["voxels"]
    centroids = measured["sum"] / voxels[:, None]
    columns = [
        np.arange(first, first + len(measured)),
        voxels,
        voxels * np.prod(voxel_size),
        *(centroids[:, k] * voxel_size[k] for k in range(len(AXES))),
        *(measured[name][:, k] for name in ("begin", "end") for k in range(len(AXES))),
        measured["total"] / voxels / largest,
        surface(measured, voxel_size),
        elongation(measured, voxel_size),
        at_border(measured, shape),
    ]
    return [column.tolist() for column in columns]
