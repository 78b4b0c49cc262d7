"""The table of docs/contract.md: what it says of every command and situation, for the tests that hold it to that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "contract.md"
HEADS = ("command", "situation", "status", "is there", "is not there", "Caffe is given")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    command, situation : str
        Which command, and when.
    status : int
        Its exit status.
    there, absent : tuple of str
        Paths that are there afterwards, and others that are not.
    given : tuple of str
        Words that Caffe's tools are called with, in this order or another; each is a flag with its value.
    """

    command: str
    situation: str
    status: int
    there: tuple[str, ...]
    absent: tuple[str, ...]
    given: tuple[str, ...]

    @property
    def name(self) -> str:
        """What a test of the row is called."""
        return f"{self.command} {self.situation}".replace("`", "")


def rows(page: str | None = None) -> list[Row]:
    """Rows of all tables of the page."""
    text = PAGE.read_text(encoding="utf-8") if page is None else page
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:3] == "| `"]
    return [
        Row(command.strip("`"), situation, int(status), quoted(there), quoted(absent), quoted(given))
        for command, situation, status, there, absent, given in cells
    ]


def quoted(cell: str) -> tuple[str, ...]:
    """What stands between backquotes."""
    return tuple(re.findall(r"`([^`]+)`", cell))
