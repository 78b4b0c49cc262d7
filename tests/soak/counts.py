"""`python -m soak.counts FILE...`: what parts of a soak come to together, and a table of commands and kinds."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

Counts = dict[str, dict[str, Any]]
"""By kind: where seeds began, how many trials there were, how often each command was struck, and what was wrong."""


def of_kind(counts: Counts, kind: str, begin: int) -> dict[str, Any]:
    """Return the counts of a kind, new ones where there are none."""
    return counts.setdefault(kind, {"begin": begin, "trials": 0, "struck": {}, "seconds": 0.0, "wrong": []})


def summary(counts: Counts) -> list[str]:
    """Return a line for each kind: trials, how often something struck, what was wrong, how long it took."""
    return [
        f"{kind}: {one['trials']} trials from seed {one['begin']}, struck {sum(one['struck'].values())} times, "
        f"{len(one['wrong'])} wrong, {one['seconds']:.0f} s"
        for kind, one in counts.items()
    ]


def add_up(parts: list[Counts]) -> dict[str, Counter[str]]:
    """Return how often each command was struck, by kind.

    Examples
    --------
    >>> add_up([{"kill": {"struck": {"caffe": 2}}}, {"kill": {"struck": {"caffe": 1}}}])
    {'kill': Counter({'caffe': 3})}
    """
    found: dict[str, Counter[str]] = {}
    for part in parts:
        for kind, one in part.items():
            found.setdefault(kind, Counter()).update(one["struck"])
    return found


def table(struck: dict[str, Counter[str]]) -> list[str]:
    """Return a Markdown table: a row for each command, a column for each kind."""
    kinds = list(struck)
    commands = sorted({command for each in struck.values() for command in each})
    rows = [[command, *(str(struck[kind][command]) for kind in kinds)] for command in commands]
    rows.append(["in all", *(str(struck[kind].total()) for kind in kinds)])
    return [f"| {' | '.join(row)} |" for row in (["command", *kinds], ["---"] * (1 + len(kinds)), *rows)]


def main() -> int:
    """Print the parts' summaries and the table of all."""
    parts = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
    for name, part in zip(sys.argv[1:], parts, strict=True):
        print(name, *summary(part), sep="\n")
    print(*table(add_up(parts)), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
