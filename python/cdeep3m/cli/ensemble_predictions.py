"""EnsemblePredictions.m: average the probability maps of several nets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, add_overwrite_option, rules_from, run
from cdeep3m.cli.threads import add_threads_option, limit_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE = "%(prog)s [--exact] [--overwrite] [--debug] IN1 IN2 [IN3 ...] OUT"
DESCRIPTION = """\
Average the probability maps of several nets, plane by plane.

  IN1 IN2 ...  at least two folders (with --edition 2, one) of .png files of the same volume
  OUT          gets the averages, under the names of IN1's files
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("EnsemblePredictions.m", exact=True, description=DESCRIPTION, usage=USAGE)
    add_threads_option(parser)
    add_overwrite_option(parser)
    parser.add_argument("folders", nargs="*", metavar="IN")
    options = parser.parse(argv)
    parser.fewest_of_edition_2 = 1
    rules = rules_from(options)
    fewest = 1 if options.edition == 2 else 2
    if len(options.folders) <= fewest:
        expected = "at least one" if fewest == 1 else "at least two"
        parser.error(f"found {len(options.folders)} folders; expected {expected} to average, and OUT")
    *inputs, out = options.folders
    if (rules.octave_images or rules.second_edition) and no_such_folder(inputs):
        return 0

    def average() -> None:
        limit_threads(options, "EnsemblePredictions", "ensemble")
        from cdeep3m.runs.made_of import files_of, whole_planes

        made_of = {"maps": files_of(*inputs)}
        with whole_planes(out, made_of, overwrite=options.overwrite, refuse=not rules.is_exact):
            if rules.second_edition:
                from cdeep3m.prediction import as_edition_2

                count = as_edition_2.ensemble_folders(inputs, out)
            else:
                from cdeep3m.prediction.over_files.postprocess import ensemble_folders

                count = ensemble_folders(inputs, out, rules=rules, fewest=fewest)
        print(f"{count} planes written to {out}")

    return run(average, debug=options.debug)


def no_such_folder(folders: Sequence[str]) -> bool:
    """Say which input is no folder; EnsemblePredictions.m exits with 0 then."""
    missing = [folder for folder in folders if not Path(folder).is_dir()]
    for folder in missing:
        print(f"{folder} is not a directory")
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
