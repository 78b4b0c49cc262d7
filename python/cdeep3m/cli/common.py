"""What all commands share: argument parsing with the original's exit statuses, and errors as one line."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from cdeep3m import __version__
from cdeep3m.errors import CDeep3MError, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cdeep3m.rules import Rules

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells report it."""

TO_STOP = (signal.SIGTERM, signal.SIGHUP)
"""Signals that end a command as Ctrl-C does, so that it takes its containers and processes with it."""


BROKEN_PIPE = 141
"""Exit status when nobody reads the output any more (`... | head`), as shells report it."""


class CommandParser(argparse.ArgumentParser):
    """Parse a legacy command line: options anywhere, abbreviations allowed, wrong usage exits with 1.

    `--version`, `--debug` (a traceback with every error) and, where the command has an exact mode, `--exact` and
    `--edition` come with it.
    """

    def __init__(self, name: str, *, exact: bool = False, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(prog=name, **kwargs)
        self.fewest_of_edition_2 = 0
        self._given: Sequence[str] = ()
        self.add_argument("--version", action="version", version=f"cdeep3m {__version__}")
        self.add_argument("--debug", action="store_true", help="show a traceback with an error")
        if exact:
            self.add_argument(
                "--exact",
                action="store_true",
                default=exact_by_environment(),
                help="reproduce the original bit for bit, defects included (also: CDEEP3M_EXACT=1)",
            )
            self.add_argument(
                "--edition",
                type=int,
                choices=(1, 2),
                default=edition_by_environment(),
                help="which original: 1 is release 1.6.3, 2 is CDeep3M2 (default: 1; also: CDEEP3M_EDITION=2)",
            )

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """Parse `argv` (default: the process's own) with options and positionals in any order."""
        self._given = sys.argv[1:] if argv is None else list(argv)
        return self.parse_intermixed_args(argv)

    def _is_success_of_edition_2(self) -> bool:
        """Return whether CDeep3M2 would print its usage and end with 0, and exact mode of that edition is asked for."""
        known = argparse.ArgumentParser(add_help=False, exit_on_error=False)
        known.add_argument("--exact", action="store_true", default=exact_by_environment())
        known.add_argument("--edition", type=int, default=edition_by_environment())
        asked, others = known.parse_known_args(self._given)
        positionals = [argument for argument in others if not argument.startswith("--")]
        return asked.exact and asked.edition == 2 and len(positionals) < self.fewest_of_edition_2

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong to stderr; exit with 1, as the original commands do."""
        self.print_usage(sys.stderr)
        if self._is_success_of_edition_2():
            self.exit(0)
        self.exit(1, f"{self.prog}: {message}; try {self.prog} --help\n")


def exact_by_environment() -> bool:
    """Return whether CDEEP3M_EXACT asks for exact mode."""
    return os.environ.get("CDEEP3M_EXACT", "").lower() not in ("", "0", "false", "no")


def edition_by_environment() -> int:
    """Return the edition that CDEEP3M_EDITION names: 2, or else 1."""
    return 2 if os.environ.get("CDEEP3M_EDITION", "").strip() == "2" else 1


def rules_from(options: argparse.Namespace) -> Rules:
    """Return the rules that `--exact` and `--edition` ask for."""
    from cdeep3m.rules import rules_of

    return rules_of(exact=options.exact, edition=options.edition)


@contextmanager
def as_ctrl_c(caught: list[int]) -> Iterator[None]:
    """Treat SIGTERM and SIGHUP as Ctrl-C within the block, noting them in `caught`; ignored ones stay ignored."""

    def interrupt(number: int, frame: object) -> None:
        caught.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in TO_STOP}
    default = [number for number, handler in previous.items() if handler is signal.SIG_DFL]
    try:
        for number in default:
            signal.signal(number, interrupt)
        yield
    finally:
        for number in default:
            signal.signal(number, previous[number])


def run(
    command: Callable[[], int | None],
    *,
    debug: bool,
    exit_code: int | None = None,
    how_to_go_on: str = "The same command goes on where this one stopped.",
) -> int:
    """Run `command` and turn what stops it into one line on stderr and an exit status.

    Parameters
    ----------
    command : callable
        The work; what it returns is the exit status (None is 0).
    debug : bool
        Show the traceback of an error as well.
    exit_code : int, optional
        Status for every `CDeep3MError`, where the command's contract has one of its own; default: the error's.
    how_to_go_on : str
        What to tell somebody who interrupted the command.

    Returns
    -------
    int
        The exit status.
    """
    logging.basicConfig(format="%(message)s", level=logging.DEBUG if debug else logging.INFO)
    caught: list[int] = []
    try:
        with as_ctrl_c(caught):
            return command() or 0
    except KeyboardInterrupt:
        print(f"Interrupted. {how_to_go_on}", file=sys.stderr)
        return 128 + caught[0] if caught else INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (CDeep3MError, OSError) as error:
        if debug:
            logging.exception("traceback, as --debug asks")
        print(f"ERROR, {describe(error)}", file=sys.stderr)
        status = error.exit_code if isinstance(error, CDeep3MError) else 1
        return status if exit_code is None else exit_code
