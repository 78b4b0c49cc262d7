"""`cdeep3m report`: one page about a run, to look at, to mail and to keep."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run
from cdeep3m.cli.volume_options import add_selection_options, path_or_address

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from cdeep3m.engines.base import Progress

DESCRIPTION = """\
Write RUN/report.html: one page that holds everything in itself and asks no network.

  RUN  folder of a prediction: planes with a slider for the threshold, scores, objects, times, warnings
       or of a training: curves, what was trained on, times, what to try next

Trainings and predictions write it at their end; this command writes it anew, with labels where there are some.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("cdeep3m report", description=DESCRIPTION)
    parser.add_argument("--images", metavar="IMAGES", help="images of a prediction (default: those that it predicted)")
    parser.add_argument("--labels", metavar="LABELS", help="ground truth of all planes of a prediction")
    parser.add_argument("--out", type=Path, metavar="FILE", help="page to write (default: RUN/report.html)")
    parser.add_argument(
        "--threshold", default="0.5", metavar="T", help="where the slider of a prediction begins, 0 to 1 (default: 0.5)"
    )
    parser.add_argument("--price", type=float, metavar="P", help="of an hour on the device: adds what the run cost")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    add_selection_options(parser)
    parser.add_argument("run", type=Path, metavar="RUN")
    options = parser.parse(argv)
    return run(lambda: _report(options), debug=options.debug)


def _report(options: argparse.Namespace) -> None:
    from cdeep3m.cli.score import threshold_of
    from cdeep3m.evaluation.run_findings import findings_in
    from cdeep3m.report.write import write_report

    path = write_report(
        options.run,
        images=path_or_address(options.images, options) if options.images else None,
        labels=path_or_address(options.labels, options, labels=True) if options.labels else None,
        threshold=threshold_of(options.threshold),
        out=options.out,
        price=options.price,
    )
    for finding in findings_in(options.run):
        print(f"Look: {finding}", file=sys.stderr)
    print(f"Report: {path}")
    if options.open:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())


def add_report_option(parser: argparse.ArgumentParser) -> None:
    """Add the option of commands that write a page at their end."""
    parser.add_argument("--no-report", action="store_true", help="do not write report.html at the end")


def page_ready_in_time(
    options: argparse.Namespace, report: Callable[[str, Progress], None]
) -> Callable[[str, Progress], None]:
    """Return a callable that passes progress on; with the first of it, what the page will need begins to load."""
    from cdeep3m.system.threads import begin

    begun: list[object] = []

    def told(name: str, progress: Progress) -> None:
        if not (begun or options.no_report):
            begun.append(begin(_load_page))
        report(name, progress)

    return told


def _load_page() -> None:
    import cdeep3m.evaluation.run_findings  # noqa: F401 - it takes a while, and is wanted at the end
    from cdeep3m.report.write import get_ready

    get_ready()


def report_at_end(options: argparse.Namespace) -> None:
    """Say what looks wrong about the run in `options.out`, and write its page; nothing here fails a finished run."""
    from cdeep3m.errors import CDeep3MError, MissingExtraError, describe
    from cdeep3m.evaluation.run_findings import findings_in

    try:
        for finding in findings_in(options.out):
            print(f"Look: {finding}", file=sys.stderr)
        if options.no_report:
            return
        from cdeep3m.report.write import write_report

        print(f"Report: {write_report(options.out, count_objects=False)}", file=sys.stderr)
    except MissingExtraError:
        print("No report: it needs jinja2, pip install 'cdeep3m[report]'", file=sys.stderr)
    except (CDeep3MError, OSError) as error:
        print(f"No report: {describe(error)}", file=sys.stderr)
    except Exception as error:  # a defect here must not turn hours of work into a failure
        logging.getLogger(__name__).debug("traceback, as --debug asks", exc_info=True)
        print(f"No report: unexpected {type(error).__name__}: {error}. The run itself is finished", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
