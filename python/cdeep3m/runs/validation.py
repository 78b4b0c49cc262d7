"""How the snapshots of a net did on planes that were held out, which of them predicts, and how its maps are calibrated.

All of it is one file beside the net, which appears whole or not at all.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

from cdeep3m.errors import FormatError, InputError
from cdeep3m.runs.calibration import Calibration
from cdeep3m.system.files import write_text

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

RECORD = "validation.json"
"""File in a net's folder."""

Keep = Literal["last", "best"]
"""Which snapshot predicts."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """How one snapshot did.

    Attributes
    ----------
    weights : str
        Its file name.
    iteration : int
    f1 : float
        At the best threshold; of several classes, the mean, each at its own.
    threshold : float
        That threshold, in [0, 1]; of several classes, the mean.
    f1_at_half : float
        At 0.5; of several classes, the mean.
    classes : tuple of float or None
        F1 of each class beyond background, where there are several; None of one that the planes do not show.
    """

    weights: str
    iteration: int
    f1: float
    threshold: float
    f1_at_half: float
    classes: tuple[float | None, ...] = ()

    @property
    def words(self) -> str:
        """How it did, for messages."""
        if not self.classes:
            return f"F1 {self.f1:.3f} at {self.threshold:.2f}, {self.f1_at_half:.3f} at 0.5"
        each = ", ".join(
            f"class {label} {'not there' if f1 is None else format(f1, '.3f')}"
            for label, f1 in enumerate(self.classes, start=1)
        )
        return f"mean F1 {self.f1:.3f} ({each}), {self.f1_at_half:.3f} at 0.5"


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What is known of a net's snapshots.

    Attributes
    ----------
    keep : {"last", "best"}
        Whether the last snapshot predicts, or the one with the highest F1.
    planes : str
        Which planes were held out, in words; empty where none were.
    scored : tuple of Scored
        In the order of their iterations.
    calibration : Calibration, optional
        Of class 1.
    further : tuple of Calibration
        Of the classes beyond it, where there are several.
    """

    keep: Keep = "last"
    planes: str = ""
    scored: tuple[Scored, ...] = ()
    calibration: Calibration | None = None
    further: tuple[Calibration, ...] = ()

    def calibration_of(self, label: int) -> Calibration | None:
        """Return the calibration of a class, None where there is none."""
        known = (*([self.calibration] if self.calibration else []), *self.further)
        return next((one for one in known if one.label == label), None)

    def with_calibration(self, calibration: Calibration) -> Validation:
        """Return the record with one more calibration, in place of an earlier one of its class."""
        if calibration.label == 1:
            return replace(self, calibration=calibration)
        others = [one for one in self.further if one.label != calibration.label]
        return replace(self, further=tuple(sorted([*others, calibration], key=lambda one: one.label)))

    @property
    def best(self) -> Scored | None:
        """The snapshot with the highest F1, the earliest of several; None where none has one."""
        known = [one for one in self.scored if math.isfinite(one.f1)]
        return max(known, key=lambda one: (one.f1, -one.iteration), default=None)

    def with_score(self, scored: Scored) -> Validation:
        """Return the record with one more score."""
        others = [one for one in self.scored if one.iteration != scored.iteration]
        return replace(self, scored=tuple(sorted([*others, scored], key=lambda one: one.iteration)))

    def is_over(self, patience: int) -> bool:
        """Return whether the last `patience` scores were no better than the best before; never so for 0.

        Examples
        --------
        >>> scores = [Scored(weights="", iteration=i, f1=f1, threshold=0.5, f1_at_half=f1)
        ...           for i, f1 in enumerate((0.2, 0.6, 0.6, 0.5))]
        >>> record = Validation(scored=tuple(scores))
        >>> record.is_over(2), record.is_over(3), record.is_over(0)
        (True, False, False)
        """
        if not patience or self.best is None:
            return False
        return sum(one.iteration > self.best.iteration for one in self.scored) >= patience

    def write(self, net_folder: Path) -> None:
        """Write the record into a net's folder."""
        write_text(net_folder / RECORD, json.dumps(asdict(self), indent=1) + "\n")


def validation_of(net_folder: Path) -> Validation | None:
    """Return the record of a net, None where there is none.

    Raises
    ------
    FormatError
        It is damaged.
    """
    path = net_folder / RECORD
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        scored = tuple(Scored(**{**one, "classes": tuple(one.get("classes", ()))}) for one in content.pop("scored"))
        calibration = content.pop("calibration")
        found = Validation(
            scored=scored,
            calibration=Calibration(**calibration) if calibration else None,
            further=tuple(Calibration(**one) for one in content.pop("further", ())),
            **content,
        )
        if found.keep not in ("last", "best"):
            raise InputError(f"keep {found.keep}")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise FormatError(
            f"{path} is no record of a validation ({error}). Delete it; the last snapshot predicts then, uncalibrated"
        ) from None
    return found


def kept_weights(net_folder: Path) -> str | None:
    """Return the file name of the weights that predict because they scored best; None where the last ones do."""
    record = validation_of(net_folder)
    if record is None or record.keep != "best" or record.best is None:
        return None
    return record.best.weights


def calibration_for(weights: Path, *, label: int = 1, say: bool = False) -> Calibration | None:
    """Return the calibration of the maps that some weights make of a class, None where there is none.

    One that belongs to other weights of the net is left out; where `say`, with a warning.
    """
    net_folder = weights.absolute().parent.parent
    record = validation_of(net_folder)
    calibration = record.calibration_of(label) if record else None
    if calibration is None or calibration.weights == weights.name:
        return calibration
    if say:
        logger.warning(
            "Warning: the calibration in %s belongs to %s: maps of %s are as the net gives them",
            net_folder,
            calibration.weights,
            weights.name,
        )
    return None
