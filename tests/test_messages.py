"""Messages of errors have one form: `found X; expected Y. What to do`, without a full stop at the end."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OLD_FORM = re.compile(r"\b(was|were|is|are) expected\b|\w expected(,|;|$)")


def text_of(node: ast.expr) -> str | None:
    """The text of a literal, `{}` for what is put in; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (text_of(node.left) or "{}") + (text_of(node.right) or "{}")
    return None


def is_error(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name.endswith("Error") or name == "error"


def messages() -> list[tuple[str, str]]:
    """Where each message of an error is, and what it says."""
    found = []
    for folder in ("python/cdeep3m", "matlab_ports"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and is_error(node):
                    said = [text_of(argument) for argument in node.args]
                    place = f"{path.relative_to(ROOT)}:{node.lineno}"
                    found += [(place, text) for text in said if text]
    return found


def test_there_are_messages():
    assert len(messages()) > 400


@pytest.mark.parametrize(("place", "text"), messages(), ids=lambda value: value if ":" in value[-6:] else "")
def test_a_message_of_an_error_has_the_form(place, text):
    assert not text.rstrip().endswith("."), f"{place}: no full stop at the end: {text}"
    assert not OLD_FORM.search(text), f"{place}: say `expected X`: {text}"
    assert "\n" not in text, f"{place}: a message is one line: {text}"
