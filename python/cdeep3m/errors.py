"""What can go wrong with a user's input, machine or run: one line that says what was found, what was expected, what to do."""

from __future__ import annotations


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


class EngineError(CDeep3MError, RuntimeError):
    """An engine that cannot run here, or failed while it ran."""


class RunError(CDeep3MError, RuntimeError):
    """A run directory whose state does not allow what was asked."""


class StoppedError(RunError):
    """A run that somebody asked to stop (KILL.REQUEST)."""

    exit_code = 11
