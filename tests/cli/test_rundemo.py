"""rundemo and rundemo2: the second edition's commands, in its order, in one folder. The commands are replaced here."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdeep3m.cli import rundemo, rundemo2
from cdeep3m.cli.table import COMMANDS
from cdeep3m.errors import RunError
from cdeep3m.runs.provenance import trained_on
from cdeep3m.volumes.enhancement import Enhancement

TINY = {
    number: rundemo.Settings(iterations=2, shapes=shapes, held_out_shape=(2, 160, 200))
    for number, shapes in {1: ((2, 160, 200),), 2: ((2, 160, 200), (3, 200, 160))}.items()
}
STEPS = ["PreprocessTrainingData.py", "runtraining.sh", "PlotValidation.py", "runprediction.sh", "cdeep3m"]


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    monkeypatch.setattr(rundemo, "USUAL", TINY)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def commands(monkeypatch):
    """Replace the commands by a recorder, which makes the maps that a perfect prediction would write."""
    recorded = []

    def record(command):
        recorded.append(command)
        if command[0] == "runprediction.sh":
            images, out = map(Path, command[-2:])
            (out / "ensembled").mkdir(parents=True, exist_ok=True)
            for z, path in enumerate(sorted((images.parent / "labels").iterdir())):
                Image.open(path).save(out / "ensembled" / f"Segmented_{z + 1:04d}.png")

    monkeypatch.setattr(rundemo, "run_command", record)
    return recorded


@pytest.mark.parametrize(("main", "volumes"), [(rundemo.main, 1), (rundemo2.main, 2)])
def test_every_step_is_a_command_of_the_second_edition(main, volumes, commands, tmp_path, capsys):
    assert main([str(tmp_path / "mine")]) == 0
    assert [command[0] for command in commands] == STEPS
    assert all(command[1:3] == ["--edition", "2"] for command in commands[:4])
    assert commands[0].count("-1") == volumes
    said = capsys.readouterr().out
    assert f"{'1fm':16}     1.000     1.000     1.000" in said
    assert said.splitlines()[-1].endswith("/mine/predicted/report.html")


@pytest.mark.parametrize(("main", "folder"), [(rundemo.main, "rundemo-output"), (rundemo2.main, "rundemo2-output")])
def test_nothing_is_written_beside_the_folder(main, folder, commands, tmp_path):
    assert main([]) == 0
    assert [path.name for path in tmp_path.iterdir()] == [folder]
    for command in commands:
        assert all(Path(word).parts[0] == folder for word in command if "/" in word)


def test_the_options_are_those_of_the_commands(commands, capsys):
    rundemo.main([])
    for command in commands[:-1]:
        with pytest.raises(SystemExit):
            import_module(f"cdeep3m.cli.{COMMANDS[command[0]]}").main(["--help"])
        known = set(re.findall(r"--[a-z0-9][\w-]*", capsys.readouterr().out))
        assert {word for word in command if word.startswith("--")} <= known, command[0]


def test_volumes_differ_and_what_is_predicted_is_another_one(commands, tmp_path):
    rundemo2.main([])
    folders = [tmp_path / "rundemo2-output" / name / "images" for name in ("training", "training2", "held_out")]
    stacks = [np.stack([np.array(Image.open(path)) for path in sorted(folder.iterdir())]) for folder in folders]
    assert [stack.shape for stack in stacks] == [(2, 160, 200), (3, 200, 160), (2, 160, 200)]
    assert (stacks[0] != stacks[2]).any()


def test_a_folder_of_something_else_is_left_alone(commands, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    assert rundemo.main(["mine"]) == 1
    assert "is no demo of before" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    assert rundemo.main(["other"]) == 0
    assert rundemo.main(["--seed", "5", "other"]) == 1
    assert "other settings" in capsys.readouterr().err


def test_a_command_that_fails_ends_the_demo(monkeypatch, capsys):
    def fail(command):
        raise RunError(f"{command[0]} ended with exit status 3")

    monkeypatch.setattr(rundemo, "run_command", fail)
    assert rundemo.main([]) == 1
    assert "PreprocessTrainingData.py ended with exit status 3" in capsys.readouterr().err


@pytest.mark.heavy
def test_the_demo_runs_for_real_and_goes_on(tmp_path, capfd):
    pytest.importorskip("matplotlib")
    for _ in range(2):
        assert rundemo2.main(["mine"]) == 0
    out = tmp_path / "mine"
    assert len(list((out / "augtrain").glob("training_full_stacks_v*_*.h5"))) == 32
    assert isinstance(trained_on(out / "trained").enhancement, Enhancement)
    assert len(list((out / "predicted" / "overlay").glob("overlay_*.png"))) == 2
    for name in ("loss.png", "loss.pdf", "accuracy.png", "accuracy.pdf"):
        assert (out / "trained" / "1fm" / "log" / name).is_file()
    assert (out / "predicted" / "report.html").is_file()
    assert "has reached iteration 2 of 2: nothing to do" in "".join(capfd.readouterr())
