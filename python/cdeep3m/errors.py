"""What can go wrong with a user's input, machine or run.

Every error is one line that says what was found, what was expected and what to do.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class CDeep3MError(Exception):
    """Base of every error that a user can act on; its text is the one line that the user reads.

    Attributes
    ----------
    exit_code : int
        Exit status of a command that ends with this error, unless the command's contract names another one.
    """

    exit_code = 1


class InputError(CDeep3MError, ValueError):
    """Images, labels or files whose content does not fit."""


class MissingFileError(CDeep3MError, FileNotFoundError):
    """A file or folder that is not there."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class FormatError(InputError):
    """A file that is truncated, damaged or of another format."""


class NetError(CDeep3MError, ValueError):
    """A net that cannot be built, or weights that do not fit it."""


class MissingModelError(CDeep3MError, LookupError):
    """A trained model that is not where it was looked for."""


class EngineError(CDeep3MError, RuntimeError):
    """An engine that cannot run here, or failed while it ran.

    Attributes
    ----------
    status : int or None
        Exit status of the program that failed, where it was one.
    """

    status: int | None = None


class MissingExtraError(CDeep3MError, ImportError):
    """A package that only some commands need, and that is not installed."""


class DownloadError(CDeep3MError, RuntimeError):
    """A file that a server does not give, or not whole."""


class RunError(CDeep3MError, RuntimeError):
    """A run directory whose state does not allow what was asked."""


class OutOfMemoryError(CDeep3MError, MemoryError):
    """Less memory than is needed, by the limits of this process."""


class StoppedError(RunError):
    """A run that somebody asked to stop (KILL.REQUEST)."""

    exit_code = 11


class FullDiskError(RunError):
    """A run that found no room for a file: a pause, after which the same command goes on."""


class EngineFullDiskError(EngineError, FullDiskError):
    """An engine's tool that found no room for a file."""


class FailedElsewhereError(StoppedError):
    """A run that stops because another stage, or an earlier run, has failed (ERROR)."""

    exit_code = 99


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What writers meet on a full disk, or beyond a quota or limit; few of them say which file it was."""

NO_ROOM_WORDS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than this system or `ulimit -f` allows",
}


def is_full(error: BaseException) -> bool:
    """Return whether an error means that there is no room: a pause, no failure."""
    return isinstance(error, FullDiskError) or (isinstance(error, OSError) and error.errno in NO_ROOM)


def is_interrupt(error: BaseException) -> bool:
    """Return whether an error is what became of Ctrl-C: one that comes while a lock is taken has it released twice."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, CDeep3MError | OSError):
        if isinstance(found, KeyboardInterrupt):
            return True
        found = found.__context__
    return False


LONGEST_MESSAGE = 500
"""Characters of a message."""


def describe(error: BaseException) -> str:
    """Return the one line that a user reads for `error`."""
    return printable(_in_words(error))


def printable(text: str, *, longest: int = LONGEST_MESSAGE) -> str:
    r"""Return `text` as one line that is safe to show: control characters and undecodable bytes as escapes.

    What is too long loses its middle.

    Examples
    --------
    >>> printable("a\x1b[2Jb\nc\udce4")
    'a\\x1b[2Jb\\nc\\xe4'
    >>> len(printable("[" * 9000))
    500
    """
    if len(text) > longest:
        text = text[: longest * 4] if len(text) > 8 * longest else text
    shown = "".join(map(_shown, text))
    if len(shown) <= longest:
        return shown
    kept = longest - len(LEFT_OUT)
    return f"{shown[: kept - kept // 3]}{LEFT_OUT}{shown[len(shown) - kept // 3 :]}"


LEFT_OUT = " ... "


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def _in_words(error: BaseException) -> str:
    if isinstance(error, MemoryError) and not isinstance(error, CDeep3MError):
        return "out of memory: close other programs, or use smaller images or a machine with more memory"
    if isinstance(error, RecursionError):
        return "a file that is read here is nested too deeply; expected a file as this program or Caffe writes it"
    if isinstance(error, CDeep3MError) or not isinstance(error, OSError):
        return str(error) or type(error).__name__
    where = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, str | bytes | os.PathLike) else ""
    if error.errno in NO_ROOM:
        return f"{NO_ROOM_WORDS[error.errno]}{where}: make room and run the same command again"
    if isinstance(error, FileExistsError | NotADirectoryError) and where:
        return f"a file is where a folder is expected{where}: choose another name"
    return f"{error.strerror or error}{where}"


@contextmanager
def needing(package: str, *, extra: str, module: str) -> Iterator[None]:
    """Say how to install a package that the block imports, where it is missing.

    Parameters
    ----------
    package : str
        What users call it.
    extra : str
        The extra of cdeep3m that installs it.
    module : str
        What is imported.

    Raises
    ------
    MissingExtraError
        Names the pip command.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != module:
            raise
        raise MissingExtraError(f"{package} is missing, which this needs: pip install 'cdeep3m[{extra}]'") from error


@contextmanager
def reading(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Turn whatever the block makes of a damaged file into an error that names it.

    Parameters
    ----------
    path : path
        The file.
    what : str
        What it should be, for the message.

    Raises
    ------
    FormatError
        When the block raises anything but an error of the system (no such file, no permission), a lack of memory, or
        one of ours.
    """
    try:
        yield
    except (CDeep3MError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = (
            NESTED if isinstance(error, RecursionError) else printable(str(error) or type(error).__name__, longest=200)
        )
        raise FormatError(f"{os.fsdecode(path)} is no readable {what} ({reason}). Make or copy it again") from error


NESTED = "it is nested too deeply"


@contextmanager
def pausing(exit_code: int) -> Iterator[None]:
    """Turn a full disk, wherever the block meets it, into the pause that the command's contract names.

    Raises
    ------
    FullDiskError
        With `exit_code`.
    """
    try:
        yield
    except (CDeep3MError, OSError) as error:
        if not is_full(error):
            raise
        pause = FullDiskError(describe(error))
        pause.exit_code = exit_code
        raise pause from error


@contextmanager
def failing_with(exit_code: int) -> Iterator[None]:
    """Give every error of the block `exit_code`, the status that the command's contract names for this stage.

    A stop that was asked for, or that follows another stage's failure, keeps its own.

    Raises
    ------
    CDeep3MError
        What the block raised; an OSError becomes a RunError with the same words.
    """
    try:
        yield
    except StoppedError:
        raise
    except CDeep3MError as error:
        error.exit_code = exit_code
        raise
    except OSError as error:
        failure = (FullDiskError if error.errno in NO_ROOM else RunError)(describe(error))
        failure.exit_code = exit_code
        raise failure from error
