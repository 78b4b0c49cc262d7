"""Training volumes as they are named on the command line of the second edition: IMG LBL [SEC [TER]] ... OUT."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdeep3m.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.volumes.address import Address

SECONDARY = re.compile(r"-1|\d+|.*\.ini", re.IGNORECASE)
TERTIARY = re.compile(r"\d+")
EXPECTED = "IMAGES LABELS [SEC [TER]], for one volume or more, and OUT"


@dataclass(frozen=True)
class Given:
    """A training volume.

    Attributes
    ----------
    images, labels : str or Address
        Folders, or stacks; or parts of them.
    secondary : str
        -1: enhanced; 0: as they are; 1 to 10: strength of the secondary augmentation; or an .ini file of strengths.
    tertiary : str
        Strength of the tertiary augmentation.
    """

    images: str | Address
    labels: str | Address
    secondary: str
    tertiary: str = "0"


def volumes_given(words: Sequence[str], *, default: str) -> tuple[list[Given], str]:
    """Return the volumes that a command line names, and where to write.

    Parameters
    ----------
    words : sequence of str
        The arguments.
    default : str
        SEC where none is given.

    Raises
    ------
    InputError
        Something is missing.

    Examples
    --------
    >>> volumes_given(["a", "b", "3", "2", "c", "d", "out"], default="0")
    ([Given(images='a', labels='b', secondary='3', tertiary='2'), Given(images='c', labels='d', secondary='0', \
tertiary='0')], 'out')
    """
    *rest, out = words or [""]
    volumes = []
    while rest:
        if len(rest) < 2:
            raise InputError(f"found {' '.join(words)}; expected {EXPECTED}")
        images, labels, *rest = rest
        secondary, tertiary = default, "0"
        if rest and SECONDARY.fullmatch(rest[0]):
            secondary, *rest = rest
            if rest and TERTIARY.fullmatch(rest[0]):
                tertiary, *rest = rest
        volumes.append(Given(images, labels, secondary, tertiary))
    if not volumes:
        raise InputError(f"found {' '.join(words) or 'nothing'}; expected {EXPECTED}")
    return volumes, out
