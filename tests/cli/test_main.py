"""`cdeep3m` finds its commands."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from cdeep3m import __version__
from cdeep3m.cli import main as cdeep3m


@pytest.mark.parametrize("flag", ["-h", "--help", "help"])
def test_help_lists_every_command(flag, capsys):
    assert cdeep3m.main([flag]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown and purpose in shown for name, (_, purpose) in cdeep3m.COMMANDS.items())


def test_version_is_the_packages(capsys):
    assert cdeep3m.main(["--version"]) == 0
    assert capsys.readouterr().out == f"cdeep3m {__version__}\n"


@pytest.mark.parametrize(("argv", "words"), [([], "no command given"), (["trian"], "no command 'trian'")])
def test_wrong_usage_exits_with_1_and_usage_first(argv, words, capsys):
    assert cdeep3m.main(argv) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("usage: cdeep3m ")
    assert words in shown.err.splitlines()[-1]


@pytest.mark.parametrize("name", cdeep3m.COMMANDS)
def test_every_command_exists(name):
    assert find_spec(cdeep3m.COMMANDS[name][0])


@pytest.mark.parametrize(
    ("program", "own", "found"), [("overlay.py", "", "4"), ("overlay.py", "9", "9"), ("x", "", "")]
)
def test_threads_for_matrices_sleep_in_commands_unless_the_user_says_otherwise(program, own, found):
    name = "OPENBLAS_THREAD_TIMEOUT"
    others = {key: value for key, value in os.environ.items() if key != name}
    code = f"import os, sys; sys.argv = [{program!r}]; import cdeep3m.cli; print(os.environ.get({name!r}, ''))"
    environment = others | ({name: own} if own else {})
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout == f"{found}\n"


def test_arguments_and_exit_status_are_the_commands_own(monkeypatch):
    monkeypatch.setitem(cdeep3m.COMMANDS, "other", ("cdeep3m.cli.demo", "for this test"))
    monkeypatch.setattr("cdeep3m.cli.demo.main", lambda argv: 40 + len(argv))
    assert cdeep3m.main(["other", "a", "b"]) == 42


@pytest.mark.parametrize("name", [*cdeep3m.COMMANDS, "estimate train", "models info"])
def test_every_command_is_called_what_was_typed(name, capsys):
    with pytest.raises(SystemExit) as left:
        cdeep3m.main([*name.split(), "--help"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: cdeep3m {name} ")


@pytest.mark.parametrize("name", ["validate", "ensemble", "preprocess"])
def test_wrong_usage_names_what_was_typed(name, capsys):
    with contextlib.suppress(SystemExit):
        cdeep3m.main([name])
    shown = capsys.readouterr().err
    assert shown.startswith(f"usage: cdeep3m {name} ")
    assert shown.endswith(f"try cdeep3m {name} --help\n")
