"""CONTRIBUTING.md and docs/architecture.md name files, functions and make targets that are there."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from rooms import LAYERS

ROOT = Path(__file__).parents[1]
HOMES = (
    ROOT,
    ROOT / "python" / "cdeep3m",
    ROOT / "tests",
    ROOT / "python" / "cdeep3m" / "engines" / "embedded" / "net",
)
PAGES = ("CONTRIBUTING.md", "docs/architecture.md")
ROOMS = set(LAYERS.split())


def words_in_code() -> list[tuple[str, str]]:
    """What stands between backquotes, outside of blocks of code."""
    found = []
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        found += [(page, " ".join(word.split())) for word in re.findall(r"`([^`]+)`", text)]
    return found


WORDS = words_in_code()
PATHS = [
    (page, word)
    for page, word in WORDS
    if re.fullmatch(r"[\w./<>-]+(: [\w.]+)?", word) and ("/" in word or re.search(r"\.(py|md|toml|txt)\b", word))
]
DOTTED = [
    (page, word)
    for page, word in WORDS
    if re.fullmatch(r"[a-z_]+(\.\w+)+", word) and word.split(".")[0] in ROOMS - {"rules"} and (page, word) not in PATHS
]
TARGETS = [(page, word.split()[1]) for page, word in WORDS if re.match(r"make \w", word)]


def place_of(name: str) -> Path | None:
    return next((home / name for home in HOMES if (home / name).exists()), None)


def defines(path: Path, name: str) -> bool:
    """Whether a source file defines a function, class, method or constant."""
    text = path.read_text(encoding="utf-8")
    *_, last = name.split(".")
    return re.search(rf"^\s*(def|class) {last}\b|^{last}\b.*=", text, re.MULTILINE) is not None


@pytest.mark.parametrize(("page", "word"), PATHS)
def test_a_file_that_is_named_is_there(page, word):
    name, _, function = word.partition(": ")
    if "<" in name:  # the module that somebody is about to write
        name = name.rsplit("/", 1)[0]
    path = place_of(name) or place_of(f"{name}.py")
    assert path is not None, f"{page}: no {name}"
    assert not function or defines(path, function), f"{page}: no {function} in {path}"


@pytest.mark.parametrize(("page", "word"), DOTTED)
def test_a_dotted_name_is_a_module_or_in_one(page, word):
    parts = word.split(".")
    for count in range(len(parts), 0, -1):
        name = ".".join(["cdeep3m", *parts[:count]])
        try:
            found = find_spec(name)
        except ModuleNotFoundError:
            continue
        if found is not None:
            thing = import_module(name)
            for attribute in parts[count:]:
                thing = getattr(thing, attribute, None) or thing.__annotations__.get(attribute)
                assert thing is not None, f"{page}: no {attribute} in {word}"
            return
    pytest.fail(f"{page}: no {word}")


@pytest.mark.parametrize(("page", "target"), TARGETS)
def test_a_target_of_make_is_there(page, target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE), f"{page}: {target}"


def test_the_pages_name_files_functions_and_targets():
    assert len(PATHS) > 40
    assert len(DOTTED) > 3
    assert len(TARGETS) > 3
