"""Run the command that a file in scripts/ is called: all of them are links to one launcher."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from cdeep3m.cli.table import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the first argument, a path, is called; return its exit status."""
    path, *rest = sys.argv[1:] if argv is None else argv
    name = command_called(path)
    if name is None:
        print(
            f"ERROR, {path!r} is no command of cdeep3m: expected a link to one, such as runtraining.sh", file=sys.stderr
        )
        return 1
    status: int = import_module(f"cdeep3m.cli.{COMMANDS[name]}").main(rest)
    return status


def command_called(path: str) -> str | None:
    """Return the command that a path names, or that the links behind it lead to; None where it is none."""
    name = os.path.basename(path)
    while name not in COMMANDS and os.path.islink(path):
        path = os.path.join(os.path.dirname(path), os.readlink(path))
        name = os.path.basename(path)
    return name if name in COMMANDS else None


if __name__ == "__main__":
    sys.exit(main())
