"""What a check says, and the files that it is kept in while it goes on."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

from benchmarks.figures import amount, table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    name, unit : str
        What, and in what.
    value : float
        What was found; 1 and 0 stand for yes and no.
    bound : float, optional
        What it may be at most, or at least.
    side : {"most", "least"}
        Which of both.
    note : str
        More about it.
    """

    name: str
    value: float
    unit: str = ""
    bound: float | None = None
    side: Literal["most", "least"] = "most"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it is within its bound; None without one."""
        if self.bound is None:
            return None
        return self.value <= self.bound if self.side == "most" else self.value >= self.bound


def yes(name: str, answer: bool, note: str = "") -> Finding:
    """Return the finding that something is so, or is not as it should be."""
    return Finding(name=name, value=float(answer), bound=1, side="least", note=note)


@dataclass
class Report:
    """All findings of a run, on disk after every part: a run that is cut off is worth what it did.

    Attributes
    ----------
    folder : Path
        Gets gpu-check.json and gpu-check.md.
    machine : dict
        What it ran on.
    """

    folder: Path
    machine: dict[str, object] = field(default_factory=dict)
    parts: dict[str, dict[str, object]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, part: str, found: Iterable[Finding], begin: float, problem: str = "") -> None:
        """Keep what a part found, and why it ended early if it did."""
        found = list(found)
        self.findings += [*found, *([yes(f"{part} ran", False, problem)] if problem else [])]
        said = [{**asdict(finding), "met": finding.met} for finding in found]
        self.parts[part] = {"seconds": round(time.monotonic() - begin, 1), "problem": problem, "findings": said}
        self.write()

    def write(self) -> None:
        """Write both files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {"machine": self.machine, "parts": self.parts}
        (self.folder / "gpu-check.json").write_text(json.dumps(content, indent=1, default=str) + "\n")
        (self.folder / "gpu-check.md").write_text(f"{self.table()}\n")

    def table(self) -> str:
        """Return all findings as a Markdown table."""
        met = {True: "yes", False: "NO", None: ""}
        rows = (
            (f.name, amount(f.value, f.unit), _bound(f), met[f.met], f.note.split("\n", 1)[0][:90])
            for f in self.findings
        )
        return table(rows, ("figure", "found", "bound", "met", "note"))


def _bound(finding: Finding) -> str:
    if finding.bound is None:
        return ""
    return f"{'<=' if finding.side == 'most' else '>='} {amount(finding.bound, finding.unit)}"
