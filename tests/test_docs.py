"""The documentation says what the commands are: every command, every option, and nothing that is not there."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from cdeep3m.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "user-guide.md").read_text(encoding="utf-8")
PAGES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}

SCRIPTS = dict(
    re.findall(r"^\| `([^`]+)` \| `([a-z0-9_]+)` \|$", (ROOT / "scripts" / "README.md").read_text(), re.MULTILINE)
)
MODULES = {name: f"cdeep3m.cli.{module}" for name, module in SCRIPTS.items() if name != "cdeep3m"} | {
    f"cdeep3m {name}": module for name, (module, _) in COMMANDS.items()
}
"""Every command that a user can type, and its module."""

SHARED = {"--help", "--version", "--debug", "--edition"}
OPTION = re.compile(r"(?<![\w-])--[a-z0-9][a-z0-9_-]*")
SHELL_TOOLS = {"make", "pip", "touch"}


def help_text(command: str, capsys) -> str:
    with pytest.raises(SystemExit) as exit_:
        import_module(MODULES[command]).main(["--help"])
    assert exit_.value.code == 0
    return capsys.readouterr().out


def options_of(command: str, capsys) -> set[str]:
    return set(OPTION.findall(help_text(command, capsys)))


def sections(page: str) -> dict[str, str]:
    """Text under each heading, by its title without backquotes."""
    parts = re.split(r"^#+ (.*)$", page, flags=re.MULTILINE)
    return {title.replace("`", ""): text for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def documented_options(command: str) -> set[str]:
    """Options in the guide's section of `command`, those of the tables that it links to among them."""
    text = sections(GUIDE)[command]
    for anchor in re.findall(r"\(#([\w-]+-options)\)", text):
        text += GUIDE.split(f'<a id="{anchor}"></a>')[1].split("\n<a id=")[0].split("\n### ")[0]
    return set(OPTION.findall(text))


def command_lines() -> list[tuple[str, list[str]]]:
    """Command lines in the code blocks of all pages: the command, and its other words."""
    lines = []
    for page in PAGES.values():
        for block in re.findall(r"^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
            words = [shlex.split(line, comments=True) for line in block.splitlines() if re.match(r"[A-Za-z]", line)]
            lines += [line for line in words if line and line[0] in {*SCRIPTS, *SHELL_TOOLS}]
    return [
        (" ".join(line[:2]), line[2:]) if line[0] == "cdeep3m" else (line[0], line[1:])
        for line in lines
        if line[0] not in SHELL_TOOLS
    ]


def test_headings_and_commands_agree():
    modules = {MODULES[title] for title in sections(GUIDE) if title in MODULES}
    assert modules == set(MODULES.values()), "a command has no section in the user guide"


@pytest.mark.parametrize("command", [title for title in sections(GUIDE) if title in MODULES])
def test_guide_has_the_options_of_the_command_and_no_others(command, capsys):
    assert documented_options(command) - SHARED == options_of(command, capsys) - SHARED


@pytest.mark.parametrize("option", sorted(SHARED))
def test_options_of_all_commands_are_explained_once(option):
    assert option in OPTION.findall(sections(GUIDE)["What all commands share"])


def test_there_are_command_lines_to_check():
    assert {"cdeep3m train", "cdeep3m predict", "runtraining.sh", "runprediction.sh"} <= {
        name for name, _ in command_lines()
    }


@pytest.mark.parametrize(("command", "words"), command_lines(), ids=lambda value: str(value)[:60])
def test_command_lines_in_the_pages_are_real(command, words, capsys):
    assert command in MODULES
    assert {word for word in words if word.startswith("--")} <= options_of(command, capsys)


@pytest.mark.parametrize("name", SCRIPTS)
def test_readme_names_every_command(name):
    bare = name.removesuffix(".m").removesuffix(".py")
    assert f"`{name}`" in PAGES["README.md"] or f"`{bare}`" in PAGES["README.md"] or name == "cdeep3m"


def test_options_in_the_readme_exist(capsys):
    known = {option for command in MODULES for option in options_of(command, capsys)}
    ours = re.sub(r"^(docker|aws) .*$", "", PAGES["README.md"], flags=re.MULTILINE)
    assert set(OPTION.findall(ours)) <= known


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    folder = ROOT if page == "README.md" else ROOT / "docs"
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        path, _, anchor = target.partition("#")
        if path.startswith("https:"):
            continue
        assert not path or (folder / path).exists(), f"{page}: {target}"
        if anchor:
            linked = PAGES[Path(path).name if path else page]
            assert anchor in anchors(linked), f"{page}: {target}"


def anchors(page: str) -> set[str]:
    """Anchors of a page: those that are set, and those of headings as Git hosts make them."""
    titles = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    return slugs | set(re.findall(r'<a id="([^"]+)">', page))


@pytest.mark.parametrize("command", sorted(MODULES))
def test_help_begins_with_usage_and_the_command_s_own_name(command, capsys):
    shown = help_text(command, capsys)
    name = re.match(r"usage: (cdeep3m \w+|\S+)", shown)
    assert name
    assert MODULES.get(name.group(1)) == MODULES[command]


@pytest.mark.parametrize(
    ("variable", "folder"),
    [
        ("CDEEP3M_ENGINE", "engines"),
        ("CDEEP3M_IMAGE", "engines"),
        ("CDEEP3M_EXACT", "cli"),
        ("CDEEP3M_MODELS_ADDRESS", "cli"),
    ],
)
def test_environment_variables_in_the_guide_are_read(variable, folder):
    sources = (ROOT / "python" / "cdeep3m" / folder).rglob("*.py")
    assert variable in GUIDE
    assert any(variable in path.read_text(encoding="utf-8") for path in sources)
