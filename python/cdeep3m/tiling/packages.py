"""A package: what it reads, what it is trusted for, and what the net sees of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from cdeep3m.errors import InputError
from cdeep3m.matlab_ports.add_z_padding import FEWEST_PLANES, Z_PADDING, plane_order
from cdeep3m.matlab_ports.break_large_img import CANVAS
from cdeep3m.matlab_ports.preprocess_package import (
    SMALLEST,
    axis_order,
    canvas,
    zero_fill_as_double,
)
from cdeep3m.rules import CORRECTED, Rules

if TYPE_CHECKING:
    from cdeep3m.geometry import Roi

Fill = Literal["zeros", "reflect"]

LARGEST_FRAMES = 2 * Z_PADDING + 1

FIT_STEP = 32
"""Canvases that fit their image have sides that are multiples of it."""


@dataclass(frozen=True)
class Package:
    """The unit of prediction: one tile of one z-block, with its halo.

    Attributes
    ----------
    tile, z_block : int
        Numbers from 1, as in the name.
    read, write : Roi
        What it loads; what its prediction is trusted for. Axes (z, y, x) of the volume.
    canvas_begin : tuple of int
        Row and column of the canvas where `write` begins.
    rules : Rules
        Fill with zeros as the original does (defect 10).
    fit : bool
        Fill with zeros up to multiples of 32 instead of 1024.
    fill : {"zeros", "reflect"}
        What stands beyond the 12 reflected voxels, up to the end of the canvas.
    """

    tile: int
    z_block: int
    read: Roi
    write: Roi
    canvas_begin: tuple[int, int]
    rules: Rules = CORRECTED
    fit: bool = False
    fill: Fill = "zeros"

    @property
    def name(self) -> str:
        """Name of its folder, as in `Pkg001_Z02`."""
        return f"Pkg{self.tile:03d}_Z{self.z_block:02d}"

    @property
    def canvas_write(self) -> tuple[slice, slice]:
        """Where `write` lies in the canvas, (y, x)."""
        _, height, width = self.write.shape
        y, x = self.canvas_begin
        return slice(y, y + height), slice(x, x + width)

    @property
    def planes(self) -> range:
        """The z of its planes, padding excluded."""
        return range(self.read.begin[0], self.read.end[0])

    @cached_property
    def padded_planes(self) -> tuple[int, ...]:
        """The z of every plane of the padded stack, in order: two invented ones, its own, two invented ones.

        Raises
        ------
        InputError
            In exact mode, for fewer than three planes (defect 5).
        """
        if len(self.planes) < self.rules.shortest_stack:
            raise InputError(
                f"package {self.name} has {len(self.planes)} planes; the original needs {FEWEST_PLANES}. "
                "Run without --exact"
            )
        return tuple(self.planes[i] for i in plane_order(len(self.planes)))

    @property
    def canvas_shape(self) -> tuple[int, int]:
        """Height and width of what the net sees."""
        if not self.fit:
            return CANVAS, CANVAS
        (_, height, width), (_, y, x) = self.read.shape, self.read.begin
        return fitting_side(height, at_edge=y == 0), fitting_side(width, at_edge=x == 0)

    def canvas(self, planes: np.ndarray) -> np.ndarray:
        """Return what the net sees of planes of `read`: reflected up to 12 voxels around, then zeros, or reflected on.

        Parameters
        ----------
        planes : ndarray, shape (z, y, x)
            Any number of planes, of the height and width of `read`.

        Returns
        -------
        ndarray, shape (z, 1024, 1024) or, when it fits, smaller ones
            Of the dtype of `planes`; in exact mode float64 where zeros were added. `planes` itself where nothing is
            missing.

        Raises
        ------
        InputError
            When a side is too short to be reflected.
        """
        _, height, width = self.read.shape
        if planes.shape[1:] != (height, width):
            raise ValueError(f"planes of {planes.shape[1:]} for package {self.name}, which reads {(height, width)}")
        if min(height, width) < SMALLEST:
            raise InputError(
                f"package {self.name} is {height} x {width} voxels; a package needs at least {SMALLEST} along y and x. "
                "Run without --exact, or pad the images"
            )
        top, left = (begin == 0 for begin in self.read.begin[1:])
        if self.rules.fills_as_double:
            return zero_fill_as_double(planes, top=top, left=left)
        filled = canvas(planes, top=top, left=left, sides=self.canvas_shape)
        if self.fill == "zeros":
            return filled
        image = len(axis_order(height, at_edge=top)), len(axis_order(width, at_edge=left))
        return _reflected(filled, image)

    def z_window(self, z: int, frames: int) -> tuple[int, ...]:
        """Return which planes the net sees when it predicts plane `z` (all absolute).

        Parameters
        ----------
        z : int
            One of `planes`.
        frames : int
            Planes that the net sees at once: 1 to 5.

        Examples
        --------
        >>> from cdeep3m.tiling.grid import Tiling
        >>> first, second = Tiling.of((106, 20, 30)).packages
        >>> first.z_window(0, 5), second.z_window(101, 3)
        ((2, 1, 0, 1, 2), (102, 101, 102))
        """
        if z not in self.planes:
            raise ValueError(f"plane {z} is not of package {self.name}, which holds {self.planes}")
        if not 1 <= frames <= LARGEST_FRAMES:
            raise InputError(
                f"the net sees {frames} planes at once, but a package has {Z_PADDING} padding planes at each end: "
                f"nets of 1 to {LARGEST_FRAMES} frames can be used"
            )
        begin = z - self.planes[0] + Z_PADDING - frames // 2
        return self.padded_planes[begin : begin + frames]


def fitting_side(size: int, *, at_edge: bool) -> int:
    """Return the smallest side of a canvas that holds `size` voxels and what is reflected around them.

    Examples
    --------
    >>> fitting_side(512, at_edge=True), fitting_side(1013, at_edge=True)
    (544, 1024)
    """
    return -(-len(axis_order(size, at_edge=at_edge)) // FIT_STEP) * FIT_STEP


def _reflected(canvas_planes: np.ndarray, image: tuple[int, int]) -> np.ndarray:
    """Return planes with the image in their first rows and columns mirrored over the rest, as often as it takes.

    Examples
    --------
    >>> _reflected(np.uint8([[[1, 2, 3, 0, 0, 0]]]), (1, 3)).tolist()
    [[[1, 2, 3, 2, 1, 2]]]
    """
    _, height, width = canvas_planes.shape
    rows, columns = (
        np.pad(np.arange(side), (0, whole - side), mode="reflect" if side > 1 else "edge")
        for side, whole in zip(image, (height, width), strict=True)
    )
    return canvas_planes[:, rows[:, np.newaxis], columns]
