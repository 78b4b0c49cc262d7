"""Planes of a training volume that are kept apart, so that what is learned can be scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdeep3m.errors import InputError
from cdeep3m.nets.prototxts import FRAMES

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


def hold_out(
    data: np.ndarray, label: np.ndarray, *, share: float, gap: int, name: str = "the volume", ignore: int | None = None
) -> tuple[np.ndarray, np.ndarray, HeldOut]:
    """Split the last planes off a volume.

    Parameters
    ----------
    data, label : ndarray, shape (z, y, x)
    share : float
        Part of the planes that is held out, in (0, 1); one plane at least.
    gap : int
        Planes before them that are neither trained on nor scored.
    name : str
        The volume, for messages.
    ignore : int, optional
        Label of voxels that do not count.

    Returns
    -------
    data, label : ndarray, shape (z, y, x)
        What is left to train on, as views.
    HeldOut

    Raises
    ------
    InputError
        Too few planes, or held-out planes with nothing to tell apart.

    Examples
    --------
    >>> import numpy as np
    >>> volume = np.arange(20).reshape(20, 1, 1)
    >>> data, _, held = hold_out(volume, volume % 2, share=0.1, gap=2)
    >>> len(data), held.data[:, 0, 0].tolist(), held.first, held.words
    (16, [16, 17, 18, 19], 2, 'planes 19 to 20 of 20, held out')
    """
    planes = len(data)
    held = max(1, round(share * planes))
    trained = planes - held - gap
    if trained < FEWEST_TRAINED:
        raise InputError(
            f"{name} has {planes} planes: {held} held out and a gap of {gap} leave {max(trained, 0)} to train on, "
            f"expected {FEWEST_TRAINED} at least. Give more planes, or leave --holdout out (--holdout 0)"
        )
    part = HeldOut(
        data=data[trained:],
        label=label[trained:],
        first=gap,
        words=f"planes {planes - held + 1} to {planes} of {planes}, held out",
    )
    _demand_both(part, name, ignore)
    return data[:trained], label[:trained], part


def training_planes(data: np.ndarray, label: np.ndarray) -> HeldOut:
    """Return a volume that is trained on as what snapshots are scored on, where nothing was held out."""
    return HeldOut(data=data, label=label, words="planes that were trained on")


def _demand_both(part: HeldOut, name: str, ignore: int | None) -> None:
    counted = part.label[part.first :]
    counted = counted if ignore is None else counted[counted != ignore]
    if counted.size and counted.any() and not counted.all():
        return
    found = "background alone" if not counted.any() else "foreground alone"
    raise InputError(
        f"{name}: {part.words} are {found}; expected both, or nothing can be scored. Hold more out, as in "
        "--holdout 20%, or leave --holdout out (--holdout 0)"
    )
