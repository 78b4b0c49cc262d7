"""What a benchmark says: named figures, each beside the best that the machine did in the same run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Aim = Literal["value", "ratio"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number.

    Attributes
    ----------
    name, unit : str
        What was measured, and in what.
    value : float
        The best of the tries.
    peak : float, optional
        What the machine did at best in the same run, in the same unit.
    target : float, optional
        The most that `aim` may be.
    aim : {"value", "ratio"}
        What `target` speaks of.
    """

    name: str
    value: float
    unit: str
    peak: float | None = None
    target: float | None = None
    aim: Aim = "value"

    @property
    def ratio(self) -> float | None:
        """How many times the peak it is."""
        return self.value / self.peak if self.peak else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target, or without the peak that it needs."""
        measured = self.value if self.aim == "value" else self.ratio
        return None if self.target is None or measured is None else measured <= self.target

    def to_json(self) -> dict[str, object]:
        """Return the attributes, with the ratio and whether the target is met."""
        return {**asdict(self), "ratio": self.ratio, "met": self.met}


def table(rows: Iterable[Sequence[str]], header: Sequence[str]) -> str:
    """Return rows as a Markdown table with aligned columns."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]
    padded = [
        "| " + " | ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([padded[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *padded[1:]])


def table_of(figures: Iterable[Figure]) -> str:
    """Return the figures of one run as a table."""
    header = ("figure", "measured", "peak", "ratio", "target", "met")
    return table(((f.name, amount(f.value, f.unit), *_beside(f)) for f in figures), header)


def amount(value: float | None, unit: str = "") -> str:
    """Return a number with three digits and its unit; nothing for None."""
    return "" if value is None else f"{value:.3g} {unit}".strip()


def _beside(figure: Figure) -> tuple[str, str, str, str]:
    target = amount(figure.target, figure.unit if figure.aim == "value" else "x peak")
    met = {True: "yes", False: "no", None: ""}[figure.met]
    return amount(figure.peak, figure.unit), amount(figure.ratio), target, met
