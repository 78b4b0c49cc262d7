"""Write the fidelity page: `python -m fidelity PAGE`. Exit status 1 when something is not as it should be."""

from __future__ import annotations

import sys
from pathlib import Path

from conftest import REFERENCE
from fidelity.measure import measure
from fidelity.page import page


def main(out: str) -> int:
    if not REFERENCE.is_dir():
        print(f"ERROR, no reference data at {REFERENCE}: set CDEEP3M_REFERENCE to the folder that holds it.")
        return 1
    measured = measure(REFERENCE)
    Path(out).write_text(page(measured), encoding="utf-8")
    print(f"{out} says that all is faithful." if measured.faithful else f"NOT all is faithful: see {out}.")
    return 0 if measured.faithful else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
