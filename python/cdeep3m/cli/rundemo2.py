"""rundemo2: as rundemo, on two labelled volumes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cdeep3m.cli.rundemo import demo

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return demo("rundemo2", 2, argv)


if __name__ == "__main__":
    sys.exit(main())
