"""The guide says what the commands say."""

from __future__ import annotations

import contextlib
import io
import os
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "user-guide.md").read_text(encoding="utf-8")
COMMANDS = dict(
    re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", (ROOT / "scripts" / "README.md").read_text(), re.MULTILINE)
)
MODULES = sorted({*COMMANDS.values(), "train", "predict"} - {"main"})


def help_of(module: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(os.environ, "COLUMNS", "110")
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        import_module(f"cdeep3m.cli.{module}").main(["--help"])
    return text.getvalue()


@pytest.mark.parametrize("module", MODULES)
def test_every_option_is_in_the_guide(module, monkeypatch):
    text = help_of(module, monkeypatch)
    name = re.match(r"usage: (cdeep3m \w+|\S+)", text)[1]
    section = GUIDE.split(f"### {name}\n")[1].split("\n### ")[0]
    options = set(re.findall(r"--[a-z_0-9]+", text))
    assert options
    assert options <= set(re.findall(r"--[a-z_0-9]+", section))


def test_every_command_that_the_readme_shows_is_one():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^(\w+\.(?:sh|m))", readme, re.MULTILINE))
    assert shown
    assert shown <= set(COMMANDS)


def test_every_link_of_the_readme_leads_somewhere():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", readme) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
