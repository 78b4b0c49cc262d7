"""Folders of planes belong to what they were made of, whichever command writes them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdeep3m.cli.table import COMMANDS

RNG = np.random.default_rng(1)
JOBS = {
    "EnsemblePredictions": (["a", "b", "out"], ["b", "c", "out"]),
    "Histmatch": (["a", "b", "out"], ["a", "c", "out"]),
    "Apply3DWatershed": (["a", "images", "out"], ["b", "images", "out"]),
    "overlay.py": (["images", "a", "out"], ["images", "b", "out"]),
    "Create_overlays": (["a", "images", "out"], ["a", "others", "out"]),
    "enhance_stack": (["images", "out"], ["others", "out"]),
}
"""What each command is asked for, and something else that it is asked for in the same folder then."""


@pytest.fixture(autouse=True)
def volumes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c", "images", "others"):
        (tmp_path / name).mkdir()
        for z in (1, 2, 3):
            plane = RNG.integers(1, 250, (40, 44), np.uint8)
            Image.fromarray(plane).save(tmp_path / name / f"Segmented_{z:04d}.png")


def call(command, words):
    return import_module(f"cdeep3m.cli.{COMMANDS[command]}").main(words)


def planes():
    return {path.name: path.read_bytes() for path in Path("out").iterdir() if not path.name.startswith(".")}


@pytest.mark.parametrize("command", JOBS)
def test_results_of_something_else_are_left_as_they_are(command, capsys):
    asked, other = JOBS[command]
    assert call(command, asked) == 0
    made = planes()
    assert call(command, asked) == 0
    assert planes() == made
    assert call(command, other) == 1
    assert "choose another folder, or make them anew with --overwrite" in capsys.readouterr().err
    assert planes() == made
    assert call(command, ["--overwrite", *other]) == 0
    assert planes() != made
    assert call(command, asked) == 1


@pytest.mark.parametrize("command", JOBS)
def test_who_stopped_in_the_middle_may_ask_for_something_else(command):
    """Nothing that is finished is lost then, and every plane is written anew."""
    asked, other = JOBS[command]
    assert call(command, asked) == 0
    Path("out/.made_of.json").unlink()
    assert call(command, other) == 0


@pytest.mark.parametrize("command", [name for name in JOBS if name in ("EnsemblePredictions", "enhance_stack")])
def test_exact_mode_overwrites_and_leaves_no_note(command):
    asked, other = JOBS[command]
    for words in (asked, other):
        assert call(command, ["--exact", *words]) == 0
    assert not Path("out/.made_of.json").exists()


def test_options_count(capsys):
    assert call("enhance_stack", ["images", "out", "2"]) == 0
    assert call("enhance_stack", ["images", "out", "5"]) == 1
    assert "CUT = 2; this run says 5" in capsys.readouterr().err


@pytest.mark.parametrize("command", JOBS)
def test_a_file_in_place_of_the_folder_is_told(command, capsys):
    Path("out").write_text("mine")
    assert call(command, JOBS[command][0]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ERROR")]
    assert "out" in line
    assert ".made_of" not in line
    assert Path("out").read_text() == "mine"
