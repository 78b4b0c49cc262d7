"""What all commands share: argument parsing with the original's exit statuses, and errors as one line."""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
import threading
import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from cdeep3m import __version__
from cdeep3m.cli.streams import OneLine, give_up_output, settle
from cdeep3m.errors import CDeep3MError, FullDiskError, describe, is_interrupt, printable
from cdeep3m.system.interrupts import interrupting_again

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cdeep3m.rules import Rules

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells report it."""

TO_STOP = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Signals that end a command as Ctrl-C does, so that it takes its containers and processes with it.

SIGUSR1 is what many a batch script asks Slurm for, some time before the end of a job's time.
"""


BROKEN_PIPE = 141
"""Exit status when nobody reads the output any more (`... | head`), as shells report it."""


CALLED: ContextVar[str] = ContextVar("CALLED")
"""What the user typed for a command that has an older name, too."""


class CommandParser(argparse.ArgumentParser):
    """Parse a legacy command line: options anywhere, abbreviations allowed, wrong usage exits with 1.

    `--version`, `--debug` (a traceback with every error) and, where the command has an exact mode, `--exact` and
    `--edition` come with it.
    """

    def __init__(self, name: str, *, exact: bool = False, **kwargs: Any) -> None:
        settle()
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(prog=name if name.startswith("cdeep3m ") else CALLED.get(name), **kwargs)
        self.fewest_of_edition_2, self.status_of_edition_2, self.help_of_edition_2 = 0, 0, 0
        self._given: list[str] = []
        self.add_argument("--version", action="version", version=f"cdeep3m {__version__}")
        self.add_argument("--debug", action="store_true", help="show a traceback with an error")
        if exact:
            self.add_argument(
                "--exact",
                action="store_true",
                default=exact_by_environment(),
                help="reproduce the original bit for bit, defects included (also: CDEEP3M_EXACT=1)",
            )
            add_edition_option(self)

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """Parse `argv` (default: the process's own) with options and positionals in any order.

        After `--` names may begin with a hyphen.
        """
        words = list(sys.argv[1:] if argv is None else argv)
        self._given = words
        begin = words.index("--") if "--" in words else len(words)
        if self.help_of_edition_2 and {"-h", "--help"} & {*words[:begin]} and self._is_edition_2()[0]:
            self.print_help()
            self.exit(self.help_of_edition_2)
        names = {f"{STAND_IN}{k}": word for k, word in enumerate(words[begin + 1 :]) if HYPHEN.match(word)}
        after = [next((key for key in names if names[key] == word), word) for word in words[begin + 1 :]]
        options = self.parse_intermixed_args(
            [word or NOTHING for word in words[:begin]] + [word or NOTHING for word in after]
        )
        for action in self._actions:
            value = getattr(options, action.dest, None)
            names_something = not action.option_strings or action.type is Path
            if names_something and any(str(item) == NOTHING for item in _as_list(value)):
                self.error(f"an empty name for {action.metavar or action.dest}; expected a file or folder")
        for key, value in vars(options).items():
            setattr(options, key, _with_names(value, {**names, NOTHING: ""}))
        return options

    def _is_edition_2(self) -> tuple[bool, list[str]]:
        """Return whether exact mode of CDeep3M2 is asked for, and the other arguments."""
        known = argparse.ArgumentParser(add_help=False, exit_on_error=False)
        known.add_argument("--exact", action="store_true", default=exact_by_environment())
        known.add_argument("--edition", type=int, default=edition_by_environment())
        asked, others = known.parse_known_args(self._given)
        return asked.exact and asked.edition == 2, others

    def _ends_as_edition_2(self) -> bool:
        """Return whether CDeep3M2 ends otherwise with so few arguments, and exact mode of that edition is asked for."""
        exact, others = self._is_edition_2()
        positionals = [argument for argument in others if not argument.startswith("--")]
        return exact and len(positionals) < self.fewest_of_edition_2

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong to stderr; exit with 1, as the original commands do."""
        self.print_usage(sys.stderr)
        if self._ends_as_edition_2():
            self.exit(self.status_of_edition_2)
        self.exit(1, f"{printable(f'{self.prog}: {message}; try {self.prog} --help')}\n")


HYPHEN = re.compile(r"-(?![0-9.]+$).", re.DOTALL)
"""What begins with a hyphen and is no number."""
STAND_IN = "\0-"
"""Begins what stands for a name with a hyphen while the others are parsed; no argument can hold it."""


NOTHING = "\0"
"""Stands for an empty argument."""


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _with_names(value: Any, names: Mapping[str, str]) -> Any:
    """Return a parsed value with the names that stand-ins stand for."""
    if isinstance(value, list):
        return [_with_names(item, names) for item in value]
    if isinstance(value, Path) and str(value) in names:
        return Path(names[str(value)])
    return names.get(value, value) if isinstance(value, str) else value


def exact_by_environment() -> bool:
    """Return whether CDEEP3M_EXACT asks for exact mode."""
    return os.environ.get("CDEEP3M_EXACT", "").lower() not in ("", "0", "false", "no")


def add_edition_option(parser: argparse.ArgumentParser) -> None:
    """Add --edition."""
    parser.add_argument(
        "--edition",
        type=int,
        choices=(1, 2),
        default=edition_by_environment(),
        help="which original: 1 is release 1.6.3, 2 is CDeep3M2 (default: 1; also: CDEEP3M_EDITION=2)",
    )


def add_overwrite_option(parser: argparse.ArgumentParser) -> None:
    """Add --overwrite."""
    parser.add_argument("--overwrite", action="store_true", help="make anew what was made of something else")


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

    def interrupt(number: int, _frame: object) -> None:
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
        with interrupting_again():
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
    _begin(debug=debug)
    caught: list[int] = []
    try:
        with as_ctrl_c(caught):
            status = command() or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        give_up_output()
        return BROKEN_PIPE
    except (Exception, KeyboardInterrupt) as error:
        if is_interrupt(error):
            print(f"Interrupted. {how_to_go_on}", file=sys.stderr)
            return 128 + caught[0] if caught else INTERRUPTED
        if debug:
            logging.exception("traceback, as --debug asks")
        print(printable(f"ERROR, {_said_of(error)}"), file=sys.stderr)
        give_up_output()
        if exit_code is not None and not isinstance(error, FullDiskError):
            return exit_code
        return error.exit_code if isinstance(error, CDeep3MError) else 1


def _begin(*, debug: bool) -> None:
    """Let messages and interrupts reach the user, as long as the command runs."""
    settle()
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    logging.basicConfig(handlers=[handler], level=logging.DEBUG if debug else logging.INFO)
    logging.raiseExceptions = debug
    if not debug:
        warnings.simplefilter("ignore")
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


NO_MEMORY = re.compile(
    "can't allocate memory|out of memory|can't start new thread|bad_alloc|map segment"
    "|could not create a (primitive|memory)"  # oneDNN's
)
"""What libraries say where they get no memory."""


def _said_of(error: BaseException) -> str:
    """Return what a user reads of an error; what nobody foresaw is called so."""
    if isinstance(error, CDeep3MError | OSError | MemoryError | RecursionError):
        return describe(error)
    if NO_MEMORY.search(str(error)):
        return describe(MemoryError())
    where = "--debug shows where; please report it with the file that was read"
    return f"unexpected {type(error).__name__}: {printable(str(error), longest=300)}. {where}"
