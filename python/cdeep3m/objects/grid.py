"""The blocks that a volume is labelled in."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING

from cdeep3m.geometry import Roi

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.geometry import Coordinate

MOST_VOXELS = 2**24
"""Of a block: some 20 bytes of memory each."""


@dataclass(frozen=True)
class BlockGrid:
    """A volume cut into blocks; those at its far ends may be smaller. Nothing grows with their number.

    Attributes
    ----------
    shape, block : tuple of int
        Voxels along (z, y, x) of the volume and of a block.

    Examples
    --------
    >>> grid = BlockGrid((4, 5, 6), (4, 3, 4))
    >>> len(grid), grid.roi(3)
    (4, Roi(begin=(0, 3, 4), end=(4, 5, 6)))
    >>> grid.neighbour(0, (0, 1, 1)), grid.neighbour(3, (0, 1, 0))
    (3, None)
    """

    shape: Coordinate
    block: Coordinate

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or min(self.block) < 1:
            raise ValueError(f"blocks of {self.block} in a volume of {self.shape}; expected 1 voxel or more")

    @property
    def counts(self) -> Coordinate:
        """Blocks along (z, y, x)."""
        z, y, x = (-(-length // step) for length, step in zip(self.shape, self.block, strict=True))
        return z, y, x

    def __len__(self) -> int:
        return prod(self.counts)

    def position(self, number: int) -> Coordinate:
        """Return where block `number` is among the blocks; x counts fastest."""
        _, rows, columns = self.counts
        plane, rest = divmod(number, rows * columns)
        return plane, *divmod(rest, columns)

    def roi(self, number: int) -> Roi:
        """Return the voxels of a block."""
        (z, y, x), (dz, dy, dx), (depth, height, width) = self.position(number), self.block, self.shape
        begin = z * dz, y * dy, x * dx
        return Roi(begin, (min(begin[0] + dz, depth), min(begin[1] + dy, height), min(begin[2] + dx, width)))

    def with_halo(self, number: int, halo: Coordinate) -> Roi:
        """Return the voxels of a block and those around it, as far as the volume goes."""
        roi = self.roi(number)
        z0, y0, x0 = (max(0, b - h) for b, h in zip(roi.begin, halo, strict=True))
        z1, y1, x1 = (min(n, e + h) for n, e, h in zip(self.shape, roi.end, halo, strict=True))
        return Roi((z0, y0, x0), (z1, y1, x1))

    def neighbour(self, number: int, direction: Coordinate) -> int | None:
        """Return the block that lies in a direction, -1, 0 or 1 along each axis; None beyond the volume."""
        there = tuple(p + d for p, d in zip(self.position(number), direction, strict=True))
        if any(not 0 <= t < n for t, n in zip(there, self.counts, strict=True)):
            return None
        _, rows, columns = self.counts
        return (there[0] * rows + there[1]) * columns + there[2]


def forward_directions(connectivity: int) -> list[Coordinate]:
    """Return the directions to neighbours of which each has the opposite one left out.

    Examples
    --------
    >>> forward_directions(6)
    [(0, 0, 1), (0, 1, 0), (1, 0, 0)]
    >>> len(forward_directions(26))
    13
    """
    every = [(z, y, x) for z, y, x in product((-1, 0, 1), repeat=3) if (z, y, x) > (0, 0, 0)]
    return every if connectivity == 26 else [direction for direction in every if sum(map(abs, direction)) == 1]


def block_for(
    shape: Coordinate, chunk: Sequence[int], *, most: int = MOST_VOXELS, aligned: Coordinate = (1, 1, 1)
) -> Coordinate:
    """Return a block that is read and written fast, as near to a cube as that allows, of about `most` voxels.

    Parameters
    ----------
    shape : tuple of int
        Voxels of the volume along (z, y, x).
    chunk : sequence of int
        What its file is read in: (1, y, x) for planes. A chunk larger than `most` is cut.
    aligned : tuple of int
        What is written in: the sides of blocks are multiples of it, or as long as the volume.

    Examples
    --------
    >>> block_for((500, 1024, 1024), (1, 1024, 1024), most=2**22)
    (4, 1024, 1024)
    >>> block_for((500, 4096, 4096), (64, 64, 64), most=2**22)
    (128, 128, 256)
    >>> block_for((2, 4096, 4096), (1, 4096, 4096), most=2**22)
    (1, 2048, 2048)
    >>> block_for((500, 1024, 1000), (1, 1024, 1000), most=2**22, aligned=(64, 64, 64))
    (64, 256, 256)
    """
    z, y, x = (min(side, length) for side, length in zip(aligned, shape, strict=True))
    block = [z, y, x]
    wanted = [min(-(-max(c, a) // a) * a, n) for c, a, n in zip(chunk, aligned, shape, strict=True)]
    while True:
        short = [k for k in range(3) if block[k] < wanted[k]] or [k for k in range(3) if block[k] < shape[k]]
        able = [k for k in short if prod(block) // block[k] * _more(block, wanted, shape, k) <= most]
        if not able:
            return block[0], block[1], block[2]
        shortest = min(able, key=lambda k: (block[k], -k))
        block[shortest] = _more(block, wanted, shape, shortest)


def _more(block: Sequence[int], wanted: Sequence[int], shape: Sequence[int], axis: int) -> int:
    """Return the next longer side: twice as long, not beyond what is read at a time, nor beyond the volume."""
    limit = wanted[axis] if block[axis] < wanted[axis] and block[axis] * 2 > wanted[axis] else shape[axis]
    return min(2 * block[axis], limit)
