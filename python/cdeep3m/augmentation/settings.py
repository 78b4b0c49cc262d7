"""What augmentation may do to a patch, how often and how strongly."""

from __future__ import annotations

import configparser
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from cdeep3m.edition2.settings import Strengths
from cdeep3m.edition2.tertiary import factor_range
from cdeep3m.errors import InputError, MissingFileError
from cdeep3m.system.files import small_text

if TYPE_CHECKING:
    import os

STRENGTHS = range(11)
SHARES = "Shares"
"""Section of an .ini file that says how often things are done to patches; CDeep3M2 has none, and ignores it."""
_MOST = {"gray": Fraction(1, 7), "shape": Fraction(1, 2), "resize": Fraction(1, 2)}
"""Its keys, and their largest values: all seven operations, or both kinds of a change, at every patch."""
ROUNDED = 1e-3
"""1/7 may be written as 0.143."""
EIGHTH, QUARTER = 1 / 8, 1 / 4
"""Shares of CDeep3M2's 16 variations: of an operation on gray values; of skew, and of elastic distortion."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training patches are changed.

    A strength of 0 leaves an operation out. One operation on gray values, or none, is applied to a patch, and one on
    its shape, or none; how strongly is drawn from nothing up to the strength.

    Attributes
    ----------
    strengths : Strengths, optional
        Of the operations on gray values, of skew and of elastic distortion, 0 to 10; None for none of them.
    resize : int
        Strength of the change of size, 0 to 10.
    jitter : float
        How far contrast and brightness of every patch change, 0 to 1: contrast by this part, brightness by this part of
        a quarter of the way from black to white, at most.
    noise : float
        Largest standard deviation of the Gaussian noise that is added to a patch, a part of the way from black to
        white; it is drawn from 0 on.
    gray_share : float
        How often each of the seven operations on gray values is applied, 0 to 1/7.
    shape_share : float
        How often skew, and how often elastic distortion is applied, 0 to 1/2.
    resize_share : float
        How often a patch is made smaller, and how often larger, 0 to 1/2.

    Raises
    ------
    InputError
        A strength is out of range.
    """

    strengths: Strengths | None = None
    resize: int = 0
    jitter: float = 0.0
    noise: float = 0.0
    gray_share: float = EIGHTH
    shape_share: float = QUARTER
    resize_share: float = QUARTER

    def __post_init__(self) -> None:
        given = {**(asdict(self.strengths) if self.strengths else {}), "resize": self.resize}
        for name, strength in given.items():
            if strength not in STRENGTHS:
                raise InputError(f"augmentation {name} = {strength}: expected a whole number from 0 to 10")
        if not 0 <= self.jitter <= 1:
            raise InputError(f"--jitter {self.jitter}: expected a number from 0 to 1, as in 0.2")
        if not 0 <= self.noise <= 1:
            raise InputError(f"--noise {self.noise}: expected a number from 0 to 1, as in 0.1")

    def __bool__(self) -> bool:
        """Return whether anything is changed at all."""
        return self.changes_gray_values or self.changes_shape

    @property
    def changes_gray_values(self) -> bool:
        """Whether gray values may change."""
        operations = list(asdict(self.strengths).values())[:7] if self.strengths else []
        return self.jitter > 0 or self.noise > 0 or any(operations)

    @property
    def changes_shape(self) -> bool:
        """Whether a patch may show what lies outside the volume, which the loss then ignores."""
        return bool(self.resize or (self.strengths and (self.strengths.skew or self.strengths.elasticdistortion)))

    @property
    def resize_range(self) -> tuple[float, float]:
        """The smallest and the largest factor of a change of size."""
        if not self.resize:
            return 1.0, 1.0
        smaller, larger = factor_range(self.resize, 2), factor_range(self.resize, 10)
        assert smaller is not None
        assert larger is not None
        return smaller[0], larger[1]

    @property
    def words(self) -> str:
        """What is done, for records and messages."""
        if not self:
            return ""
        parts = [f"{name} {strength}" for name, strength in asdict(self.strengths or NOTHING).items() if strength]
        named = {"resize": self.resize, "jitter": self.jitter, "noise": self.noise}
        shares = {"gray": self.gray_share, "shape": self.shape_share, "resize": self.resize_share}
        usual = {"gray": EIGHTH, "shape": QUARTER, "resize": QUARTER}
        often = (f"{name} share {share:g}" for name, share in shares.items() if share != usual[name])
        return ", ".join([*parts, *(f"{name} {value}" for name, value in named.items() if value), *often])


NOTHING = Strengths.all_of(0)


def augmentation_of(secondary: str, tertiary: int = 0) -> Augmentation:
    """Return the augmentation that a strength, or an .ini file of strengths, stands for.

    Parameters
    ----------
    secondary : str
        0 to 10, or the path of an .ini file as augconfig.py writes it. Its keys mean what they say: blur blurs.
    tertiary : int
        Strength of the change of size, 0 to 10.

    Raises
    ------
    InputError, MissingFileError
        It is neither, or a strength or a share is out of range.

    Examples
    --------
    >>> augmentation_of("0").words, augmentation_of("0", 3).words
    ('', 'resize 3')
    """
    if secondary.lower().endswith(".ini"):
        return Augmentation(strengths=strengths_in(secondary), resize=tertiary, **_shares_in(secondary))
    if not secondary.isdigit():
        raise InputError(f"augmentation {secondary}: expected a number from 0 to 10, or a file that ends in .ini")
    strength = int(secondary)
    return Augmentation(strengths=Strengths.all_of(strength) if strength else None, resize=tertiary)


def strengths_in(path: str | os.PathLike[str]) -> Strengths:
    """Read an .ini file of strengths.

    Raises
    ------
    MissingFileError, InputError
        It is not there, or lacks something.
    """
    try:
        return Strengths.from_text(small_text(path))
    except FileNotFoundError:
        raise MissingFileError(f"{path} is not there; augconfig.py writes such a file") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}. augconfig.py writes a whole file") from None


def _shares_in(path: str | os.PathLike[str]) -> dict[str, float]:
    """Return how often things are done, where an .ini file has a section that says so."""
    parser = configparser.ConfigParser()
    parser.read_string(small_text(path))
    if not parser.has_section(SHARES):
        return {}
    found = dict(parser[SHARES])
    if unknown := found.keys() - _MOST:
        raise InputError(f"{path}, [{SHARES}]: found {', '.join(sorted(unknown))}; expected {', '.join(_MOST)}")
    try:
        return {f"{name}_share": _share(float(value), _MOST[name]) for name, value in found.items()}
    except ValueError:
        most = ", ".join(f"{name} from 0 to {largest}" for name, largest in _MOST.items())
        raise InputError(f"{path}, [{SHARES}]: found {found}; expected {most}") from None


def _share(value: float, most: Fraction) -> float:
    if not 0 <= value <= most + ROUNDED:
        raise ValueError(value)
    return min(value, float(most))
