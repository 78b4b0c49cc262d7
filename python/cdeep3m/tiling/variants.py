"""The 16 test-time-augmentation variants, and which of them run at which --augspeed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdeep3m.matlab_ports.augment_data import ORIENTATIONS, orient, restore
from cdeep3m.rules import SPEEDS

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Variant:
    """One orientation in which a net sees a volume.

    Attributes
    ----------
    index : int
        1 to 16, as in `v<index>` and `_v<index>.h5`. Variants 9-16 are 1-8 on reversed planes.
    """

    index: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= 2 * ORIENTATIONS:
            raise ValueError(f"variant {self.index}; expected 1 to {2 * ORIENTATIONS}")

    @property
    def orientation(self) -> int:
        """The in-plane part: 1 to 8."""
        return (self.index - 1) % ORIENTATIONS + 1

    @property
    def reverses_planes(self) -> bool:
        """Whether the planes come in reverse order."""
        return self.index > ORIENTATIONS

    def apply(self, stack: np.ndarray) -> np.ndarray:
        """Return the stack as this variant shows it to the net.

        Parameters
        ----------
        stack : ndarray of any type, shape (z, y, x)

        Returns
        -------
        ndarray of that type, shape (z, y, x) or, after a quarter turn, (z, x, y)
            A view.

        Examples
        --------
        >>> import numpy as np
        >>> variant(10).apply(np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])).tolist()
        [[[7, 8], [5, 6]], [[3, 4], [1, 2]]]
        """
        return self.turn(stack[::-1] if self.reverses_planes else stack)

    def turn(self, stack: np.ndarray) -> np.ndarray:
        """Return the stack in this variant's orientation, its planes in the order that they have, as a view.

        Parameters
        ----------
        stack : ndarray of any type, shape (z, y, x)

        Returns
        -------
        ndarray of that type, shape (z, y, x) or, after a quarter turn, (z, x, y)
        """
        return orient(stack, self.orientation)

    def undo(self, stack: np.ndarray) -> np.ndarray:
        """Return a stack of predictions in the volume's own orientation, as a view; the inverse of `apply`.

        Parameters
        ----------
        stack : ndarray of any type, shape (z, y, x) or, after a quarter turn, (z, x, y)

        Returns
        -------
        ndarray of that type, shape (z, y, x)
        """
        restored = restore(stack, self.orientation)
        return restored[::-1] if self.reverses_planes else restored


VARIANTS = tuple(Variant(index) for index in range(1, 2 * ORIENTATIONS + 1))
"""All 16, in ascending order."""

_INDICES = {
    ("1fm", 1): (1, 2, 3, 4, 5, 6, 7, 8),
    ("1fm", 2): (1, 6, 11, 15),
    ("1fm", 4): (2, 3, 6, 7),
    ("1fm", 10): (1,),
    ("3fm", 1): tuple(range(1, 17)),
    ("3fm", 2): (1, 2, 3, 4, 13, 14, 15, 16),
    ("3fm", 4): (7, 8, 10, 12),
    ("3fm", 10): (1,),
    ("5fm", 1): tuple(range(1, 17)),
    ("5fm", 2): (5, 6, 7, 8, 9, 10, 11, 12),
    ("5fm", 4): (1, 6, 11, 15),
    ("5fm", 10): (1,),
}


def variant(index: int) -> Variant:
    """Return variant `index` (1 to 16)."""
    return Variant(index)


def nearest_speed(speed: int) -> int:
    """Return the speed of `SPEEDS` nearest to `speed`, the lower of two equally near ones (PreprocessPackage.m).

    Examples
    --------
    >>> [nearest_speed(speed) for speed in (0, 3, 7, 8, 99)]
    [1, 2, 4, 10, 10]
    """
    return min(SPEEDS, key=lambda offered: (abs(offered - speed), offered))


def variants_for(net: str, speed: int) -> tuple[Variant, ...]:
    """Return the variants that `net` predicts at --augspeed `speed`, in ascending order.

    Parameters
    ----------
    net : str
        1fm, 3fm or 5fm; a net of any other name gets 3fm's.
    speed : int
        1, 2, 4 or 10; others go to the nearest, ties to the lower.

    Examples
    --------
    >>> [variant.index for variant in variants_for("1fm", 2)]
    [1, 6, 11, 15]
    """
    known = net if net in ("1fm", "3fm", "5fm") else "3fm"
    return tuple(VARIANTS[index - 1] for index in _INDICES[known, nearest_speed(speed)])
