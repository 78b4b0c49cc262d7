"""Print what pip installs into the image: the dependencies in pyproject.toml, and the pinned PyTorch for the device.

usage: requirements.py cpu|cuda (in the folder of pyproject.toml and constraints.txt)
"""

from __future__ import annotations

import re
import sys
from itertools import chain
from pathlib import Path

import tomllib

FOR_USERS = ("embedded", "watershed", "zarr", "mrc", "dask", "slurm", "objects", "report")
"""Extras whose packages the commands use; the others make and test the project."""

SUFFIX = {"cpu": "+cpu", "cuda": ""}
"""PyTorch's local version: its CPU build by name, so that pip never takes the CUDA build for it."""


def requirements(project: dict, constraints: str, *, device: str) -> list[str]:
    """List the package's dependencies with all extras that users want; PyTorch in the build for `device`."""
    extras = [project["optional-dependencies"][name] for name in FOR_USERS]
    wanted = list(dict.fromkeys([*project["dependencies"], *chain.from_iterable(extras)]))
    torch = re.search(r"^torch==\S+", constraints, re.MULTILINE).group()
    return [torch + SUFFIX[device] if re.match(r"torch\b", line) else line for line in wanted]


if __name__ == "__main__":
    if sys.argv[1:] not in (["cpu"], ["cuda"]):
        sys.exit(f"ERROR, DEVICE={' '.join(sys.argv[1:])}: expected cpu or cuda")
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    print(*requirements(project, Path("constraints.txt").read_text(encoding="utf-8"), device=sys.argv[1]), sep="\n")
