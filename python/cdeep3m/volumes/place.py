"""Where a volume lies in the world, as far as its file says."""

from __future__ import annotations

from dataclasses import dataclass

from cdeep3m.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a volume lies in the world.

    Attributes
    ----------
    voxel_size : tuple of float, optional
        Sides of a voxel along (z, y, x); None where the file does not say.
    unit : str, optional
        Unit of length of `voxel_size` and `offset`, such as "nanometer".
    offset : tuple of float
        Where the first voxel lies, along (z, y, x).
    """

    voxel_size: tuple[float, float, float] | None = None
    unit: str | None = None
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if self.voxel_size is not None and not all(0 < side < float("inf") for side in self.voxel_size):
            raise InputError(f"found voxels of {self.voxel_size}; expected sides above 0")
