"""Change fields of protobuf text and leave the rest of it, a user's comments above all, as it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

TOKEN = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
      | (?P<word>[\w.+-]+)
      | (?P<text>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
      | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
"""The tokenizer of protobuf's own library does not tell where tokens begin and end."""


class Token(NamedTuple):
    """A word, text or mark of protobuf text, and where it stands."""

    kind: str
    text: str
    begin: int
    end: int


def with_fields(text: str, values: Mapping[str, str], *, without: Collection[str] = ()) -> str:
    r"""Return protobuf text with fields of its outermost message set; those that it lacks follow at its end.

    Parameters
    ----------
    text : str
        Protobuf text.
    values : mapping of str to str
        Fields with one value each, as protobuf text writes it.
    without : collection of str
        Fields to leave out.

    Examples
    --------
    >>> with_fields("base_lr: 1 # low\ngamma: 2\n", {"base_lr": "0.5", "lr_policy": '"poly"'}, without=["gamma"])
    'base_lr: 0.5 # low\nlr_policy: "poly"\n'
    """
    found = {name.text: (name, value) for name, value in _fields(text)}
    for field, (name, value) in sorted(found.items(), key=lambda item: item[1][0].begin, reverse=True):
        if field in values:
            text = text[: value.begin] + values[field] + text[value.end :]
        elif field in without:
            begin, end = _line_of(text, name.begin, value.end)
            text = text[:begin] + text[end:]
    missing = "".join(f"{field}: {value}\n" for field, value in values.items() if field not in found)
    return (text if text.endswith("\n") or not missing else f"{text}\n") + missing


def _line_of(text: str, begin: int, end: int) -> tuple[int, int]:
    """Return where the line of a piece of text begins and ends, where nothing else is on it; else of the piece."""
    first, last = text.rfind("\n", 0, begin) + 1, text.find("\n", end) + 1 or len(text)
    return (begin, end) if (text[first:begin] + text[end:last]).strip() else (first, last)


def _fields(text: str) -> Iterator[tuple[Token, Token]]:
    """Yield the names and values of the outermost fields that have a number, word or text."""
    tokens = [
        Token(str(match.lastgroup), match.group(), match.start(), match.end())
        for match in TOKEN.finditer(text)
        if match.lastgroup != "blank"
    ]
    depth = 0
    for name, colon, value in zip(tokens, tokens[1:], tokens[2:], strict=False):
        depth += (name.text in ("{", "<")) - (name.text in ("}", ">")) if name.kind == "mark" else 0
        if not depth and name.kind == "word" and colon.text == ":" and value.kind in ("word", "text"):
            yield name, value
