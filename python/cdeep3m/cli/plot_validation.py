"""PlotValidation.m TRAIN.csv TEST.csv OUTDIR | LOGDIR: plot the tables of runvalidation.sh."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, add_edition_option, run
from cdeep3m.cli.runvalidation import plot, validate

if TYPE_CHECKING:
    from collections.abc import Sequence

LOG = "out.log"

DESCRIPTION = """\
Plot training and validation loss and validation accuracy against iterations, from the CSV files of runvalidation.sh or
of Caffe's own parse_log.py, or from a training's out.log. Writes learning_curves.png and, with --edition 2, loss.png,
loss.pdf, accuracy.png and accuracy.pdf. Needs matplotlib: pip install 'cdeep3m[report]'

  TRAIN.csv TEST.csv  the two files (<log>.train and <log>.test)
  OUTDIR              gets the picture; made when it is missing
  LOGDIR              or a folder with a training's out.log, or with the two files; it gets the picture (and the files)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    usage = "PlotValidation.m [--edition 1|2] [--debug] TRAIN.csv TEST.csv OUTDIR | LOGDIR"
    parser = CommandParser("PlotValidation.m", description=DESCRIPTION, usage=usage)
    add_edition_option(parser)
    parser.add_argument("paths", nargs="*", metavar="PATH")
    options = parser.parse(argv)
    if len(options.paths) not in (1, 3):
        parser.error(f"found {len(options.paths)} arguments; expected TRAIN.csv TEST.csv OUTDIR, or LOGDIR")
    return run(lambda: plot_tables(*options.paths, edition=options.edition), debug=options.debug)


def plot_tables(first: str, test: str | None = None, out: str | None = None, *, edition: int = 1) -> None:
    """Plot two files, or the log or the two files of the folder `first`."""
    if test is None and (Path(first) / LOG).is_file():
        validate(first, Path(first), edition=edition)
        return
    from cdeep3m.evaluation.learning_curves import Curves, Table, find_csvs, read_csv

    train_file, test_file = find_csvs(first) if test is None else (Path(first), Path(test))
    curves = Curves(read_csv(train_file), Table() if test_file is None else read_csv(test_file))
    folder = Path(out or first)
    folder.mkdir(parents=True, exist_ok=True)
    plot(curves, folder, title=train_file.stem, edition=edition)


if __name__ == "__main__":
    sys.exit(main())
