"""Planes of a training volume that are kept apart, so that what is learned can be scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdeep3m.errors import InputError
from cdeep3m.nets.prototxts import FRAMES
from cdeep3m.volumes.labels import IGNORED

if TYPE_CHECKING:
    import numpy as np

FEWEST_TRAINED = 3
"""Planes that must be left to train on."""


@dataclass(frozen=True)
class HeldOut:
    """Planes to score snapshots on.

    Attributes
    ----------
    data : ndarray of uint8, uint16 or float, shape (z, y, x)
        Images, with the planes of the gap before them, which nets see as neighbours.
    label : ndarray, shape (z, y, x)
        Ground truth of the same planes.
    first : int
        The first plane of `data` that is scored.
    words : str
        Which planes these are, for messages and records.
    """

    data: np.ndarray
    label: np.ndarray
    first: int = 0
    words: str = ""


def gap_of(nets: tuple[str, ...]) -> int:
    """Return how many planes lie between those that are trained on and those held out: no plane is seen in both.

    A net sees half of its planes at either side, and never beyond the end of what it is trained on.

    Examples
    --------
    >>> gap_of(("1fm",)), gap_of(("1fm", "3fm", "5fm"))
    (1, 2)
    """
    return max(1, *(FRAMES.get(net, 1) // 2 for net in nets))


@dataclass(frozen=True, kw_only=True)
class Split:
    """How the last planes are split off a volume.

    Attributes
    ----------
    share : float
        Part of the planes that is held out, in (0, 1); one plane at least.
    gap : int
        Planes before them that are neither trained on nor scored.

    Raises
    ------
    InputError
        The share is out of range.
    """

    share: float
    gap: int

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InputError(f"--holdout {self.share:g}: expected a part of the planes, as in 10% or 0.1")

    def held(self, planes: int) -> int:
        """Return how many of so many planes are held out."""
        return max(1, round(self.share * planes))

    def left(self, planes: int) -> int:
        """Return how many of so many planes are left to train on; below `FEWEST_TRAINED` these are too few."""
        return max(0, planes - self.held(planes) - self.gap)

    def of(
        self, data: np.ndarray, label: np.ndarray, *, name: str = "the volume"
    ) -> tuple[np.ndarray, np.ndarray, HeldOut]:
        """Split a volume.

        Parameters
        ----------
        data, label : ndarray of a number type, shape (z, y, x)
        name : str
            The volume, for messages.

        Returns
        -------
        data, label : ndarray of a number type, shape (z, y, x)
            What is left to train on, as views.
        HeldOut

        Raises
        ------
        InputError
            Too few planes, or held-out planes with nothing to tell apart.

        Examples
        --------
        >>> import numpy as np
        >>> volume = np.arange(40).reshape(20, 1, 2)
        >>> data, _, held = Split(share=0.1, gap=2).of(volume, volume % 2)
        >>> len(data), held.data[:, 0, 0].tolist(), held.first, held.words
        (16, [32, 34, 36, 38], 2, 'planes 19 to 20 of 20, held out')
        """
        planes = len(data)
        held, left = self.held(planes), self.left(planes)
        if left < FEWEST_TRAINED:
            raise InputError(
                f"{name} has {planes} planes: {held} held out and a gap of {self.gap} leave {left} to train on, "
                f"expected {FEWEST_TRAINED} at least. Give more planes, or leave --holdout out (--holdout 0)"
            )
        part = HeldOut(
            data=data[left:],
            label=label[left:],
            first=self.gap,
            words=f"planes {planes - held + 1} to {planes} of {planes}, held out",
        )
        _demand_both(part, name)
        return data[:left], label[:left], part


def training_planes(data: np.ndarray, label: np.ndarray) -> HeldOut:
    """Return a volume that is trained on as what snapshots are scored on, where nothing was held out.

    Parameters
    ----------
    data, label : ndarray of a number type, shape (z, y, x)
    """
    return HeldOut(data=data, label=label, words="planes that were trained on")


def _demand_both(part: HeldOut, name: str) -> None:
    labels = part.label[part.first :]
    counted = labels[labels != IGNORED]
    if counted.size and counted.any() and not counted.all():
        return
    found = "background alone" if not counted.any() else "foreground alone"
    raise InputError(
        f"{name}: {part.words} are {found}; expected both, or nothing can be scored. Hold more out, as in "
        "--holdout 20%, or leave --holdout out (--holdout 0)"
    )
