"""Which gray values a model was trained on, noted beside it, and whether images to predict are like them."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.errors import InputError
from cdeep3m.system.files import AT_ONCE, Naming, small_text, write_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

logger = logging.getLogger(__name__)

NOTE = ".training_images.json"
"""File in a folder of training data, or of a training."""
EIGHT_BITS = 255
FAR = 4
"""Values that reach so many times higher, or lower, are said to differ."""


@dataclass(frozen=True, kw_only=True)
class GrayRange:
    """Gray values of some images.

    Attributes
    ----------
    type : str
        As they are read: uint8 or uint16; others in exact mode.
    low, high : float
        Their smallest and their largest value, as far as was looked.
    source : str
        What tells the files that they are from, labels included, from others; empty where nothing does.
    """

    type: str
    low: float
    high: float
    source: str = ""

    @classmethod
    def of(cls, values: np.ndarray, *, source: str = "") -> GrayRange:
        """Return the range of some images.

        Parameters
        ----------
        values : ndarray of a gray type, any shape
        """
        return cls(type=values.dtype.name, low=float(values.min()), high=float(values.max()), source=source)

    @classmethod
    def of_parts(cls, parts: Iterable[np.ndarray]) -> GrayRange:
        """Return the range of images that come in parts, each gone before the next.

        Parameters
        ----------
        parts : iterable of ndarray of a gray type, any shape
            One or more.
        """
        found = [(part.dtype, float(part.min()), float(part.max())) for part in parts]
        types, lows, highs = zip(*found, strict=True)
        return cls(type=np.result_type(*types).name, low=min(lows), high=max(highs))

    def __str__(self) -> str:
        return f"{self.type} values from {self.low:g} to {self.high:g}"


def write_range(folder: Path, found: GrayRange, *, naming: Naming = AT_ONCE) -> None:
    """Note in `folder` what is trained on; see `whole_file` for `naming`."""
    write_text(folder / NOTE, f"{json.dumps(asdict(found))}\n", naming=naming)


def read_range(folder: Path) -> GrayRange | None:
    """Return what `folder` notes of the images that were trained on; None where it notes nothing that makes sense."""
    try:
        noted = json.loads(small_text(folder / NOTE))
        low, high, source = float(noted["low"]), float(noted["high"]), str(noted.get("source", ""))
        found = GrayRange(type=str(noted["type"]), low=low, high=high, source=source)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if np.isfinite((found.low, found.high)).all() else None


def check_range(found: GrayRange, trained: GrayRange | None, *, images: str, refuse: bool = True) -> None:
    """Compare images with those that a model was trained on.

    Parameters
    ----------
    found : GrayRange
        Of the images to predict.
    trained : GrayRange or None
        Of the images that were trained on, where that is known; most models see 8 bits.
    images : str
        Their name, for messages.
    refuse : bool
        Whether a model that cannot make sense of them is refused, rather than a warning given.

    Raises
    ------
    InputError
        Images of 16 bits meet a model of 8 bits, or the other way round.
    """
    wide = found.high > EIGHT_BITS
    if trained is None:
        if wide:
            logger.warning(
                "Warning: %s hold %s; a model that was trained on 8-bit images sees them as far brighter than those. "
                "If this one was, convert them to 8 bits",
                images,
                found,
            )
        return
    words = f"{images} hold {found}, the model was trained on {trained}"
    if wide != (trained.high > EIGHT_BITS) and (wide or trained.high > FAR * EIGHT_BITS):
        remedy = "convert the images to 8 bits" if wide else "use the 16-bit images"
        if refuse:
            raise InputError(
                f"{words}; expected the same range of gray values. Please {remedy}, for example with ImageJ"
            )
        logger.warning("Warning: %s; maps of other gray values mean little: %s", words, remedy)
    elif found.high > 0 and not 1 / FAR <= (trained.high or 1) / found.high <= FAR:
        logger.warning("Warning: %s; maps of other gray values mean little. See Histmatch", words)
