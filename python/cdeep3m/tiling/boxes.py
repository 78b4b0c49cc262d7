"""A volume cut into boxes of one size, numbered; nothing that grows with their number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, overload

from cdeep3m.geometry import Coordinate, Roi

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np


@dataclass(frozen=True, eq=False)
class SomeOf(Sequence[Roi]):
    """Some boxes of a grid, each made when it is asked for.

    Attributes
    ----------
    grid : Grid
    numbers : ndarray of int
        Which ones, in order.
    """

    grid: Grid
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> Roi: ...

    @overload
    def __getitem__(self, index: slice) -> SomeOf: ...

    def __getitem__(self, index: int | slice) -> Roi | SomeOf:
        if isinstance(index, slice):
            return SomeOf(self.grid, self.numbers[index])
        return self.grid.box(int(self.numbers[index]))


@dataclass(frozen=True)
class Grid:
    """Boxes of one size, but for the last ones of each axis; numbered from 0, x fastest.

    Attributes
    ----------
    shape : tuple of int
        Voxels of the volume along (z, y, x).
    step : tuple of int
        Voxels of a box.

    Examples
    --------
    >>> grid = Grid((4, 5, 6), (4, 3, 4))
    >>> grid.count, grid.box(3).begin, grid.box(3).shape
    (4, (0, 3, 4), (4, 2, 2))
    >>> grid.number(grid.box(3))
    3
    """

    shape: Coordinate
    step: Coordinate

    def __post_init__(self) -> None:
        if min(*self.shape, *self.step) < 1:
            raise ValueError(f"a grid of {self.shape} voxels in steps of {self.step}")

    @cached_property
    def counts(self) -> Coordinate:
        """Boxes along (z, y, x)."""
        z, y, x = (-(-side // step) for side, step in zip(self.shape, self.step, strict=True))
        return z, y, x

    @cached_property
    def count(self) -> int:
        """Number of boxes."""
        return math.prod(self.counts)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Roi]:
        return map(self.box, range(self.count))

    def box(self, number: int) -> Roi:
        """Return a box by its number."""
        if not 0 <= number < self.count:
            raise ValueError(f"no box {number} among {self.count}")
        rest, x = divmod(number, self.counts[2])
        z, y = divmod(rest, self.counts[1])
        return self._at((z, y, x))

    def number(self, box: Roi) -> int:
        """Return the number of a box.

        Raises
        ------
        ValueError
            It is none of the grid's.
        """
        z, y, x = (begin // step for begin, step in zip(box.begin, self.step, strict=True))
        number = (z * self.counts[1] + y) * self.counts[2] + x
        if not 0 <= number < self.count or self.box(number) != box:
            raise ValueError(f"{box} is no box of a grid of {self.shape} voxels in steps of {self.step}")
        return number

    def within(self, region: Roi) -> Iterator[int]:
        """Yield the numbers of the boxes that share voxels with a region.

        Examples
        --------
        >>> list(Grid((4, 5, 6), (4, 3, 4)).within(Roi((0, 0, 4), (4, 5, 6))))
        [1, 3]
        """
        ranges = [
            range(begin // step, -(-min(end, side) // step))
            for begin, end, side, step in zip(region.begin, region.end, self.shape, self.step, strict=True)
        ]
        for z in ranges[0]:
            for y in ranges[1]:
                for x in ranges[2]:
                    yield (z * self.counts[1] + y) * self.counts[2] + x

    def _at(self, index: Coordinate) -> Roi:
        z0, y0, x0 = (i * step for i, step in zip(index, self.step, strict=True))
        z1, y1, x1 = (min((i + 1) * step, side) for i, step, side in zip(index, self.step, self.shape, strict=True))
        return Roi((z0, y0, x0), (z1, y1, x1))
