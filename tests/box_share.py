"""A command that does one share of some boxes: python -m box_share FOLDER SHARE SHARES."""

from __future__ import annotations

import sys
from pathlib import Path

from box_work import WriteBox
from cdeep3m.cli.common import run
from cdeep3m.runners.base import run_missing
from cdeep3m.system.ledger import open_ledger, share_of

BOXES = 60


def main(folder: Path, share: int, shares: int, seconds: float) -> None:
    """Do the boxes of a share that are not done yet."""
    ledger = open_ledger(folder / "ledger", boxes=BOXES, run={})
    mine = set(share_of(list(range(BOXES)), number=share, of=shares))
    run_missing(
        WriteBox(folder, seconds=seconds),
        ledger,
        share=lambda missing: missing[[box in mine for box in missing.tolist()]],
    )


if __name__ == "__main__":
    name, number, count, pause = sys.argv[1:]
    sys.exit(run(lambda: main(Path(name), int(number), int(count), float(pause)), debug=False))
