"""Line charts and histograms as SVG, which a page holds in itself and a browser can print at any size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 480, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 468, 26, 200
COLOURS = ("#1b6ca8", "#d1495b", "#2e8b57", "#8a5a9e", "#b8860b")
MOST_POINTS = 400
"""A line of more points is thinned to so many; nobody sees more."""


@dataclass(frozen=True)
class Line:
    """Points to connect.

    Attributes
    ----------
    name : str
        In the legend; empty for none.
    x, y : sequences of float
        Points whose y is not finite are left out.
    faint : bool
        Whether to draw it in the background.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    faint: bool = False


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` along an axis, as they are or by their logarithm."""

    label: str
    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return where a value is, 0 at `low` and 1 at `high`; beyond them, the end."""
        value, low, high = (self._scaled(number) for number in (value, self.low, self.high))
        return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.5

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, 1e-12)) if self.log else value

    def ticks(self) -> list[float]:
        """Return round numbers along the axis."""
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            steps = (1,) if high - low >= 2 else (1, 2, 5)
            decades = range(math.floor(low), math.ceil(high) + 1)
            return [value for k in decades for step in steps if self.low <= (value := step * 10.0**k) <= self.high]
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        step = 10 ** math.floor(math.log10(span / 4))
        step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 5)
        return [k * step for k in range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)]


def line_chart(lines: Sequence[Line], x: Axis, y: Axis, *, title: str, marker: str = "") -> str:
    """Draw lines; `marker` is the id of a dot that a script moves.

    Returns
    -------
    str
        An svg element; where the plot lies is in its data-x0, data-x1, data-y0 and data-y1.
    """
    drawn = [_polyline(line, x, y, COLOURS[k % len(COLOURS)]) for k, line in enumerate(lines)]
    legend = [_legend(line.name, k) for k, line in enumerate(lines) if line.name]
    dot = f'<circle id="{marker}" r="5" fill="#d1495b" visibility="hidden"/>' if marker else ""
    return _svg(title, [*_frame(x, y), *drawn, *legend, dot])


def histogram(counts: Sequence[int], *, title: str, marker: str = "") -> str:
    """Draw how many voxels have each 8-bit probability, on a logarithmic axis; `marker` is the id of a line to move."""
    top = max(max(counts, default=1), 10)
    x, y = Axis("probability", 0, 1), Axis("voxels", 1, top, log=True)
    points = [f"{LEFT},{BOTTOM}"]
    width = (RIGHT - LEFT) / max(1, len(counts))
    for value, count in enumerate(counts):
        height = BOTTOM - (BOTTOM - TOP) * (y.at(count) if count else 0)
        points += [f"{LEFT + value * width:.1f},{height:.1f}", f"{LEFT + (value + 1) * width:.1f},{height:.1f}"]
    bars = f'<polygon points="{" ".join(points)} {RIGHT},{BOTTOM}" fill="{COLOURS[0]}" opacity="0.75"/>'
    line = f'<line id="{marker}" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{BOTTOM}" class="cut"/>' if marker else ""
    return _svg(title, [*_frame(x, y), bars, line])


def _svg(title: str, parts: Sequence[str]) -> str:
    plot = f'data-x0="{LEFT}" data-x1="{RIGHT}" data-y0="{BOTTOM}" data-y1="{TOP}"'
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" {plot}>'
        f"{''.join(parts)}</svg>"
    )


def _frame(x: Axis, y: Axis) -> list[str]:
    parts = []
    for value in x.ticks():
        at = LEFT + (RIGHT - LEFT) * x.at(value)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{BOTTOM}" class="grid"/>')
        parts.append(f'<text x="{at:.1f}" y="{BOTTOM + 16}" text-anchor="middle">{_number(value)}</text>')
    for value in y.ticks():
        at = BOTTOM - (BOTTOM - TOP) * y.at(value)
        parts.append(f'<line x1="{LEFT}" x2="{RIGHT}" y1="{at:.1f}" y2="{at:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{_number(value)}</text>')
    parts.append(f'<text x="{(LEFT + RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x.label)}</text>')
    middle = (TOP + BOTTOM) / 2
    parts.append(f'<text transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">{escape(y.label)}</text>')
    return parts


def _polyline(line: Line, x: Axis, y: Axis, colour: str) -> str:
    points = [(a, b) for a, b in zip(line.x, line.y, strict=True) if math.isfinite(a) and math.isfinite(b)]
    points = points[:: max(1, -(-len(points) // MOST_POINTS))]
    places = [(LEFT + (RIGHT - LEFT) * x.at(a), BOTTOM - (BOTTOM - TOP) * y.at(b)) for a, b in points]
    style = 'stroke-opacity="0.45" stroke-width="1.2"' if line.faint else 'stroke-width="2"'
    if len(places) == 1:
        return f'<circle cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="3" fill="{colour}"/>'
    text = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
    return f'<polyline points="{text}" fill="none" stroke="{colour}" {style}/>'


def _legend(name: str, k: int) -> str:
    x = LEFT + 150 * k
    return (
        f'<line x1="{x}" x2="{x + 18}" y1="10" y2="10" stroke="{COLOURS[k % len(COLOURS)]}" stroke-width="3"/>'
        f'<text x="{x + 24}" y="14">{escape(name)}</text>'
    )


def _number(value: float) -> str:
    """Return a number as short as it can be read.

    Examples
    --------
    >>> _number(0.25), _number(1000000.0), _number(0.001), _number(30000.0)
    ('0.25', '1e6', '0.001', '30000')
    """
    if value and (abs(value) >= 1e6 or abs(value) < 1e-3):
        mantissa, exponent = f"{value:.0e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:g}"
