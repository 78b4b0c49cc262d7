"""What the table of commands leads to: the links in scripts/ and pip's entry points; `make scripts` writes both."""

from __future__ import annotations

import re
from pathlib import Path

from cdeep3m.cli.table import COMMANDS

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"
LAUNCHER = "launch"
SECTION = re.compile(r"(?<=\[project\.scripts\]\n).*?(?=\n\[)", re.DOTALL)


def entry_points() -> dict[str, str]:
    """Return what pip installs: a name and the function that it runs."""
    return {name: f"cdeep3m.cli.{module}:main" for name, module in COMMANDS.items()}


def write_all() -> None:
    """Write the links and the entry points anew."""
    for path in SCRIPTS.iterdir():
        if path.name not in (LAUNCHER, "README.md"):
            path.unlink()
    for name in COMMANDS:
        (SCRIPTS / name).symlink_to(LAUNCHER)
    lines = "".join(f'"{name}" = "{function}"\n' for name, function in entry_points().items())
    project = ROOT / "pyproject.toml"
    project.write_text(SECTION.sub(lambda _: lines, project.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write_all()
