"""Find the fields of a .prototxt that this project's messages do not have: those of other forks and later editions."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from google.protobuf import text_format

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import Descriptor

DESCRIPTIVE = frozenset({"NetParameter", "LayerParameter", "V1LayerParameter", "ParamSpec"})
"""Messages that hold a net together. What forks add to these (annotations, hints on memory and speed, parameters of
layer types of their own) does not change what the layers known here compute."""

LIKENESS = 0.85
"""Names that are more alike than this are taken for one name, misspelt."""

CLOSING = {"{": "}", "<": ">"}


class UnknownField(NamedTuple):
    """A field that its message does not have.

    Attributes
    ----------
    line : int
        Where it stands, counted from 1.
    name : str
        Its name.
    message : str
        Type of the message that it stands in.
    meant : str
        The known field whose name it resembles, or nothing.
    harmless : bool
        Whether the net computes the same without it.
    """

    line: int
    name: str
    message: str
    meant: str
    harmless: bool


def unknown_fields(text: str, descriptor: Descriptor) -> Iterator[UnknownField]:
    """Yield the fields in `text` that are not known; the fields within an unknown one are no matter of their own.

    Parameters
    ----------
    text : str
        Protobuf text.
    descriptor : Descriptor
        Of the message that it is one of.

    Raises
    ------
    google.protobuf.text_format.ParseError
        `text` is no protobuf text.
    """
    yield from _fields(text_format.Tokenizer(text.split("\n")), descriptor, end="")


def _fields(tokens: text_format.Tokenizer, message: Descriptor | None, *, end: str) -> Iterator[UnknownField]:
    """Yield the unknown fields up to the token `end` of a `message`, or none where it is not known itself."""
    while not (tokens.TryConsume(end) if end else tokens.AtEnd()):
        name = tokens.ConsumeIdentifier()
        field = message.fields_by_name.get(name) if message else None
        if message and field is None:
            yield _unknown(_line(tokens), name, message)
        yield from _value(tokens, field.message_type if field else None)
        if not tokens.TryConsume(","):
            tokens.TryConsume(";")


def _line(tokens: text_format.Tokenizer) -> int:
    """Return the line of the token that was consumed last, which only the tokenizer's errors tell."""
    return tokens.ParseErrorPreviousToken(cast("Any", "")).GetLine() or 0


def _unknown(line: int, name: str, message: Descriptor) -> UnknownField:
    meant = next(iter(get_close_matches(name, message.fields_by_name, n=1, cutoff=LIKENESS)), "")
    unread = not message.fields
    return UnknownField(line, name, message.name, meant, unread or (message.name in DESCRIPTIVE and not meant))


def _value(tokens: text_format.Tokenizer, message: Descriptor | None) -> Iterator[UnknownField]:
    """Consume the value of a field, a list of them among others, and yield the unknown fields in it."""
    tokens.TryConsume(":")
    if tokens.TryConsume("["):
        while not tokens.TryConsume("]"):
            yield from _value(tokens, message)
            tokens.TryConsume(",")
        return
    for opening, closing in CLOSING.items():
        if tokens.TryConsume(opening):
            yield from _fields(tokens, message, end=closing)
            return
    _scalar(tokens)


def _scalar(tokens: text_format.Tokenizer) -> None:
    """Consume one value: a number with its sign, a word, or strings that stand together."""
    if tokens.AtEnd():
        raise text_format.ParseError("Expected a value")
    if tokens.token[0] in "\"'":
        while not tokens.AtEnd() and tokens.token[0] in "\"'":
            tokens.NextToken()
        return
    tokens.TryConsume("-")
    tokens.NextToken()
