"""What the names of planes say: their order, their numbers, and what does not look like one volume."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DIGITS = re.compile(r"[0-9]+")
POSITION = re.compile(
    r"(?P<before>.*?)(?P<sign>[-+\u2212]?)(?P<number>[0-9]+(?:[.,][0-9]+)?)(?P<after>[^0-9]*)", re.DOTALL
)
"""A name that ends with one position, such as z-1.5 or s003_gray."""
COPY = re.compile(
    r"(?:(?P<of>Copy of |Kopie von |Copie de )(?P<base>.+)|"
    r"(?P<stem>.+?)(?: ?\(\d{1,2}\)| ?[-_]? ?\(?(?:copy|kopie|copie|copia)(?: ?\d+)?\)?|~))",
    re.IGNORECASE | re.DOTALL,
)
"""What file managers and browsers call a second copy."""
SIGNS_AFTER = ("", "_", "=", " ")
"""What a sign follows, where a hyphen after anything else is a hyphen."""
MINUS = ("-", "\u2212")
FEW = 3
"""So many names are listed in a message."""


@dataclass(frozen=True)
class Series:
    """Names that differ in numbers only.

    Attributes
    ----------
    pattern : str
        The name with # for every number.
    names : tuple of str
        In the order of their planes.
    numbers : tuple of tuple of int
        The numbers in each.
    """

    pattern: str
    names: tuple[str, ...]
    numbers: tuple[tuple[int, ...], ...]

    def varying(self) -> list[int]:
        """Return which of the numbers differ from name to name."""
        return [k for k, values in enumerate(zip(*self.numbers, strict=True)) if len(set(values)) > 1]

    def counted(self) -> list[int] | None:
        """Return the number of each plane; None where not exactly one number differs."""
        varying = self.varying()
        return [numbers[varying[0]] for numbers in self.numbers] if len(varying) == 1 else None


def natural_key(name: str) -> tuple[list[tuple[int, int]], bytes]:
    """Return a key that sorts bytewise but takes runs of digits as numbers.

    Examples
    --------
    >>> sorted(["img10", "img2", "a", "img1", "Img3", "img.x"], key=natural_key)
    ['Img3', 'a', 'img.x', 'img1', 'img2', 'img10']
    """
    raw = os.fsencode(name)
    key: list[tuple[int, int]] = []
    at = 0
    while at < len(raw):
        end = at
        while end < len(raw) and raw[end : end + 1].isdigit():
            end += 1
        if end > at:
            key.append((ord("0"), int(raw[at:end])) if end - at <= 4000 else (ord("0"), 0))
            at = end
        else:
            key.append((raw[at], 0))
            at += 1
    return key, raw


def in_order(names: Sequence[str]) -> tuple[list[str], str]:
    """Return names in the order of their planes, and what is to be said of it.

    Runs of digits count as numbers. Where all names end with one position, a hyphen before it is a sign if some
    positions lack it, and what follows a point is a fraction unless it counts through.

    Examples
    --------
    >>> in_order(["z0.5.png", "z-1.5.png", "z1.25.png", "z-0.5.png"])[0]
    ['z-1.5.png', 'z-0.5.png', 'z0.5.png', 'z1.25.png']
    >>> in_order(["a-2.png", "a-10.png"])
    (['a-2.png', 'a-10.png'], '')
    >>> in_order([f"s1.{part}.png" for part in (10, 9, 8, 7, 6, 5, 4, 3, 2, 1)])[0][-2:]
    ['s1.9.png', 's1.10.png']
    """
    natural = sorted(names, key=natural_key)
    positions = _positions(natural)
    if positions is None:
        return natural, ""
    by_position = sorted(natural, key=lambda name: positions[name][0])
    if by_position == natural:
        return natural, ""
    signed = any(value < 0 for value, _ in positions.values())
    chosen = by_position if signed or not _counts_through([text for _, text in positions.values()]) else natural
    how = "positions with sign and fraction" if chosen is by_position else "numbers on both sides of the point"
    first, second = next(pair for pair in zip(by_position, natural, strict=True) if pair[0] != pair[1])
    before, after = (first, second) if chosen is by_position else (second, first)
    return chosen, f"the names are read as {how}, in the order that puts {before} before {after}"


def series_of(names: Iterable[str]) -> list[Series]:
    """Return names by pattern, the most numerous one first; suffixes do not count."""
    grouped: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        grouped[DIGITS.sub("#", PurePath(name).stem)].append(name)
    found = [Series(pattern, tuple(group), tuple(map(numbers_in, group))) for pattern, group in grouped.items()]
    return sorted(found, key=lambda series: -len(series.names))


def numbers_in(name: str) -> tuple[int, ...]:
    """Return the numbers in a name, its suffix left out.

    Examples
    --------
    >>> numbers_in("s07_ch1.png")
    (7, 1)
    """
    return tuple(int(digits[-4000:]) for digits in DIGITS.findall(PurePath(name).stem))


def doubled(names: Sequence[str]) -> tuple[str, str] | None:
    """Return two names that stand for one plane: a copy and what it was made of, or one number written twice.

    Examples
    --------
    >>> doubled(["s1.png", "s1 (copy).png", "s2.png"]), doubled(["s1.png", "s01.png"])
    (('s1.png', 's1 (copy).png'), ('s1.png', 's01.png'))
    >>> doubled(["s (1).png", "s (2).png"]), doubled(["a.png", "a1.png"])
    (None, None)
    """
    stems: dict[str, str] = {}
    for name in names:
        stems.setdefault(PurePath(name).stem, name)
    for name in names:
        match = COPY.fullmatch(PurePath(name).stem)
        base = match and (match["base"] or match["stem"])
        if base in stems and stems[base] != name:
            return stems[base], name
    seen: dict[tuple[str, tuple[int, ...]], str] = {}
    for name in names:
        numbers = numbers_in(name)
        key = DIGITS.sub("#", PurePath(name).stem), numbers
        if key in seen and (numbers or PurePath(seen[key]).stem == PurePath(name).stem):
            return seen[key], name
        seen[key] = name
    return None


def oddities(names: Sequence[str]) -> list[str]:
    """Return what does not look like the planes of one volume, a sentence each: several series, strangers, gaps.

    Examples
    --------
    >>> oddities(["s1.png", "s2.png", "s4.png", "s5.png"])
    ['no file has the number 3']
    >>> oddities(["s1_ch0.png", "s1_ch1.png", "s2_ch0.png", "s2_ch1.png"])
    ['the names count 2 x 2 (s1_ch0.png ... s2_ch1.png): are these 2 series, such as channels?']
    >>> oddities(["a.png", "b.png"]), oddities(["s0.png", "s5.png", "s10.png"])
    ([], [])
    """
    series = series_of(names)
    several = [one for one in series if len(one.names) > 1]
    said = []
    if len(several) > 1:
        listed = ", ".join(f"{len(one.names)} such as {one.names[0]}" for one in several[:FEW])
        said.append(f"the names are those of {len(several)} series ({listed}), read as one volume")
    strangers = [one.names[0] for one in series if len(one.names) == 1]
    if several and len(several[0].names) >= FEW and strangers:
        said.append(f"{listing(strangers)} is named unlike the others, and read as a plane")
    return said + [words for one in several for words in (*_grid(one), *_gaps(one))]


def listing(names: Sequence[str]) -> str:
    """Return a few names in words.

    Examples
    --------
    >>> listing(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return f"{', '.join(names[:FEW])}{more}"


MOST_OF_TWO = 4
"""With two steps alone, one of 1 and another of so much at most are a gap rather than two numbers of other things."""


def missing_numbers(numbers: Sequence[int]) -> list[int]:
    """Return the numbers that are missing where the others count on in equal steps.

    Examples
    --------
    >>> missing_numbers([1, 2, 5, 6, 7]), missing_numbers([0, 10, 20, 40]), missing_numbers([3, 14, 15])
    ([3, 4], [30], [])
    >>> missing_numbers([1, 2, 4]), missing_numbers([1, 3])
    ([3], [])
    """
    ordered = sorted(numbers)
    steps = [b - a for a, b in pairwise(ordered)]
    if len(steps) == 2 and min(steps) == 1 and 2 <= max(steps) <= MOST_OF_TWO:
        return [*range(ordered[0], ordered[1])][1:] + [*range(ordered[1], ordered[2])][1:]
    if len(steps) < FEW:
        return []
    step, often = Counter(steps).most_common(1)[0]
    if step <= 0 or 2 * often <= len(steps):
        return []
    missing: list[int] = []
    for a, b in pairwise(ordered):
        if b - a > step and (b - a) % step == 0:
            missing += range(a + step, min(b, a + 1000 * step), step)
    return missing


def _gaps(series: Series) -> list[str]:
    numbers = series.counted()
    missing = missing_numbers(numbers) if numbers else []
    if not missing:
        return []
    return [f"no file has the number{'s' * (len(missing) > 1)} {listing(list(map(str, missing)))}"]


def _grid(series: Series) -> list[str]:
    """Return what to say where two numbers of the names run through every combination."""
    varying = [k for k in series.varying() if not _is_fraction(series.pattern, k)]
    sides = [len({numbers[k] for numbers in series.numbers}) for k in varying]
    if len(sides) != 2 or sides[0] * sides[1] != len(series.names):
        return []
    first, last = series.names[0], series.names[-1]
    few = min(sides)
    return [f"the names count {sides[0]} x {sides[1]} ({first} ... {last}): are these {few} series, such as channels?"]


def _is_fraction(pattern: str, k: int) -> bool:
    """Return whether number `k` of a pattern stands behind another one and a point, or before one."""
    parts = pattern.split("#")
    return (k > 0 and parts[k] in (".", ",")) or (k + 1 < len(parts) - 1 and parts[k + 1] in (".", ","))


def _positions(names: Sequence[str]) -> dict[str, tuple[Decimal, str]] | None:
    """Return the position that each name ends with, and its digits; None where they have none in common."""
    matches = [POSITION.fullmatch(PurePath(name).stem) for name in names]
    if not all(matches) or len({(m["before"], m["after"]) for m in matches if m}) != 1:
        return None
    signs = {match["sign"] for match in matches if match}
    before = matches[0]["before"] if matches[0] else ""
    signed = bool(signs - {"", "+"}) and (len(signs) > 1 or before[-1:] in SIGNS_AFTER)
    found = {}
    for name, match in zip(names, matches, strict=True):
        if match:
            position = Decimal(match["number"].replace(",", "."))
            found[name] = (-position if signed and match["sign"] in MINUS else position, match["number"])
    return found


def _counts_through(numbers: Sequence[str]) -> bool:
    """Return whether what follows the points counts 1, 2, 3 ..., as of parts and not as of fractions."""
    parts: defaultdict[str, set[int]] = defaultdict(set)
    for number in numbers:
        whole, _, rest = number.replace(",", ".").partition(".")
        if not rest or (rest[0] == "0" and len(rest) > 1):
            return False
        parts[whole].add(int(rest))
    return all(max(found) - min(found) + 1 == len(found) and min(found) <= 1 for found in parts.values())
