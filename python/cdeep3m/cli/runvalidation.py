"""runvalidation.sh LOG OUTDIR: loss and accuracy of a training, from its log."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run
from cdeep3m.errors import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.evaluation.learning_curves import Curves

PICTURE = "learning_curves.png"

DESCRIPTION = """\
Read the log of a training and write to OUTDIR: the losses and accuracies as <log>.train and <log>.test, CSV files like
those of Caffe's parse_log.py, and learning_curves.png, which plots them against iterations. The CSV files also go
beside the log. A log to which several runs were appended makes one curve. Needs matplotlib:
pip install 'cdeep3m[report]'"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("runvalidation.sh", description=DESCRIPTION)
    parser.add_argument("log", metavar="LOG", help="log of a net's training, such as trained/1fm/log/out.log")
    parser.add_argument("out", metavar="OUTDIR", help="folder to write to; made when it is missing")
    options = parser.parse(argv)
    return run(lambda: validate(options.log, Path(options.out)), debug=options.debug)


def validate(log: str, out: Path, *, edition: int = 1) -> None:
    """Parse, write and plot."""
    from cdeep3m.evaluation.learning_curves import find_log, read_log, write_csvs

    curves, found = read_log(log), find_log(log)
    out.mkdir(parents=True, exist_ok=True)
    for path in [*_beside(curves, found, out), *write_csvs(curves, found, out)]:
        print(f"Wrote {path}")
    plot(curves, out, title=log, edition=edition)


def _beside(curves: Curves, log: Path, out: Path) -> list[Path]:
    """Write the CSV files beside the log, as the original does, where that is not `out` and may be written."""
    from cdeep3m.errors import describe
    from cdeep3m.evaluation.learning_curves import write_csvs

    if log.parent.samefile(out):
        return []
    try:
        return write_csvs(curves, log, log.parent)
    except OSError as error:
        print(f"Warning: no CSV files beside the log: {describe(error)}", file=sys.stderr)
        return []


def plot(curves: Curves, out: Path, *, title: str, edition: int = 1) -> None:
    """Write the picture, and say what the last rows hold."""
    from cdeep3m.report.plots import plot_learning_curves, plot_outputs, save_png

    save_png(plot_learning_curves(curves, title=title), out / PICTURE)
    print(f"Wrote {out / PICTURE}")
    for kind in ("loss", "accuracy") if edition == 2 else ():
        for suffix in ("png", "pdf"):
            save_png(plot_outputs(curves, kind), out / f"{kind}.{suffix}")
            print(f"Wrote {out / f'{kind}.{suffix}'}")
    for kind, table in (("training", curves.train), ("validation", curves.test)):
        if table.rows:
            (iteration, *_), last = table.rows[-1], table.rows[-1][-len(table.outputs) :]
            values = ", ".join(f"{name} {value:.4g}" for name, value in zip(table.outputs, last, strict=True))
            print(printable(f"{kind}, iteration {iteration:.0f}: {values}"))
        else:
            print(f"{kind}: none in the log")


if __name__ == "__main__":
    sys.exit(main())
