"""The recordings of CDeep3M2 (reference/edition2): every file of a format, whatever follows or precedes its name."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from conftest import REFERENCE
from octave_cases import digest, synth

if TYPE_CHECKING:
    from pathlib import Path

KINDS = (
    *("enhance", "enhance_files", "secondary", "resize", "training", "validation", "job", "packages"),
    *("packages_command", "package_files", "deaugment", "merge", "ensemble", "overlay", "status", "prediction"),
)
"""Names of the formats."""


NOT_REPEATED = {
    "one_bit_noise_free_hangs": "CDeep3M2 never ends with such planes (7); exact mode leaves them undenoised",
    "int16": "the recording does not give the values of its image",
    "other_cwd": "recorded where CDeep3M2 misses its own `cpu_resources.txt` (29), which exact mode does not need",
    "runtraining_help_never_ends": "CDeep3M2 never ends (24)",
    "ensemble.py one": "a function that none of CDeep3M2's commands calls, given one folder of the two that it takes",
    "ensemble.py as a command": "nothing happens and nothing is written",
    "configs/set_limits.py": "writes numbers of processors of the machine that it was recorded on",
}
"""Recorded cases that no test repeats, and why; numbers are those of the defects."""

UNKNOWN = "an input that the recordings do not describe"
"""Why a further recording may be skipped."""


@dataclass(frozen=True)
class Recording:
    """One recorded case, and the arrays of its file."""

    name: str
    case: dict[str, Any]
    path: Path

    def array(self, key: str) -> np.ndarray:
        return arrays(self.path)[key]

    def has(self, key: str) -> bool:
        return key in arrays(self.path)

    @property
    def keys(self) -> list[str]:
        return list(arrays(self.path))


@cache
def arrays(path: Path) -> Any:
    beside = path.with_suffix(".npz")
    return np.load(beside) if beside.is_file() else {}


def kind_of(path: Path) -> str:
    """The longest format's name that the file's begins or ends with."""
    fitting = [kind for kind in KINDS if path.stem.startswith(kind) or path.stem.endswith(kind)]
    return max(fitting, key=len, default="")


def files(kind: str) -> list[Path]:
    if not REFERENCE.is_dir():
        return []
    folders = [path for path in REFERENCE.iterdir() if path.is_dir() and path.name.startswith("edition2")]
    return [path for folder in sorted(folders) for path in sorted(folder.rglob("*.json")) if kind_of(path) == kind]


def recordings(kind: str) -> list[Recording]:
    """Every case of every file of a format."""
    return [
        Recording(name, case, path)
        for path in files(kind)
        for name, case in named(json.loads(path.read_text(encoding="utf-8")))
    ]


def named(content: Any) -> list[tuple[str, dict[str, Any]]]:
    if isinstance(content, dict) and "cases" in content:
        content = content["cases"]
    if isinstance(content, dict):
        return list(content.items())
    return [(str(case.get("case", case.get("size", number))), case) for number, case in enumerate(content)]


def ids(case: object) -> str | None:
    return case.name if isinstance(case, Recording) else None


def described(array: np.ndarray) -> list:
    """How the recordings describe an array: shape, dtype, hash."""
    return [list(array.shape), str(array.dtype), digest(array)]


def image_of(recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels that a recorded augmentation was given; planes of one value are named, not stored."""
    name = recording.case["input"]
    if recording.has(f"{name}/image"):
        return recording.array(f"{name}/image"), recording.array(f"{name}/label")
    value, *shape = re.match(r"[a-z]*(\d*) ?\((\d+), ?(\d+), ?(\d+)\)", name).groups()
    image = np.full([int(side) for side in shape], int(value or 0), np.uint8)
    return image, np.zeros_like(image)


__all__ = [
    "NOT_REPEATED",
    "UNKNOWN",
    "Recording",
    "described",
    "digest",
    "files",
    "ids",
    "image_of",
    "recordings",
    "synth",
]
