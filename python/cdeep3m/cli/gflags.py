"""Command lines as Caffe's tools take them: --flag=value, --flag value, -flag=value."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def with_two_dashes(argv: Sequence[str]) -> list[str]:
    """Return `argv` with long options of one dash written with two; negative numbers and single letters stay.

    Examples
    --------
    >>> with_two_dashes(["-gpu=-1", "--model", "a.prototxt", "-h", "-1"])
    ['--gpu=-1', '--model', 'a.prototxt', '-h', '-1']
    """
    return [f"-{word}" if _is_long_option_of_one_dash(word) else word for word in argv]


def _is_long_option_of_one_dash(word: str) -> bool:
    return len(word) > 2 and word[0] == "-" and word[1].isalpha()
